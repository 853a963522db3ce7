"""What evaluation and loading say of data and runs that do not fit."""

import fcntl
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.importing import import_data
from schemas.errors import DataError, RunError, UnknownNameError
from schemas.metrics import ClassificationMetrics, RegressionMetrics
from tests.sources import images
from train.evaluate import evaluate
from train.predict import predict
from train.release import load_model

FEW = ("samples_per_class=5", "splits={train: 0.6, val: 0.2, test: 0.2}", "seed=501")


@pytest.fixture
def run(classifier: Path, tmp_path: Path) -> Path:
    """A classifier that reports may be written to."""
    return Path(shutil.copytree(classifier, tmp_path / "run"))


def test_one_sample_of_each_class_is_measured_and_warned_of(
    run: Path, another_store: Callable[..., Path]
) -> None:
    report = evaluate(run, another_store(*FEW))
    assert report.samples == 3
    assert isinstance(report.metrics, ClassificationMetrics)
    for one in (report.metrics.accuracy, report.metrics.auc_macro):
        assert math.isfinite(one.value)
        assert one.low <= one.value <= one.high
    assert [one for one in report.warnings if "no_sub (1), cdm (1), vortex (1)" in one]


def test_targets_of_three_samples_are_measured(
    regressor: Path, another_store: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(regressor, tmp_path / "run")
    report = evaluate(tmp_path / "run", another_store(*FEW))
    assert isinstance(report.metrics, RegressionMetrics)
    assert all(math.isfinite(one.mae.value) for one in report.metrics.targets)


@pytest.mark.parametrize(
    ("change", "found"),
    [("bands=[g, r, i]", "images of 3 x 16 x 16"), ("instrument.num_pix=20", "images of 1 x 20 x 20")],
)
def test_images_of_another_shape(
    run: Path, another_store: Callable[..., Path], change: str, found: str
) -> None:
    other = another_store("seed=502", change)
    with pytest.raises(DataError, match=found) as caught:
        evaluate(run, other)
    assert "1 x 16 x 16" in caught.value.expected
    assert caught.value.advice
    with pytest.raises(DataError, match=found):
        predict(run, other)
    assert not (run / "reports").exists()


def test_a_test_split_without_samples(run: Path, another_store: Callable[..., Path]) -> None:
    other = another_store("splits={train: 0.5, val: 0.5, test: 0}", "seed=78")
    with pytest.raises(UnknownNameError, match="the store has no sample in it"):
        evaluate(run, other)


def test_a_store_of_other_classes(run: Path, regressor: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "galaxy").mkdir(parents=True)
    for number, image in enumerate(images(20, side=16)):
        np.save(tmp_path / "mine" / "galaxy" / f"{number:02d}.npy", image)
    import_data(tmp_path / "mine", tmp_path / "mine.zarr", quiet=True)
    with pytest.raises(DataError, match="label 0 is 'galaxy' in the store") as caught:
        evaluate(run, tmp_path / "mine.zarr")
    assert "'no_sub'" in caught.value.expected
    with pytest.raises(UnknownNameError, match="unknown column"):
        evaluate(regressor, tmp_path / "mine.zarr")
    # without a truth they can still be predicted
    assert predict(run, tmp_path / "mine.zarr").num_rows > 0


def test_a_run_that_is_not_finished(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / ".other.partial"
    folder.mkdir()
    (folder / "identity.json").write_text("{}")
    (folder / "lock").touch()
    for given in (tmp_path / "other", folder):
        with pytest.raises(RunError, match="was interrupted") as caught:
            load_model(given)
        assert "same command again" in caught.value.advice
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(RunError, match="is being trained now"):
                load_model(given)
    with pytest.raises(RunError, match="is no finished run"):
        load_model(tmp_path / "third")
