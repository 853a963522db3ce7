"""Samples that a run has seen are found again: by their numbers, and imported ones by their pixels."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.generate import Order
from flows.importing import import_data
from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe
from schemas.imported import ImportOptions
from schemas.report import Report
from storage.reader import open_store
from tests.sources import images
from train.data import load_samples
from train.evaluate import evaluate
from train.fit import fit
from train.records.run_folder import load_run
from train.records.used_samples import fingerprints

# what is looked for is in the report itself
pytestmark = pytest.mark.usefixtures("without_page")

MakeExperiment = Callable[..., ExperimentRecipe]
CLASSES = ("dim", "bright")


def _source(root: Path, pixels: np.ndarray) -> Path:
    """Images in a folder for each class, every second one bright."""
    for at, image in enumerate(pixels):
        folder = root / CLASSES[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{at:03d}.npy", image)
    return root


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    found = images(60, 3, side=16)
    found[1::2] += 3
    return found


@pytest.fixture(scope="module")
def trained(experiment: MakeExperiment, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on all of the images. Not to be changed."""
    root = tmp_path_factory.mktemp("imported")
    import_data(_source(root / "mine", pixels), root / "mine.zarr", quiet=True)
    quick = experiment(training={"epochs": 1, "batch_size": 16, "precision": "float32"})
    fit(quick, root / "mine.zarr", root / "run", quiet=True)
    return root / "run"


def _flattering(report: Report) -> list[str]:
    """Warnings of samples that the run has seen."""
    return [one for one in report.warnings if "flatters" in one]


def test_fingerprints_are_of_the_pixels_alone(sound_store: Order, another_store: Callable[..., Path]) -> None:
    store = open_store(sound_store.root)
    samples = load_samples(store, "train", (0, 1, 2))
    found = fingerprints(samples)
    assert len(np.unique(found)) == len(samples) == 42
    some = load_samples(store, "train", (1,))
    assert fingerprints(some).tolist() == found[samples.label == 1].tolist()
    other = open_store(another_store("storage.backend=hdf5"))
    assert fingerprints(load_samples(other, "train", (0, 1, 2))).tolist() == found.tolist()


def test_fingerprints_are_kept_of_imported_images_alone(trained: Path, classifier: Path) -> None:
    table = pq.read_table(trained / "samples.parquet")
    assert table.column_names == ["role", "seed", "sample_id", "content"]
    counts = table["role"].value_counts().to_pylist()
    assert {one["values"]: one["counts"] for one in counts} == {"train": 42, "val": 6, "calibration": 6}
    assert len(set(table["content"].to_pylist())) == 48
    assert load_run(classifier).used_contents("train") is None


def test_images_imported_twice_are_found(trained: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    # without one file, all numbers are others
    import_data(_source(tmp_path / "less", pixels[:-2]), tmp_path / "less.zarr", quiet=True)
    with pytest.raises(DataError, match=r"\d+ of 12 samples of the test split were trained on") as caught:
        evaluate(trained, tmp_path / "less.zarr")
    assert "the same images, imported twice" in caught.value.found
    assert not (trained / "reports").exists()


def test_other_images_with_the_same_seed_of_the_shuffle_are_no_overlap(trained: Path, tmp_path: Path) -> None:
    found = images(60, 4, side=16)
    import_data(_source(tmp_path / "new", found), tmp_path / "new.zarr", ImportOptions(seed=0), quiet=True)
    for split, samples in (("train", 42), ("test", 12)):
        report = evaluate(trained, tmp_path / "new.zarr", split)
        assert (report.samples, _flattering(report)) == (samples, [])


def test_copies_within_a_source_are_warned_of(
    experiment: MakeExperiment, pixels: np.ndarray, tmp_path: Path
) -> None:
    import_data(_source(tmp_path / "twice", np.tile(pixels, (2, 1, 1))), tmp_path / "twice.zarr", quiet=True)
    quick = experiment(training={"epochs": 1, "batch_size": 16, "precision": "float32"})
    fit(quick, tmp_path / "twice.zarr", tmp_path / "run", quiet=True)
    (warning,) = _flattering(evaluate(tmp_path / "run", tmp_path / "twice.zarr"))
    assert "images are copies of images that were trained on" in warning


# -- the validation samples of simulated stores


def test_validation_samples_are_measured_when_asked_for(
    classifier: Path, sound_store: Order, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(classifier, tmp_path / "run"))
    (warning,) = _flattering(evaluate(run, sound_store.root, "val"))
    assert "chose the epoch that was kept" in warning


def test_validation_samples_in_another_split_are_refused(
    experiment: MakeExperiment, sound_store: Order, another_store: Callable[..., Path], tmp_path: Path
) -> None:
    # one class alone is trained on; of the others, samples have only validated
    other = another_store("splits={train: 0.2, val: 0.2, test: 0.6}")
    fit(experiment(data={"max_per_class": 1}), sound_store.root, tmp_path / "run", quiet=True)
    with pytest.raises(DataError, match="chose the epoch and calibrated") as caught:
        evaluate(tmp_path / "run", other)
    assert "same seed 1001" in caught.value.found
    assert not (tmp_path / "run" / "reports").exists()
