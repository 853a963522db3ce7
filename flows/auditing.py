"""The leak audit as a function for the command and as a Prefect task that a data set must pass."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.assess import artifact_key
from flows.telling.progress import progress_bar
from flows.telling.run_log import show
from schemas.audit import Audit, AuditRow
from schemas.errors import PlaceError
from storage.audit import audit as audit_evidence
from storage.audit import draw, gather, questions_of, refuse_leaks
from storage.audit.evidence import MOST, chosen_columns, selected_rows
from storage.files.durable import write_whole
from storage.files.place import Root, local, place
from storage.reader import open_store

TABLE, PICTURE = "audit.json", "audit.png"


def audit(
    store: str | Root,
    out: str | Path | None = None,
    split: str | None = None,
    strict: bool = False,
    columns: Sequence[str] = (),
    most: int = MOST,
    quiet: bool = False,
) -> Audit:
    """What tells the classes of a store apart, also as `audit.json` and `audit.png` in the folder `out`."""
    opened, out = open_store(store), None if out is None else local(out)
    chosen_columns(opened, columns)
    if out is not None:
        _make_folder(opened.root, out)
    rows = selected_rows(opened, split, most)
    with progress_bar("reading", sum(len(inside) for _, inside in rows), "images", quiet) as report:
        evidence = gather(opened, split, columns, most, report)
    with progress_bar("auditing", len(questions_of(evidence, strict)), "questions", quiet) as report:
        found = audit_evidence(evidence, strict, report)
    if out is not None:
        write_whole(out / TABLE, found.to_json().encode())
        draw(found, out / PICTURE)
    return found


@task(name="audit", task_run_name="audit {store}", cache_policy=NO_CACHE)
def audit_task(
    store: str, out: str | None = None, split: str | None = None, strict: bool = False, most: int = MOST
) -> Audit:
    """An audit shown in Prefect's page; labels that leak are an error, so that nothing after it runs."""
    found = audit(place(store), None if out is None else local(out), split, strict, (), most, quiet=True)
    show(f"audit-{artifact_key(found.about.recipe)}", page(found), headline(found))
    refuse_leaks(found)
    return found


def _make_folder(store: Root, out: Path) -> None:
    if isinstance(store, Path) and out.resolve().is_relative_to(store.resolve()):
        raise PlaceError(
            f"cannot write an audit into the store {store}", expected="a folder of its own", where=str(out)
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlaceError(
            f"cannot make the folder {out}: {error.strerror}",
            expected="a folder of its own",
            advice="choose another --out",
        ) from error


def headline(found: Audit) -> str:
    """One line: what was audited and how it ended."""
    sizes = " / ".join(f"{count:,}" for count in found.samples.values())
    ended = "passed" if found.passed else "FAILED"
    return f"{found.about.recipe}, {', '.join(found.about.splits)}, {sizes} samples: {ended}"


def by_subject(found: Audit) -> list[tuple[AuditRow, int]]:
    """Of each subject the pair of classes that it tells apart best, and how many pairs it tells apart."""
    told = []
    for _, group in groupby(found.rows, key=lambda row: row.subject):
        rows = list(group)
        worst = max(rows, key=lambda row: row.worst.distance - row.worst.bound)
        told.append((worst, sum(row.verdict != "even" for row in rows)))
    return told


def page(found: Audit) -> str:
    """The audit as Markdown."""
    lines = [f"## Leak audit of {headline(found)}", ""]
    for title, items in (("Leaks", found.leaks), ("Notes", found.notes), ("Warnings", found.warnings)):
        lines += [f"**{title}**", "", *(f"- {item}" for item in items), ""] if items else []
    lines += ["| what | classes | AUC | 95% interval | verdict |", "|---|---|---|---|---|"]
    for row, _ in by_subject(found):
        one = row.worst
        interval = f"{one.low:.3f} to {one.high:.3f}"
        lines.append(
            f"| {row.subject} | {row.first} / {row.second} | {one.auc:.3f} | {interval} | {row.verdict} |"
        )
    return "\n".join(lines) + "\n"
