"""Labels and parameters of other samples: what can be learned then is nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.experiment import ExperimentRecipe
from storage.reader import Store
from train.data import load_samples
from train.evaluate import evaluate, report_folder
from train.fit import fit

MakeExperiment = Callable[..., ExperimentRecipe]


def test_labels_and_parameters_travel_together_and_images_stay(sound: Store) -> None:
    labels = tuple(one.label for one in sound.plan.classes)
    true, shuffled = (load_samples(sound, "train", labels, shuffled=seed) for seed in (None, 3))
    assert np.array_equal(true.sample_id, shuffled.sample_id)
    assert np.array_equal(true.take(), shuffled.take())
    assert not np.array_equal(true.label, shuffled.label)
    assert np.array_equal(np.bincount(true.label), np.bincount(shuffled.label))
    # each row of parameters still belongs to its label
    rows = {(label, params.tobytes()) for label, params in zip(true.label, true.params, strict=True)}
    moved = {(label, params.tobytes()) for label, params in zip(shuffled.label, shuffled.params, strict=True)}
    assert rows == moved


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_run_of_shuffled_labels_is_measured_on_shuffled_ones(
    experiment: MakeExperiment, sound: Store, tmp_path: Path, kind: str
) -> None:
    recipe = experiment(kind, data={"labels": "shuffled"})
    assert recipe.digest != experiment(kind).digest
    fit(recipe, sound.root, tmp_path / "run", quiet=True)
    report = evaluate(tmp_path / "run", sound.root)
    assert any("shuffled" in warning for warning in report.warnings)
    table = pq.read_table(report_folder(tmp_path / "run", report) / "predictions.parquet")
    label = dict(zip(sound.read("test", "sample_id"), sound.read("test", "label"), strict=True))
    there = [label[one] for one in table.column("sample_id").to_pylist()]
    assert sorted(table.column("label").to_pylist()) == sorted(there)
    assert table.column("label").to_pylist() != there
