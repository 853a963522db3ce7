"""The course of a training as CSV, Parquet and, if asked for, in MLflow."""

import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from lightning.pytorch.loggers import MLFlowLogger

from flows.generate import Order
from schemas.errors import FlowError, PlaceError, WriteError
from schemas.experiment import ExperimentRecipe
from train.fit import fit
from train.records import tracking
from train.records.history import COLUMNS

MakeExperiment = Callable[..., ExperimentRecipe]


def test_both_tables_say_the_same(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> None:
    trial = experiment(optimiser={"learning_rate": 1e-2, "warmup": 0.5})
    record = fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    table = pq.read_table(tmp_path / "run/history.parquet")
    rows = table.to_pylist()
    lines = [line.split(",") for line in (tmp_path / "run/history.csv").read_text().splitlines()]
    assert table.column_names == lines[0] == list(COLUMNS)
    assert [[str(value) for value in row.values()] for row in rows] == lines[1:]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["images_per_s"] > 0 and row["memory_bytes"] > 0 for row in rows)
    assert 0 < rows[0]["seconds"] <= rows[1]["seconds"] <= record.train_seconds + 0.01
    # warm at the end of the first epoch, and at nothing at the end of all
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-2, 0], abs=1e-9)


def test_the_training_loss_is_the_mean_over_samples(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.module import LensModule

    losses = iter([1.0, 3.0, 5.0, 7.0])
    real = LensModule.training_step

    def step(self: LensModule, batch: Any, number: int) -> Any:
        told = real(self, batch, number)
        return {**told, "shown": told["shown"] * 0 + next(losses)}

    monkeypatch.setattr(LensModule, "training_step", step)
    fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert pq.read_table(tmp_path / "run/history.parquet")["train_loss"].to_pylist() == [2.0, 6.0]


def test_without_mlflow_it_says_what_to_install(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "mlflow" else find_spec(name))
    with pytest.raises(FlowError, match="MLflow is not installed") as caught:
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True, mlflow=tmp_path / "mlflow.db")
    assert "[mlflow]" in caught.value.advice
    assert not list(tmp_path.iterdir())


@pytest.fixture
def _with_mlflow() -> Iterator[None]:
    pytest.importorskip("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def tracked(experiment: MakeExperiment, sound_store: Order, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, with the book that it was written into. Not to be changed."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("tracked")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        database = folder / "book" / "mlflow.db"
        fit(experiment(), sound_store.root, folder / "run", quiet=True, mlflow=database)
    return folder


def test_mlflow_has_the_history(tracked: Path) -> None:
    database = tracked / "book" / "mlflow.db"
    rows = pq.read_table(tracked / "run/history.parquet").to_pylist()
    with sqlite3.connect(database) as book:
        told = dict(book.execute("select step, value from metrics where key = 'val_loss'"))
        names = dict(book.execute("select key, value from params"))
        shown = book.execute("select distinct key from metrics").fetchall()
        status = book.execute("select status from runs").fetchall()
    assert told == {row["epoch"]: pytest.approx(row["val_loss"]) for row in rows}
    assert names["training/epochs"] == "2"
    assert status == [("FINISHED",)]
    assert {name for (name,) in shown} == set(COLUMNS) - {"epoch"}
    assert {path.name for path in tracked.iterdir()} == {"book", "run"}


@pytest.mark.parametrize("fault", ["text", "cut", "folder"])
def test_a_file_that_is_not_mlflows_is_refused_at_once(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, fault: str
) -> None:
    database = tmp_path / "mlflow.db"
    if fault == "folder":
        database.mkdir()
    else:
        with closing(sqlite3.connect(database)) as book:
            book.executescript("create table a (b); create table c (d);")
        database.write_bytes(b"no database" if fault == "text" else database.read_bytes()[:4096])
    with pytest.raises(WriteError, match=r"MLflow cannot write .*mlflow\.db") as caught:
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True, mlflow=database)
    assert "--mlflow" in caught.value.advice
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db"}


@pytest.mark.usefixtures("_with_mlflow")
def test_a_book_of_another_version_is_refused(
    tracked: Path, experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    database = shutil.copy(tracked / "book" / "mlflow.db", tmp_path)
    with closing(sqlite3.connect(database)) as book, book:
        book.execute("update alembic_version set version_num = 'of the future'")
    with pytest.raises(WriteError, match="MLflow cannot write"):
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True, mlflow=Path(database))
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db"}


@pytest.mark.usefixtures("_with_mlflow")
def test_a_training_outlives_its_book(
    tracked: Path,
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("database is locked\nand more")

    monkeypatch.setattr(MLFlowLogger, "log_metrics", broken)
    database = Path(shutil.copy(tracked / "book" / "mlflow.db", tmp_path))
    record = fit(experiment(), sound_store.root, tmp_path / "run", quiet=True, mlflow=database)
    assert record.epochs == 2
    assert caplog.text.count("training goes on: database is locked") == 2


@pytest.mark.usefixtures("_with_mlflow")
def test_what_is_refused_leaves_no_run_in_the_book(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(PlaceError):
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True, mlflow=tmp_path / "mlflow.db")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
