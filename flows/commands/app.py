"""The application that subcommands register with, and what they share."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.serving.server import set_private_environment
from flows.telling import journal
from storage.files.place import local, place

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="From a recipe for simulated strong-lens images to a trained, honestly measured model.",
)
# Shown as paths: typer knows no unions, of which a Root is one. Parsed, since a path would spoil a URL.
StorePath = Annotated[
    Path, typer.Argument(metavar="STORE", parser=place, help="Folder or s3:// URL of a finished store.")
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", parser=local, help="Folder of a finished training run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; one per core by default.")]
ShardSize = Annotated[
    int | None, typer.Option(min=1, help="Images per shard, a power of two; 64 MiB by default.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe; may be repeated."),
]
Mapped = Annotated[
    bool | None,
    typer.Option(
        "--mapped/--batches",
        help="Shards one by one or in batches; by default in batches and the last ones one by one, or all"
        " where batches would be too many.",
    ),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        help="Where shards are made, a YAML file or a shipped name; this machine by default.",
    ),
]
DaskAddress = Annotated[
    str | None,
    typer.Option(
        "--dask-address", metavar="URL", help="A Dask scheduler that runs already: tcp://HOST:PORT."
    ),
]
FAILED = 1
out = Console()
err = Console(stderr=True)


class LogForm(StrEnum):
    """What stderr is written for."""

    TEXT = "text"
    JSON = journal.JSON


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log.")] = False,
    log: Annotated[
        LogForm,
        typer.Option(
            envvar=journal.VARIABLE,
            help="Progress, warnings and errors as words, or as one JSON object a line on stderr.",
        ),
    ] = LogForm.TEXT,
) -> None:
    # whatever this command starts, workers and services, writes the same
    os.environ[journal.VARIABLE] = log.value
    if log is LogForm.JSON:
        os.environ |= journal.PREFECT
    err.file = journal.lines() if log is LogForm.JSON else None  # type: ignore[assignment]
    set_private_environment(verbose, log is LogForm.JSON)
