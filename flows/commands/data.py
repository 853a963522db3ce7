"""Commands about data sets: simulate, info, verify, audit, show, sample, recipes, schema."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from flows.commands.app import (
    FAILED,
    AsJson,
    ClusterFile,
    DaskAddress,
    Mapped,
    Overrides,
    Quiet,
    ShardSize,
    StorePath,
    Workers,
    app,
    err,
    out,
)
from flows.commands.tables import facts, lined_up
from schemas.audit import Audit
from schemas.description import purpose
from schemas.sample import SampleSheet
from schemas.store import Provenance
from storage.files.place import local, place

if TYPE_CHECKING:
    from storage.upkeep.loss import MapLoss


@app.command("simulate")
def simulate_command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name or a YAML file.")],
    store: Annotated[
        Any,
        typer.Option(
            "--out", metavar="STORE", parser=place, help="Where the store is to be: a path or s3:// URL."
        ),
    ],
    workers: Workers = None,
    shard_size: ShardSize = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    mapped: Mapped = None,
    cluster: ClusterFile = None,
    dask_address: DaskAddress = None,
) -> None:
    """Simulate a data set; run it again to complete or repair it.

    Example: `lensmill simulate model_ii --out model_ii.zarr --workers 4 --set samples_per_class=2000`
    """
    from flows.catalogue import load_cluster
    from flows.simulating import generate

    where = load_cluster(cluster, dask_address, workers)
    made = generate(recipe, store, workers, shard_size, overrides or [], quiet, mapped, where)
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
    table = facts()
    shape = " x ".join(map(str, found.image_shape))
    shape += f" ({', '.join(found.bands)})" if found.bands else ""
    versions = ", ".join(f"{name} {number}" for name, number in found.provenance.versions.items())
    for key, value in (
        ("recipe", f"{found.recipe} ({found.family}), seed {found.seed}"),
        ("purpose", purpose(found.description)),
        ("digest", found.digest),
        ("images", f"{shape}, {found.profile}, {_pixel(found.pixel_scale_arcsec)}"),
        ("products", ", ".join(found.products) or "none"),
        ("splits", ", ".join(f"{split.name} {split.rows:,}" for split in found.splits)),
        ("classes", ", ".join(f"{one.label} {one.name}" for one in found.classes)),
        (
            "shards",
            f"{found.shards} of {found.shard_rows} images, {found.bytes / 1e6:,.1f} MB, {found.backend}",
        ),
        ("made by", f"engine {_engine(found.provenance)}; {versions}"),
    ):
        table.add_row(key, escape(value))
    for step in found.provenance.conversions:
        lost = "; values went through quantisation" if step.lossy else "; every bit kept"
        table.add_row("converted", f"from {step.backend} {step.profile} {step.manifest_sha256[:12]}{lost}")
    for loss in found.losses:
        table.add_row(f"{loss.map} loss", _loss(loss))
    for one in found.visibility:
        known = f"median S/N {one.median_detectability:.3g}, ideal AUC {one.ideal_auc:.3f}"
        table.add_row(f"{one.name} seen", f"{known} ({one.samples:,} samples)")
    out.print(table)
    columns = []
    for column in found.columns:
        labels = "all" if len(column.labels) == len(found.classes) else ", ".join(map(str, column.labels))
        labels += f" in {', '.join(column.splits)}" if column.splits else ""
        columns.append((column.name, column.unit, column.quantity.bounds, labels, column.description))
    out.print(lined_up(("column", "unit", "bounds", "classes", "meaning"), columns, title="params"))


def _loss(loss: "MapLoss") -> str:
    told = f"off by at most {loss.worst:.3g}"
    told += f", typically {loss.typical:.3g}" if loss.typical is not None else ""
    if loss.noise:
        parts = [value / loss.noise for value in (loss.worst, loss.typical) if value is not None]
        told += f": {' and '.join(f'{part:.2%}' for part in parts)} of the noise ({loss.noise:.3g} a pixel)"
    return told


def _pixel(scale_arcsec: float | None) -> str:
    return "size of a pixel not known" if scale_arcsec is None else f"{scale_arcsec:g} arcsec a pixel"


def _engine(made_by: Provenance) -> str:
    slow = ", ".join(made_by.through_lenstronomy)
    return f"{made_by.engine} ({slow} through lenstronomy, which takes longer)" if slow else made_by.engine


@app.command("verify")
def verify_command(
    store: StorePath,
    as_json: AsJson = False,
    every: Annotated[
        bool, typer.Option("--all", help="STORE is a folder: verify all stores and runs below it.")
    ] = False,
    mend: Annotated[bool, typer.Option("--repair", help="With --all: repair what is damaged.")] = False,
) -> None:
    """Check every byte of a store against its receipts and every row against the specification.

    Exit code 1 and one line per fault when anything is wrong. Example: `lensmill verify model_ii.zarr`
    or `lensmill verify runs --all`
    """
    if every or mend:
        from flows.commands.inspection import verify_all

        if not every:
            raise typer.BadParameter("--repair goes with --all; of one store: lensmill repair STORE")
        verify_all(place(store), mend, as_json)
        return
    from flows.telling.progress import progress_bar
    from storage.reader import open_books
    from storage.upkeep.verification import record
    from storage.verify import verify

    shards = len(open_books(store).manifest.receipts)
    with progress_bar("verifying", shards, "shards", quiet=as_json) as report:
        found = verify(store, report)
    unrecorded = record(store, found)
    if unrecorded:
        err.print(
            f"[yellow]warning:[/] the result is not kept in the store: {escape(unrecorded)}", soft_wrap=True
        )
    if as_json:
        out.print_json(found.model_dump_json())
    elif found.sound:
        size = f"{found.rows:,} rows, {found.shards} shards, {found.bytes / 1e6:,.1f} MB"
        out.print(f"{found.store} is sound: {size}, digest {found.digest[:12]}", soft_wrap=True)
    else:
        count = f"{len(found.faults)} fault{'s' if len(found.faults) > 1 else ''}"
        err.print(f"[bold red]error:[/] {count} in {escape(found.store)}", soft_wrap=True)
        for fault in found.faults:
            err.print(f"  - {escape(fault)}", soft_wrap=True)
        advice = f"mend it: lensmill repair {escape(found.store)}"
        err.print(f"  to do:    {advice}", soft_wrap=True)
    if not found.sound:
        raise typer.Exit(FAILED)


@app.command("audit")
def audit_command(
    store: StorePath,
    folder: Annotated[
        Path, typer.Option("--out", parser=local, help="Folder for audit.json and audit.png.")
    ] = Path("audit"),
    split: Annotated[str | None, typer.Option(help="train, val or test; all by default.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let image statistics fail the audit too.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", metavar="NAME", help="Audit this column only; may be repeated."),
    ] = None,
    most: Annotated[int, typer.Option(min=2, help="Samples of each class, at most.")] = 20_000,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out whether anything but the substructure gives the label away.

    Exit code 1, naming what leaks, when it does. Example: `lensmill audit tiny.zarr --out audit`
    """
    from flows.auditing import audit
    from storage.audit import refuse_leaks

    found = audit(store, folder, split, strict, columns or [], most, quiet or as_json)
    if as_json:
        out.print_json(found.model_dump_json())
    else:
        _print_audit(found)
        out.print(f"wrote {folder / 'audit.json'} and {folder / 'audit.png'}", soft_wrap=True)
    refuse_leaks(found)


