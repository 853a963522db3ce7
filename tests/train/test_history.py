"""The course of a training as CSV, Parquet and, if asked for, in MLflow."""

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
from train import tracking
from train.fit import fit
from train.history import COLUMNS

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


@pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra `mlflow` is not installed")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_the_history(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> None:
    database = tmp_path / "book" / "mlflow.db"
    fit(experiment(), sound_store.root, tmp_path / "run", quiet=True, mlflow=database)
    rows = pq.read_table(tmp_path / "run/history.parquet").to_pylist()
    with sqlite3.connect(database) as book:
        told = dict(book.execute("select step, value from metrics where key = 'val_loss'"))
        names = dict(book.execute("select key, value from params"))
        status = book.execute("select status from runs").fetchall()
    assert told == {row["epoch"]: pytest.approx(row["val_loss"]) for row in rows}
    assert names["training/epochs"] == "2"
    assert status == [("FINISHED",)]
    assert {path.name for path in tmp_path.iterdir()} == {"book", "run"}
