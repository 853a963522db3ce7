"""Commands about models: train, evaluate, predict, run."""

import webbrowser
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from flows.commands.app import (
    FAILED,
    AsJson,
    ClusterFile,
    DaskAddress,
    Overrides,
    Quiet,
    RunPath,
    ShardSize,
    Workers,
    app,
    err,
    out,
)
from flows.commands.tables import in_blocks, lined_up
from storage.files.place import local, place

if TYPE_CHECKING:
    from schemas.report import Report

# Rows of predictions that are printed; all of them go to a file.
SHOWN = 20
STORE_HELP = "Folder or s3:// URL of a finished store."
Data = Annotated[Any, typer.Option("--data", metavar="STORE", parser=place, help=STORE_HELP)]
Split = Annotated[str, typer.Option(help="train, val or test.")]


@app.command("train")
def train_command(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A shipped experiment's name or a YAML file.")
    ],
    run: Annotated[
        Path,
        typer.Option("--out", metavar="RUN", parser=local, help="Where the run folder is to be."),
    ],
    data: Data = None,
    overrides: Overrides = None,
    mlflow: Annotated[
        Path | None,
        typer.Option("--mlflow", metavar="FILE", parser=local, help="MLflow's SQLite file to log to."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a model on a store and keep its best weights in a run folder.

    A training that was killed goes on where it was when the command is given again.

    Example: `lensmill train classify_tiny --data tiny.zarr --out runs/classify_tiny`
    """
    from flows.catalogue import load_experiment
    from flows.fitting import fit_experiment

    place_elsewhere = load_experiment(experiment, overrides or []).placement
    if place_elsewhere.kind != "here":
        followed = "followed by `lensmill run` and the deployment `simulate-and-train` only"
        err.print(f"trained here: placement ({place_elsewhere.kind}) is {followed}", soft_wrap=True)
    record = fit_experiment(experiment, data, run, overrides or [], quiet, mlflow)
    for said in (record.network_input, record.initial_weights):
        if said is not None:
            out.print(f"{record.experiment.model.name}: {said}", soft_wrap=True, highlight=False)
    if record.images_at_once is not None:
        out.print(f"worked on {record.images_at_once} images at a time: more did not fit into memory")
    loss = "" if record.val_loss is None else f", validation loss {record.val_loss:.4f}"
    out.print(
        f"{record.experiment.model.name} ({record.parameters:,} parameters) trained on"
        f" {record.data.train_samples:,} images in {record.train_seconds:.0f} s:"
        f" best epoch {record.best_epoch} of {record.epochs}{loss}",
        soft_wrap=True,
    )
    out.print(f"{run}; measure it: lensmill evaluate {run} --data {record.data.store}", soft_wrap=True)


@app.command("evaluate")
def evaluate_command(
    run: RunPath,
    data: Data,
    split: Split = "test",
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if a leak is flagged.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    mlflow: Annotated[
        Path | None,
        typer.Option("--mlflow", metavar="FILE", parser=local, help="MLflow's SQLite file to log to."),
    ] = None,
) -> None:
    """Measure a run on a split that it was not trained on; writes a report page into the run folder.

    Example: `lensmill evaluate runs/classify_tiny --data tiny.zarr`
    """
    from flows.extras import need_training

    need_training()
    from train.evaluate import evaluate, report_folder

    if mlflow is not None:
        from train.records.tracking import check_book

        check_book(mlflow)
    report = evaluate(run, data, split)
    page = report_folder(run, report) / "report.html"
    if mlflow is not None:
        from train.records.logbook import log_report

        log_report(mlflow, run, report)
    if as_json:
        out.print_json(report.model_dump_json())
    else:
        _print_report(report, page)
    if show:
        webbrowser.open(page.absolute().as_uri())
    if strict and any(one.severity == "leak" for one in report.flags):
        raise typer.Exit(FAILED)


def _print_report(report: "Report", page: Path) -> None:
    from flows.assess import metric_rows
    from schemas import tries

    heads = {"metric": "metric", "value": "value", "interval": "95%", "baseline": "baseline"}
    rows = metric_rows(report)
    # a column that nothing is known for only takes room
    shown = [key for key in (*heads, "constant") if any(row.get(key) for row in rows)]
    title = f"{report.experiment} on {report.store_recipe}, {report.split}"
    cells = [[row.get(key, "") for key in shown] for row in rows]
    out.print(lined_up([heads.get(key, key) for key in shown], cells, title=title))
    for one in report.bounds:
        out.print(str(one), highlight=False, markup=False)
    for flag in report.flags:
        colour = "bold red" if flag.severity == "leak" else "yellow"
        out.print(f"[{colour}]{flag.severity}: {escape(flag.text)}[/]", highlight=False)
    for warning in report.warnings:
        out.print(f"warning: {escape(warning)}")
    out.print(escape(tries.told(report.looks)), soft_wrap=True, highlight=False)
    out.print(report.headline, soft_wrap=True, highlight=False, markup=False)
    if report.verdict is not None:
        out.print(str(report.verdict), soft_wrap=True, highlight=False)
    out.print(f"report: {page}", soft_wrap=True)


@app.command("predict")
def predict_command(
    run: RunPath,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...",
            parser=place,
            help=".npy, .npz, FITS or HDF5 files, folders of them, or stores.",
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Option("--out", parser=local, help="Table to write, .parquet or .csv; printed when left out."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of a store.")] = "test",
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Array of HDF5 or .npz files.")
    ] = None,
    hdu: Annotated[
        str | None, typer.Option("--hdu", metavar="HDU", help="Number or name of the unit of FITS files.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave images with NaN empty instead of refusing all.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Say what a trained model sees in images. RUN is the folder of a run or of an exported model.

    Example: `lensmill predict runs/classify_tiny images.npy --out predictions.csv`
    """
    from flows.extras import need_training
    from flows.telling.progress import progress_bar

    need_training()
    from train.predict import predict

    predictions = predict(
        run,
        files,
        table,
        split,
        dataset=dataset,
        hdu=hdu,
        skip_bad=skip_bad,
        bar=lambda total: progress_bar("predicting", total, "images", quiet),
    )
    if table is not None:
        out.print(f"wrote {table}: {predictions.num_rows:,} rows", soft_wrap=True)
        return
    _print_predictions(predictions.slice(0, SHOWN).to_pylist())
    if predictions.num_rows > SHOWN:
        out.print(f"and {predictions.num_rows - SHOWN:,} more; write all of them with --out")


def _print_predictions(rows: list[dict[str, Any]]) -> None:
    """By file, whose path would take the place of numbers."""
    for path, of_file in groupby(rows, key=lambda row: row["file"]):
        out.print(escape(path), soft_wrap=True, highlight=False)
        told = [{name: _said(value) for name, value in row.items() if name != "file"} for row in of_file]
        for table in in_blocks(list(told[0]), [list(row.values()) for row in told]):
            out.print(table)


def _said(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


@app.command("run")
def run_command(
    recipe: Annotated[str, typer.Argument(metavar="[RECIPE]", help="What to simulate.")] = "tiny",
    experiments: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="What to train on it.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", parser=local, help="Where everything goes.")
    ] = Path("demo"),
    workers: Workers = None,
    shard_size: ShardSize = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Stop before training if the data give the labels away.")
    ] = False,
    cluster: ClusterFile = None,
    dask_address: DaskAddress = None,
) -> None:
    """Do all of it: simulate, train, evaluate, report. Run it again to resume.

    Without arguments it simulates `tiny` and trains `classify_tiny` and `regress_tiny`.
    Example: `lensmill run model_ii classify_model_ii --out model_ii --set samples_per_class=2000`
    """
    from flows.catalogue import load_cluster
    from flows.experiments import DEFAULT_EXPERIMENTS
    from flows.running import run

    made = run(
        recipe,
        experiments or list(DEFAULT_EXPERIMENTS),
        folder,
        workers,
        shard_size,
        overrides,
        quiet,
        audit,
        load_cluster(cluster, dask_address, workers),
    )
    rate = f", {made.data.images_per_s:,.0f} images/s" if made.data.made else ", all there before"
    out.print(
        f"data: {made.data.store}, {made.data.rows:,} images in {made.data.shards} shards{rate}",
        soft_wrap=True,
    )
    for report, page in zip(made.reports, made.pages, strict=True):
        out.print(f"report: {page}", soft_wrap=True)
        out.print(f"[bold]{report.experiment}[/]: {escape(report.headline)}", soft_wrap=True, highlight=False)