VERDICT_STYLES = {"leak": "bold red", "signal or leak": "yellow", "separable": "blue", "differs": "magenta"}


def _print_audit(found: Audit) -> None:
    from flows.auditing import by_subject, headline

    pairs = len(found.about.classes) * (len(found.about.classes) - 1) // 2
    # fits 80 columns: a row without its name or its number says nothing
    table = Table("what", "told apart", "AUC", "allowed", "verdict", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    table.columns[1].overflow = table.columns[4].overflow = "fold"
    for row, told in by_subject(found):
        one, style = row.worst, VERDICT_STYLES.get(row.verdict, "")
        verdict = row.verdict if row.verdict == "even" else f"{row.verdict}, {told} of {pairs}"
        table.add_row(
            escape(row.subject),
            f"{row.first}/{row.second}",
            f"{one.auc:.3f}{'*' if one.of == 'distance' else ''} ± {(one.high - one.low) / 2:.3f}",
            f"{max(one.bound, row.tolerance):.3f}" if row.gates else "",
            f"[{style}]{verdict}[/]" if style else verdict,
        )
    out.print(table)
    out.print(
        "AUC of 0.5: alike, with half its 95% interval; * of the distance from the median, which finds a"
        " difference in spread. What may differ by nothing stated is signal or leak: that is yours to say.",
        soft_wrap=True,
    )
    for what, lines in (("constant", [", ".join(found.constant)]), ("note", found.notes)):
        for line in filter(None, lines):
            out.print(f"{what}: {escape(line)}", soft_wrap=True)
    for line in found.warnings:
        err.print(f"[yellow]warning:[/] {escape(line)}", soft_wrap=True)
    power = f"one number is found from AUC {found.smallest_auc:.3f} on, in nine of ten audits"
    out.print(f"{escape(headline(found))}; {power}", soft_wrap=True)


@app.command("show")
def show_command(
    store: StorePath,
    html: Annotated[
        bool,
        typer.Option("--html", help="Write a page instead: provenance, histograms, gallery with filters."),
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=local,
            help="File to write; gallery.png, or STORE.html, by default.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test; the first by default.")] = None,
    columns: Annotated[
        int | None, typer.Option(min=1, max=24, help="Images per class; 6 by default.")
    ] = None,
) -> None:
    """Draw a gallery: a row of images per class, with the parameters that matter. Or a page of everything.

    Example: `lensmill show model_ii.zarr --out gallery.png` or `lensmill show model_ii.zarr --html`
    """
    from storage.page import write_page
    from storage.pictures.gallery import show

    if html and (split or columns):
        raise typer.BadParameter("--split and --columns are for the picture; a page has all splits")
    if html:
        out.print(f"wrote {write_page(store, picture)}", soft_wrap=True)
    else:
        made = show(store, picture or Path("gallery.png"), split, columns or 6)
        out.print(f"wrote {made}", soft_wrap=True)


