"""The command `versions`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.commands.app import AsJson, app, err, out
from flows.commands.tables import lined_up
from schemas.errors import DataError
from storage.files.place import local, place

if TYPE_CHECKING:
    from flows.lineages.retention import Outlook
    from schemas.lineage import VersionBook
    from storage.files.place import Root

# shown as a path: typer knows no unions, of which a Root is one
Folder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", parser=place, help="Folder or s3:// URL of versions of a data set."),
]
Number = Annotated[int | None, typer.Option(min=0, help="In place of the policy of the last run.")]


@app.command("versions")
def versions_command(
    folder: Folder,
    last: Number = None,
    weeks: Number = None,
    months: Number = None,
    failed: Number = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", metavar="FOLDER", parser=local, help="Folder of runs; may be repeated."),
    ] = None,
    pin: Annotated[
        list[int] | None, typer.Option(min=1, help="Keep this version for ever; may be repeated.")
    ] = None,
    unpin: Annotated[
        list[int] | None, typer.Option(min=1, help="Leave this version to the policy; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a data set and what the policy would do to each. Removes nothing.

    Example: `lensmill versions runs/tiny --last 3 --weeks 0` or `lensmill versions runs/tiny --pin 4`
    """
    from flows.lineages.retention import outlook
    from storage.upkeep.versions import latest_of, read_book

    _check(folder)
    if pin or unpin:
        _pin(folder, pin or [], unpin or [])
    book = read_book(folder)
    asked = {"last": last, "weeks": weeks, "months": months, "failed": failed}
    policy = {**book.policy.model_dump(), **{key: one for key, one in asked.items() if one is not None}}
    keep = type(book.policy).model_validate(policy)
    seen = outlook(folder, book, keep, [str(one) for one in runs] if runs else book.runs)
    if as_json:
        told = {number: one._asdict() for number, one in seen.verdicts.items()}
        found = {"latest": latest_of(folder), "verdicts": told, "obstacle": seen.obstacle}
        out.print_json(json.dumps({**found, **book.model_dump(mode="json")}))
        return
    _print(folder, book, seen, latest_of(folder))


def _check(folder: "Root") -> None:
    from storage.upkeep.versions import has_book, numbers

    if not has_book(folder) and not numbers(folder):
        raise DataError(
            f"there are no versions of a data set at {folder}",
            expected="a folder that the flow `regenerate` wrote, with v0001.zarr",
            advice="lensmill deployment run regenerate makes some",
        )


def _pin(folder: "Root", pin: list[int], unpin: list[int]) -> None:
    from storage import commit
    from storage.upkeep.versions import LOCK, read_book, write_book

    with commit.writing(folder, LOCK):
        book = read_book(folder)
        there = {one.number for one in book.there}
        absent = sorted({*pin, *unpin} - there)
        if absent:
            raise DataError(
                f"there is no version {', '.join(map(str, absent))}",
                expected=f"one of {', '.join(map(str, sorted(there)))}",
                where=str(folder),
            )
        keep = tuple(sorted({*book.keep, *pin} - set(unpin)))
        write_book(folder, book.model_copy(update={"keep": keep}))


def _print(folder: "Root", book: "VersionBook", seen: "Outlook", latest: int | None) -> None:
    rows = []
    for one in book.there:
        verdict = seen.verdicts[one.number]
        made = one.made or one.began
        rows.append(
            (
                str(one.number),
                f"{one.recipe} {one.lineage[:8]}",
                made.strftime("%Y-%m-%d %H:%M") if made else "",
                f"{one.bytes / 1e6:,.1f}",
                "latest" if one.number == latest else one.state,
                ("stays: " if verdict.kept else "goes: ") + verdict.why,
            )
        )
    out.print(lined_up(("no.", "recipe", "made (UTC)", "MB", "state", "policy"), rows))
    for one in book.there:
        if one.reason:
            out.print(f"{one.number}: {escape(one.reason.splitlines()[0])}", soft_wrap=True, highlight=False)
    keep, size = book.policy, sum(one.bytes for one in book.there)
    gone = sum(one.state == "removed" for one in book.versions)
    out.print(
        f"{folder}: {len(rows)} versions, {size / 1e9:,.2f} GB; {gone} were removed; last policy: {keep}",
        soft_wrap=True,
        highlight=False,
    )
    if seen.obstacle:
        err.print(f"[yellow]warning:[/] nothing would be removed: {escape(seen.obstacle)}", soft_wrap=True)
