"""The command `status`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.commands.app import AsJson, app, out
from flows.commands.tables import lined_up
from storage.files.place import place

if TYPE_CHECKING:
    from schemas.standing import FlowRunStanding, ServiceStanding, Standing, StoreStanding


@app.command("status")
def status_command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", parser=place, help="Folder or s3:// URL; runs by default.")
    ] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Show how things stand: the service and its flow runs, stores and training runs below a folder, disk.

    Example: `lensmill status runs`
    """
    from flows.standing import status

    found = status(folder)
    if as_json:
        out.print_json(found.model_dump_json())
        return
    _print_service(found.service)
    _print_folder(found)


def _print_service(service: "ServiceStanding") -> None:
    if service.address is None:
        out.print("service: not up (lensmill up starts it)")
        return
    if service.fault:
        out.print(f"service: {service.address} does not answer: {escape(service.fault)}", soft_wrap=True)
        return
    pools = [f"{one.name} {one.status}, {_several(one.workers, 'worker')}" for one in service.pools]
    out.print(f"service: {service.address.removesuffix('/api')}; pools: {'; '.join(pools) or 'none'}")
    if service.runs:
        out.print(
            lined_up(("flow", "run", "state", "began (UTC)", "took"), [_run(one) for one in service.runs])
        )
        for one in service.runs:
            if one.message:
                out.print(f"{one.name}: {one.message}", soft_wrap=True, highlight=False, markup=False)


def _run(one: "FlowRunStanding") -> tuple[str, ...]:
    progress = "" if one.progress is None else f" {one.progress:.0f}%"
    begins = one.begins.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if one.begins else ""
    ahead = one.begins is not None and one.begins > datetime.now(UTC)
    took = "" if one.seconds is None else str(timedelta(seconds=round(one.seconds)))
    return one.flow, one.name, one.state + progress, begins, "to come" if ahead else took


def _print_folder(found: "Standing") -> None:
    rows = [_store(one, found.folder) for one in found.stores]
    if rows:
        out.print(lined_up(("data", "recipe", "images", "MB", "state"), rows))
    runs = [(_below(one.path, found.folder), one.data, one.score or one.state) for one in found.runs]
    if runs:
        out.print(lined_up(("run", "data", "score"), runs))
    size = sum(one.bytes for one in found.stores)
    counts = [_several(len(found.stores), "data set"), _several(len(found.runs), "training run")]
    free = "" if found.free_bytes is None else f", {found.free_bytes / 1e9:,.1f} GB free"
    out.print(f"{found.folder}: {', '.join(counts)}, {size / 1e9:,.2f} GB of data{free}", soft_wrap=True)


def _store(one: "StoreStanding", folder: str) -> tuple[str, ...]:
    name = _below(one.path, folder)
    about = "" if one.exact else "about "
    state = one.state
    if one.versions is not None:
        latest = "none is the latest" if one.latest is None else f"latest {one.latest}"
        state = f"{_several(one.versions, 'version')}, {latest}, {one.state}"
    return name, one.recipe, f"{one.rows:,}", f"{about}{one.bytes / 1e6:,.1f}", state


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder).lstrip("/") or path


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