@app.command("sample")
def sample_command(
    source: Annotated[
        str, typer.Argument(metavar="RECIPE|STORE", help="A shipped recipe, a YAML file or a store.")
    ],
    index: Annotated[int, typer.Option("--index", metavar="I", help="Number of the sample, from 0.")],
    folder: Annotated[
        Path | None,
        typer.Option("--out", parser=local, help="New folder for arrays, subhalos, parameters, a picture."),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild one sample alone, with all that is known of it; of a store, compare it with what is stored.

    Exit code 1 when it differs. Example: `lensmill sample model_ii --index 7 --out sample_7`
    """
    from flows.sample import sample

    found = sample(source, index, folder, overrides or [])
    if as_json:
        out.print_json(found.model_dump_json())
    else:
        _print_sample(found)
        if folder is not None:
            out.print(f"wrote {folder}: arrays, subhalos.csv, parameters.json, sample.png", soft_wrap=True)
    if not found.identical:
        raise typer.Exit(FAILED)


def _print_sample(found: SampleSheet) -> None:
    what = f"{found.class_name} (label {found.label}), {found.pieces}"
    where = f"{found.recipe} {found.digest[:12]}, row {found.row:,} of {found.split}"
    out.print(f"sample {found.sample_id}: {what}; {where}", soft_wrap=True)
    rows = [(one.name, f"{one.value:.8g}", one.unit, one.description) for one in found.parameters]
    out.print(lined_up(("parameter", "value", "unit", "meaning"), rows, named=2))
    if found.compared is None:
        return
    if found.identical:
        exact = ", ".join(one.name for one in found.compared if one.bound is None)
        out.print(f"as stored, bit by bit: {exact}", soft_wrap=True)
        for part in (part for part in found.compared if part.bound is not None):
            told = f"as stored within {part.bound:.3g}, for it was quantised: {part.name}"
            out.print(told, soft_wrap=True)
        return
    err.print("[bold red]error:[/] the sample is not as it is stored", soft_wrap=True)
    for part in found.compared:
        if part.difference:
            err.print(f"  - {part.name}: {escape(part.difference)}", soft_wrap=True)
    advice = "compare the versions of lensmill info with those here; lensmill verify checks the store"
    err.print(f"  to do:    {advice}", soft_wrap=True)


@app.command("recipes")
def recipes_command() -> None:
    """List the recipes, experiments and clusters that come with lensmill.

    Example: `lensmill recipes`
    """
    from flows.catalogue import clusters, experiments, recipes

    rows = []
    for card in recipes():
        needed = " Needs a file: --set source.file=PATH" if card.needs_file else ""
        rows.append((card.name, card.family, f"{card.images:,}", purpose(card.description) + needed))
    out.print(lined_up(("recipe", "family", "images", "purpose"), rows, named=3))
    learned = [(name, purpose(description)) for name, description in experiments()]
    out.print(lined_up(("experiment", "purpose"), learned))
    out.print(lined_up(("cluster", "kind"), clusters()))


@app.command("schema")
def schema_command(
    document: Annotated[
        str, typer.Argument(metavar="KIND", help="A kind of recipe, dataset or experiment, or store.")
    ],
) -> None:
    """Print the JSON Schema of a kind of recipe or of a store's books, for editors and for reading.

    Example: `lensmill schema dataset > dataset.schema.json`
    """
    from schemas.export import schema

    sys.stdout.write(json.dumps(schema(document), indent=2) + "\n")
