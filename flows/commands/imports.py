"""The command that makes a store of other people's data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from flows.commands.app import Quiet, ShardSize, app, err, out
from flows.commands.tables import lined_up
from schemas.dataset import SPLITS
from schemas.errors import DataError
from schemas.imported import ImportOptions, ImportReport, shares
from storage.files.place import place
from storage.importing.faults import counted

Key = Annotated[str | None, typer.Option(metavar="KEY", help="Key of the images in HDF5 or .npz.")]


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder or a file with images.")],
    store: Annotated[
        Any, typer.Option("--out", metavar="STORE", parser=place, help="Where the store is to be.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the data set; by default that of SOURCE.")] = None,
    description: Annotated[str, typer.Option(help="Purpose, for people.")] = "",
    images: Key = None,
    labels: Annotated[
        str | None, typer.Option(metavar="KEY|FILE", help="Key of the labels, or a .npy file of them.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", metavar="KEY", help="A column to keep; may be repeated. All by default."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--params", metavar="FILE", help="CSV or structured .npy with columns.")
    ] = None,
    mass_column: Annotated[
        str, typer.Option(help="Column for the mass beside an image in its file.")
    ] = "axion_mass_ev",
    class_order: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Classes in the order of their labels.")
    ] = None,
    splits: Annotated[
        str | None, typer.Option(metavar="TRAIN,VAL,TEST", help="Shares; 0.7,0.1,0.2 by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of rows and the draw of splits.")] = 0,
    pixel_scale: Annotated[
        float | None, typer.Option(metavar="ARCSEC", help="Side of a pixel, if you know it.")
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Images are (y, x, channels).")
    ] = False,
    shard_size: ShardSize = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at everything, write nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a store of images that you already have; run it again to complete it.

    Example: `lensmill import Model_II --out model_ii.zarr --pixel-scale 0.05`
    """
    from flows.importing import import_data

    try:
        options = ImportOptions(
            name=name,
            description=description,
            images=images,
            labels=labels,
            columns=tuple(columns or ()),
            table=None if table is None else str(table),
            mass_column=mass_column,
            class_order=tuple(one.strip() for one in class_order.split(",")) if class_order else (),
            splits=None if splits is None else shares(splits),
            seed=seed,
            pixel_scale_arcsec=pixel_scale,
            channels_last=channels_last,
            shard_images=shard_size,
        )
    except ValidationError as error:
        raise DataError(
            "; ".join(_fault(one) for one in error.errors()),
            advice="lensmill import --help tells all options",
        ) from error
    made = import_data(source, store, options, dry_run, quiet, _print)
    if made is None:
        out.print("a dry run: nothing was written")
    else:
        written = f"{made.made} of {made.shards} shards written" if made.made else "nothing to do"
        out.print(f"{made.store}: {written}", soft_wrap=True)


# where the option is not called as what it sets
OPTIONS = {
    "pixel_scale_arcsec": "--pixel-scale",
    "shard_images": "--shard-size",
    "table": "--params",
    **dict.fromkeys(SPLITS, "--splits"),
}


def _fault(error: Mapping[str, Any]) -> str:
    """What pydantic says of an option, by the name that was typed."""
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(said)
    field = str(error["loc"][0])
    part = f" {field}" if field in SPLITS else ""
    option = OPTIONS.get(field, f"--{field.replace('_', '-')}")
    found = "" if error["type"] == "missing" else f" (found {error['input']!r})"
    return f"{option}{part}: {said[0].lower()}{said[1:]}{found}"


def _print(found: ImportReport) -> None:
    data = found.data
    shape = " x ".join(map(str, data.image_shape))
    types = ", ".join(f"{count:,} {dtype}" for dtype, count in found.dtypes.items())
    images, files = counted(data.sample_count, "image"), counted(data.files, "file")
    out.print(f"{data.name}: {images} of {shape}, {data.form}, {files}")
    stored = "" if list(found.dtypes) == ["float32"] else ", stored as float32"
    out.print(f"values {found.lowest:.4g} to {found.highest:.4g}; {types}{stored}", soft_wrap=True)
    rows = []
    for name, label in data.classes:
        counts = [by_class[name] for by_class in found.splits.values()]
        own = [
            f"{one.name} [{one.unit}]" if one.unit != "1" else one.name
            for one in data.columns
            if label in one.labels
        ]
        numbers = [f"{count:,}" for count in (*counts, sum(counts))]
        rows.append((str(label), name, *numbers, ", ".join(own) or "none"))
    out.print(lined_up(("label", "class", *found.splits, "all", "columns"), rows, named=2))
    for line in found.warnings:
        err.print(f"[yellow]warning:[/] {escape(line)}", soft_wrap=True)
