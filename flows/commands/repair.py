"""The command `repair`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.commands.app import (
    FAILED,
    AsJson,
    ClusterFile,
    DaskAddress,
    Quiet,
    StorePath,
    Workers,
    app,
    err,
    out,
)

if TYPE_CHECKING:
    from flows.repair import RepairReport


@app.command("repair")
def repair_command(
    store: StorePath,
    workers: Workers = None,
    quiet: Quiet = False,
    source_file: Annotated[
        Path | None,
        typer.Option("--source-file", help="The file of galaxies, if it is no longer where it was."),
    ] = None,
    accept_new_bytes: Annotated[
        bool,
        typer.Option("--accept-new-bytes", help="Seal shards even if these versions make other bytes."),
    ] = False,
    as_json: AsJson = False,
    cluster: ClusterFile = None,
    dask_address: DaskAddress = None,
) -> None:
    """Make exactly the damaged parts of a store again, from the recipe in it.

    Exit code 0 when the store is sound afterwards. Example: `lensmill repair model_ii.zarr --workers 4`
    """
    from flows.catalogue import load_cluster
    from flows.repair import repair

    where = load_cluster(cluster, dask_address, workers)
    done = repair(store, workers, quiet or as_json, source_file, accept_new_bytes, where)
    if as_json:
        out.print_json(done.model_dump_json())
    else:
        _print(done)
    if not done.sound:
        raise typer.Exit(FAILED)


def _listed(shards: Sequence[str]) -> str:
    """Shards in stretches: `356 shards, train 208 to 393, val 0 to 56`."""
    if len(shards) == 1:
        return shards[0]
    numbers: dict[str, list[int]] = {}
    for shard in shards:
        _, number, _, split = shard.split()
        numbers.setdefault(split, []).append(int(number))
    told = [f"{split} {_stretches(sorted(found))}" for split, found in numbers.items()]
    return f"{len(shards)} shards, {', '.join(told)}"


def _stretches(numbers: Sequence[int]) -> str:
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in found)


def _print(done: "RepairReport") -> None:
    for line in done.found:
        out.print(f"found: {escape(line)}", soft_wrap=True)
    for path, how in done.rebuilt.items():
        out.print(f"rebuilt: {escape(path)}, {how}", soft_wrap=True)
    if done.remade:
        out.print(f"made: {_listed(done.remade)}", soft_wrap=True)
    if done.changed:
        what = f"{', '.join(done.changed)}: other bytes than before; their receipts tell the versions"
        err.print(f"[yellow]warning:[/] {what}", soft_wrap=True)
    for path in done.left:
        err.print(
            f"[bold red]error:[/] {escape(path)} does not belong to the store; look at it and remove it",
            soft_wrap=True,
        )
    what = f"{done.shards} shards, digest {done.digest[:12]}"
    if done.found:
        kept = f"{done.shards - len(done.remade)} shards were left as they are"
        out.print(f"{escape(done.store)} is sealed again: {kept}, digest {done.digest[:12]}", soft_wrap=True)
    elif not done.left:
        out.print(f"nothing to do: {escape(done.store)} is sound, {what}", soft_wrap=True)
