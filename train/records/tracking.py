"""Trainings in MLflow's book, a SQLite file, for those who keep one."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import MLFlowLogger

from schemas.errors import FlowError, PlaceError, WriteError, first_line
from schemas.experiment import ExperimentRecipe

LOG = logging.getLogger(__name__)
# Seconds to wait for another training that writes into the same file.
PATIENCE = 10
CHATTER = ("mlflow", "alembic", "lightning.pytorch.loggers.mlflow")


class Book(MLFlowLogger):
    """MLflow's logger; a training goes on where it cannot write, since the run folder has all of it."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with _survived():
            super().log_metrics(metrics, step)

    def finalize(self, status: str = "success") -> None:
        with _survived():
            super().finalize(status)


def check_book(database: Path) -> None:
    """Refuse at once what MLflow would try for minutes, or answer with a page of its own code."""
    if find_spec("mlflow") is None:
        raise FlowError(
            "MLflow is not installed",
            expected="the package of the extra `mlflow`",
            advice="pip install -e '.[mlflow]' in the folder of the repository, or leave --mlflow out",
        )
    if database.is_dir():
        raise _unusable(database, "it is a folder", PlaceError)
    if not database.exists():
        there = next(one for one in database.absolute().parents if one.exists())
        if not there.is_dir():
            raise _unusable(database, f"{there} is a file", PlaceError)
        return
    try:
        with contextlib.closing(sqlite3.connect(database, PATIENCE, isolation_level=None)) as book:
            book.execute("begin immediate")
            book.execute("select count(*) from sqlite_master").fetchall()
            book.execute("rollback")
    except sqlite3.OperationalError as error:
        raise _unusable(database, str(error)) from error
    except sqlite3.Error as error:
        raise _unusable(database, str(error), PlaceError) from error


def open_book(database: Path, experiment: ExperimentRecipe, run_name: str) -> Book:
    """A logger that writes one run: its recipe as parameters, its history epoch by epoch."""
    # it would tell a server of its own, and look for one where there is no network
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    database = database.absolute()
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with _quiet():
            return _begun(database, experiment, run_name)
    except (OSError, MlflowException, SQLAlchemyError) as error:
        raise _unusable(database, first_line(error)) from error


def _begun(database: Path, experiment: ExperimentRecipe, run_name: str) -> Book:
    book = Book(
        experiment_name="lensmill",
        run_name=run_name,
        tracking_uri=f"sqlite:///{database}",
        tags={"experiment": experiment.name, "digest": experiment.digest},
    )
    book.log_hyperparams(experiment.model_dump(mode="json", exclude={"description"}))
    return book


def _unusable(database: Path, told: str, kind: type[WriteError] = WriteError) -> WriteError:
    return kind(
        f"MLflow cannot write {database}: {told}",
        expected="a SQLite file of this version of MLflow, or a path where there is none yet",
        advice="give --mlflow another file, or leave it out",
    )


@contextlib.contextmanager
def _survived() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of MLflow, SQLAlchemy or the system: none is worth a training
        LOG.warning("MLflow's file was not written; training goes on: %s", first_line(error))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what MLflow says about tables that it makes in a new file."""
    logs = [logging.getLogger(name) for name in CHATTER]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
