"""The numbers of a report in MLflow's book, beside the training that they are of."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.numbers import Number, numbers
from schemas.report import Report
from schemas.run import RunRecord
from train.records.run_folder import read_record
from train.records.tracking import check_book, open_book

if TYPE_CHECKING:
    from lightning.pytorch.loggers import MLFlowLogger

# Sections of many small numbers, which are for the page and its files.
LEFT_OUT = ("dependence", "confusion")
# what MLflow takes in the name of a metric
UNKNOWN = re.compile(r"[^A-Za-z0-9_\-. /]")


def log_report(database: Path, run: Path, report: Report) -> None:
    """Log to the MLflow run of the training if the book has it, else to a new one."""
    record = read_record(run)
    logger = _logger(database, record, run.name)
    where = f"{report.store_recipe}.{report.split}"
    logger.log_metrics({f"{where}.{metric_name(one)}": one.value for one in logged(report)})
    logger.finalize("success")


def logged(report: Report) -> list[Number]:
    """What is worth a line in the book."""
    return [one for one in numbers(report) if one.section not in LEFT_OUT]


def metric_name(number: Number) -> str:
    """A number's name as MLflow takes it."""
    parts = [number.section, number.name, number.of]
    return UNKNOWN.sub("_", ".".join(part for part in parts if part))


def _logger(database: Path, record: RunRecord, name: str) -> "MLFlowLogger":
    """Of the run of the training, which has the recipe already, or of a new one with it."""
    if record.mlflow_run is None or not _has_run(database, record.mlflow_run):
        check_book(database)
        return open_book(database, record.experiment, name)
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(run_id=record.mlflow_run, tracking_uri=_address(database))


def _has_run(database: Path, run_id: str) -> bool:
    """Whether the book is there and knows the run; looking for one must not begin a book."""
    if find_spec("mlflow") is None or not database.is_file():
        return False
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        MlflowClient(_address(database)).get_run(run_id)
    except MlflowException:
        return False
    return True


def _address(database: Path) -> str:
    return f"sqlite:///{database.absolute()}"
