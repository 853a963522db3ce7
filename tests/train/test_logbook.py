"""The numbers of a report in MLflow's book: beside the training where the book has it."""

import sqlite3
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.generate import Order
from schemas.errors import FlowError
from schemas.experiment import ExperimentRecipe
from schemas.numbers import numbers
from tests.reports import KINDS, full_report
from train.fit import fit
from train.records import tracking
from train.records.logbook import log_report, logged, metric_name
from train.report.numbers import write_numbers


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_that_mlflow_takes_and_differ(kind: str) -> None:
    names = [metric_name(one) for one in logged(full_report(kind))]
    assert len(set(names)) == len(names) > 20
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /")
        for name in names
    )
    assert not any(name.startswith(("dependence", "confusion")) for name in names)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_written_as_they_are(kind: str, tmp_path: Path) -> None:
    report = full_report(kind)
    write_numbers(report, tmp_path / "metrics.parquet")
    table = pq.read_table(tmp_path / "metrics.parquet")
    assert table.column_names == ["section", "name", "of", "value", "low", "high", "unit"]
    assert table.to_pylist() == [one.model_dump() for one in numbers(report)]


def _book(database: Path) -> dict[str, Any]:
    with sqlite3.connect(database) as book:
        return {
            "runs": [run for (run,) in book.execute("select run_uuid from runs")],
            "metrics": dict(book.execute("select key, value from metrics where key like 'model_ii.test.%'")),
            "where": {
                run
                for (run,) in book.execute("select run_uuid from metrics where key like 'model_ii.test.%'")
            },
            "status": {status for (status,) in book.execute("select status from runs")},
        }


@pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra `mlflow` is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_report_is_logged_beside_its_training(
    experiment: Callable[..., ExperimentRecipe], sound_store: Order, tmp_path: Path
) -> None:
    database, run, report = tmp_path / "runs.db", tmp_path / "run", full_report("classification")
    record = fit(experiment(), sound_store.root, run, quiet=True, mlflow=database)
    log_report(database, run, report)
    book = _book(database)
    assert (book["runs"], book["where"]) == ([record.mlflow_run], {record.mlflow_run})
    assert book["status"] == {"FINISHED"}
    assert book["metrics"]["model_ii.test.metrics.auc_macro"] == 0.9812
    assert book["metrics"]["model_ii.test.metrics.auc.vortex"] == 0.9973
    assert len(book["metrics"]) == len(logged(report))

    # another book knows nothing of it
    other = tmp_path / "other.db"
    log_report(other, run, report)
    (new,) = _book(other)["runs"]
    assert new != record.mlflow_run
    assert len(_book(other)["metrics"]) == len(logged(report))


def test_without_mlflow_it_says_what_to_install(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "mlflow" else find_spec(name))
    with pytest.raises(FlowError, match="MLflow is not installed"):
        log_report(tmp_path / "runs.db", classifier, full_report("classification"))
    assert not list(tmp_path.iterdir())
