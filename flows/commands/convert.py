"""The command that puts a store into another format."""

from typing import Annotated

import typer

from flows.commands.app import AsJson, Quiet, ShardSize, StorePath, app, out
from schemas.conversion import ConversionSummary


@app.command("convert")
def convert_command(
    store: StorePath,
    target: Annotated[str, typer.Option("--out", help="Where the new store is to be.")],
    to: Annotated[str | None, typer.Option("--to", help="File format: zarr or hdf5.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Number format of the maps: float32, quantised or archive.")
    ] = None,
    shard_size: ShardSize = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put a store into another format and compare every shard; run it again to complete it.

    What is not named stays as it is; the recipe and its digest always do. From 16-bit codes back to float32,
    what quantisation took stays lost, and the store says so.

    Example: `lensmill convert model_ii.zarr --out model_ii.h5store --to hdf5 --profile quantised`
    """
    from flows.telling.progress import progress_bar
    from storage.conversion import convert
    from storage.files.place import place
    from storage.reader import open_books

    source = place(store)
    rows = sum(split.rows for split in open_books(source).plan.splits)
    with progress_bar("converting", rows, "images", quiet or as_json) as report:
        found = convert(source, place(target), to, profile, shard_size, report)
    if as_json:
        out.print_json(found.model_dump_json())
    else:
        _print(found)


def _print(found: ConversionSummary) -> None:
    if found.made:
        out.print(f"{found.made} of {found.shards} shards written and compared")
    else:
        out.print(f"nothing to write: all {found.shards} shards are there and as the source has them")
    sizes = f"{found.bytes / 1e6:,.1f} MB from {found.source_bytes / 1e6:,.1f} MB"
    out.print(
        f"{found.store}: {found.rows:,} images of {found.recipe}, {found.backend} {found.profile}, {sizes},"
        f" digest {found.digest[:12]}",
        soft_wrap=True,
    )
    for error in found.errors:
        out.print(f"{error.map}: off by at most {error.worst:.3g}, within {error.bound:.3g}", soft_wrap=True)
    if not found.errors:
        out.print("every bit is as in the source", soft_wrap=True)
