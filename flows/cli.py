"""The command: each subcommand is a thin call of one public function of the same name."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.server import set_private_environment
from schemas.errors import ColumnError, LensmillError, RecipeError, UnknownNameError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="From a recipe for simulated strong-lens images to a verified data set.",
)
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a finished store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
out = Console()
err = Console(stderr=True)


@app.command("simulate")
def simulate_command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name or a YAML file.")],
    store: Annotated[Path, typer.Option("--out", help="Where the store is to be.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; one per core by default.")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(min=1, help="Images per shard, a power of two; 64 MiB by default.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; may be repeated."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Simulate a data set; run it again to complete or repair it.

    Example: `lensmill simulate model_ii --out model_ii.zarr --workers 4 --set samples_per_class=2000`
    """
    from flows.generate import generate

    made = generate(recipe, store, workers, shard_size, overrides or [], quiet)
    if made.made:
        pace = f"{made.seconds:.1f} s ({made.images_per_s:,.0f} images/s)"
        out.print(f"{made.made} of {made.shards} shards made in {pace}")
    else:
        out.print(f"nothing to do: all {made.shards} shards are there and whole")
    out.print(
        f"{made.store}: {made.rows:,} images of {made.recipe}, digest {made.digest[:12]}", soft_wrap=True
    )


@app.command("info")
def info_command(store: StorePath, as_json: AsJson = False) -> None:
    """Show what a store holds: recipe, digest, splits, classes, columns, provenance.

    Example: `lensmill info model_ii.zarr`
    """
    from storage.info import info

    found = info(store)
    if as_json:
        out.print_json(found.model_dump_json())
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    shape = " x ".join(map(str, found.image_shape))
    versions = ", ".join(f"{name} {number}" for name, number in found.provenance.versions.items())
    for key, value in (
        ("recipe", f"{found.recipe} ({found.family}), seed {found.seed}"),
        ("purpose", found.description.split("\n")[0]),
        ("digest", found.digest),
        ("images", f"{shape}, {found.profile}, {found.pixel_scale_arcsec:g} arcsec a pixel"),
        ("splits", ", ".join(f"{split.name} {split.rows:,}" for split in found.splits)),
        ("classes", ", ".join(f"{one.label} {one.name}" for one in found.classes)),
        (
            "shards",
            f"{found.shards} of {found.shard_rows} images, {found.bytes / 1e6:,.1f} MB, {found.backend}",
        ),
        ("made by", f"engine {found.provenance.engine}; {versions}"),
    ):
        table.add_row(key, escape(value))
    out.print(table)
    columns = Table("column", "unit", "bounds", "classes", "meaning", title="params")
    for column in found.columns:
        labels = "all" if len(column.labels) == len(found.classes) else ", ".join(map(str, column.labels))
        columns.add_row(column.name, column.unit, column.quantity.bounds, labels, column.description)
    out.print(columns)


@app.command("verify")
def verify_command(store: StorePath, as_json: AsJson = False) -> None:
    """Check every byte of a store against its receipts and every row against the specification.

    Exit code 1 and one line per fault when anything is wrong. Example: `lensmill verify model_ii.zarr`
    """
    from flows.progress import progress_bar
    from storage.info import info
    from storage.verify import verify

    with progress_bar("verifying", info(store).shards, "shards", quiet=as_json) as report:
        found = verify(store, report)
    if as_json:
        out.print_json(found.model_dump_json())
    elif found.sound:
        size = f"{found.rows:,} rows, {found.shards} shards, {found.bytes / 1e6:,.1f} MB"
        out.print(f"{found.store} is sound: {size}, digest {found.digest[:12]}", soft_wrap=True)
    else:
        err.print(f"[bold red]error:[/] {len(found.faults)} faults in {escape(found.store)}", soft_wrap=True)
        for fault in found.faults:
            err.print(f"  - {escape(fault)}", soft_wrap=True)
        err.print(
            "  to do:    run the `lensmill simulate` command that made it; it replaces only damaged shards"
        )
    if not found.sound:
        raise typer.Exit(FAILED)


@app.command("show")
def show_command(
    store: StorePath,
    picture: Annotated[Path, typer.Option("--out", help="PNG file to write.")] = Path("gallery.png"),
    split: Annotated[str | None, typer.Option(help="train, val or test; the first by default.")] = None,
    columns: Annotated[int, typer.Option(min=1, max=24, help="Images per class.")] = 6,
) -> None:
    """Draw a gallery: a row of images per class, with the parameters that matter.

    Example: `lensmill show model_ii.zarr --out gallery.png`
    """
    from storage.gallery import show

    out.print(f"wrote {show(store, picture, split, columns)}", soft_wrap=True)


@app.command("recipes")
def recipes_command() -> None:
    """List the recipes that come with lensmill.

    Example: `lensmill recipes`
    """
    from flows.catalogue import recipes

    table = Table("recipe", "family", "images", "purpose")
    for card in recipes():
        table.add_row(card.name, card.family, f"{card.images:,}", escape(card.description.split("\n")[0]))
    out.print(table)


@app.command("schema")
def schema_command(
    document: Annotated[str, typer.Argument(metavar="KIND", help="The kind of recipe: dataset.")],
) -> None:
    """Print the JSON Schema of a kind of recipe, for editors and for reading.

    Example: `lensmill schema dataset > dataset.schema.json`
    """
    from schemas.export import schema

    sys.stdout.write(json.dumps(schema(document), indent=2) + "\n")


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log.")] = False,
) -> None:
    set_private_environment(verbose)


def main() -> None:
    """Run the command; errors raised on purpose become one message and an exit code."""
    try:
        app()
    except LensmillError as error:
        err.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
        sys.exit(BAD_INPUT if isinstance(error, RecipeError | UnknownNameError | ColumnError) else FAILED)
    except KeyboardInterrupt:
        err.print("interrupted; finished shards are kept, the same command goes on from there")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
