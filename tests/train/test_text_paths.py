"""Stores and runs are named by texts as well as by paths, from training to predictions."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.generate import Order
from schemas.errors import RunError, StoreMissingError, WriteError
from schemas.experiment import ExperimentRecipe
from train.evaluate import evaluate
from train.fit import fit
from train.predict import predict
from train.records.run_folder import load_run

MakeExperiment = Callable[..., ExperimentRecipe]


def test_texts_from_training_to_predictions(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    store, run = str(sound_store.root), str(tmp_path / "run")
    short = experiment(training={"epochs": 1, "batch_size": 16, "precision": "float32"})
    assert fit(short, store, run, quiet=True).data.store == store
    report = evaluate(run, store)
    assert (report.run, report.store) == (run, store)
    table = predict(run, [store], str(tmp_path / "table.csv"))
    assert (tmp_path / "table.csv").is_file()
    # one file needs no list; a text is not taken letter by letter
    assert predict(run, store).equals(table)
    assert predict(Path(run), sound_store.root).equals(table)
    assert str(load_run(run).root) == run
    with pytest.raises(StoreMissingError, match="no lensmill store at gone"):
        evaluate(run, "gone.zarr")


def test_runs_are_on_a_disk(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="a path on a disk is needed"):
        load_run("s3://bucket/run")
    with pytest.raises(WriteError, match="a path on a disk is needed"):
        fit(experiment(), str(sound_store.root), "s3://bucket/run", quiet=True)
    with pytest.raises(RunError, match=re.escape(f"{tmp_path} is no finished run")):
        predict(str(tmp_path), "images.npy")
