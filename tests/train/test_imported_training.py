"""Training, evaluation and prediction on imported data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.importing import import_data
from schemas.errors import DataError, UnknownNameError
from schemas.experiment import ExperimentRecipe
from schemas.imported import ImportOptions
from storage.reader import open_store
from tests.sources import images, with_mass
from train.evaluate import evaluate, report_folder
from train.fit import fit
from train.predict import predict

MakeExperiment = Callable[..., ExperimentRecipe]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that differ in brightness; `axion` has a mass in each file."""
    root = tmp_path_factory.mktemp("imported") / "mine"
    for number, name in enumerate(("axion", "no_sub")):
        (root / name).mkdir(parents=True)
        for at, image in enumerate(images(40, number, side=16) + 3 * number):
            content = with_mass(image, 10.0 ** (-24 + at / 20)) if name == "axion" else image
            np.save(root / name / f"{at:02d}.npy", content, allow_pickle=True)
    return root


@pytest.fixture(scope="module")
def store(source: Path) -> Path:
    """The source as a store. Not to be changed."""
    out = source.parent / "mine.zarr"
    import_data(source, out, quiet=True)
    return out


def test_a_classifier_learns_imported_classes(
    experiment: MakeExperiment, store: Path, source: Path, tmp_path: Path
) -> None:
    long = experiment(training={"epochs": 12, "batch_size": 16, "precision": "float32"})
    record = fit(long, store, tmp_path / "run", quiet=True)
    assert record.data.pixel_scale_arcsec is None
    assert record.data.recipe_name == "mine"
    report = evaluate(tmp_path / "run", store)
    assert report.samples == 16
    assert report.metrics.kind == "classification"
    assert report.metrics.accuracy.value > 0.8
    assert "imported" in (report_folder(tmp_path / "run", report) / "report.html").read_text()
    assert predict(tmp_path / "run", [store]).num_rows == 16
    # the same source in another order has training samples in its test split
    other = tmp_path / "other.zarr"
    import_data(source, other, ImportOptions(seed=5), quiet=True)
    with pytest.raises(DataError, match="were trained on"):
        evaluate(tmp_path / "run", other)


def test_imported_and_simulated_samples_are_never_the_same(
    experiment: MakeExperiment, store: Path, tmp_path: Path
) -> None:
    known = experiment(training={"epochs": 1, "batch_size": 16, "precision": "float32"})
    fit(known, store, tmp_path / "run", quiet=True)
    np.save(tmp_path / "images.npy", images(30, 9, side=16))
    np.save(tmp_path / "labels.npy", np.arange(30) % 2)
    other = tmp_path / "other.zarr"
    import_data(tmp_path / "images.npy", other, ImportOptions(class_order=("axion", "no_sub")), quiet=True)
    assert open_store(other).origin.seed != open_store(store).origin.seed
    assert evaluate(tmp_path / "run", other).samples == 6


def test_a_mass_that_came_with_the_images_can_be_learned(
    experiment: MakeExperiment, store: Path, tmp_path: Path
) -> None:
    target = {"kind": "regression", "targets": [{"column": "axion_mass_ev", "transform": "log10"}]}
    record = fit(experiment(objective=target), store, tmp_path / "run", quiet=True)
    assert record.data.train_samples == 28
    assert evaluate(tmp_path / "run", store).metrics.kind == "regression"


def test_a_known_size_of_pixels_is_compared(
    experiment: MakeExperiment, store: Path, source: Path, tmp_path: Path
) -> None:
    fit(experiment(), store, tmp_path / "run", quiet=True)
    scaled = tmp_path / "scaled.zarr"
    stack = np.concatenate([images(10, 50, side=16), images(10, 51, side=16) + 3])
    np.savez(tmp_path / "s.npz", images=stack, labels=np.repeat(["axion", "no_sub"], 10))
    import_data(tmp_path / "s.npz", scaled, ImportOptions(pixel_scale_arcsec=0.1), quiet=True)
    told = evaluate(tmp_path / "run", scaled).warnings
    assert "pixels are 0.1 arcsec here and were of unknown size in training" in told


def test_columns_that_imported_data_have_not_are_told_with_those_that_they_have(
    experiment: MakeExperiment, store: Path, tmp_path: Path
) -> None:
    two = {"kind": "regression", "targets": [{"column": "theta_E"}, {"column": "source_magnitude"}]}
    with pytest.raises(UnknownNameError, match="unknown columns 'theta_E', 'source_magnitude'") as caught:
        fit(experiment(objective=two), store, tmp_path / "run", quiet=True)
    # `copies` is no property of a lens
    assert caught.value.expected == "one of axion_mass_ev"
    assert caught.value.where == f"objective.targets; the store {store}"
    assert "--set 'objective.targets=[{column: axion_mass_ev}]'" in caught.value.advice
    one = {"kind": "regression", "targets": [{"column": "theta_E"}]}
    with pytest.raises(UnknownNameError, match="unknown column 'theta_E'") as caught:
        fit(experiment(objective=one), store, tmp_path / "run", quiet=True)
    assert "--set 'objective.targets=" in caught.value.advice


def test_one_class_alone_is_told_with_what_to_do(experiment: MakeExperiment, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images(30, 9, side=16))
    out = tmp_path / "o.zarr"
    import_data(tmp_path / "images.npy", out, quiet=True)
    with pytest.raises(DataError, match="1 class to tell apart") as caught:
        fit(experiment(), out, tmp_path / "run", quiet=True)
    assert str(out) in caught.value.where
    assert "import them again with labels (--labels" in caught.value.advice
    column = {"kind": "regression", "targets": [{"column": "z"}]}
    with pytest.raises(UnknownNameError, match="unknown column 'z'") as caught:
        fit(experiment(objective=column), out, tmp_path / "run", quiet=True)
    assert caught.value.expected == "a column to learn; the store has none"
    assert "--params" in caught.value.advice


def test_classes_that_imported_data_have_not_are_told(
    experiment: MakeExperiment, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="1 class to tell apart") as caught:
        fit(experiment(data={"classes": ["axion"]}), store, tmp_path / "run", quiet=True)
    assert "--set 'data.classes=[axion, no_sub]'" in caught.value.advice
    with pytest.raises(UnknownNameError, match="unknown class 'sphere'") as unknown:
        fit(experiment(data={"classes": ["sphere"]}), store, tmp_path / "run", quiet=True)
    assert str(store) in unknown.value.where
    assert "--set 'data.classes=[axion, no_sub]'" in unknown.value.advice
    anomaly = {"objective": {"kind": "anomaly"}, "model": {"name": "lensmill_autoencoder"}}
    with pytest.raises(DataError, match="without substructure") as caught:
        fit(experiment(**anomaly), store, tmp_path / "run", quiet=True)
    assert "--set 'objective.trained_on=[axion]'" in caught.value.advice
    # one class is enough to learn what is ordinary from
    anomaly["objective"] = {"kind": "anomaly", "trained_on": ["sphere"]}
    with pytest.raises(UnknownNameError) as unknown:
        fit(experiment(**anomaly), store, tmp_path / "run", quiet=True)
    assert unknown.value.where.startswith("objective.trained_on; ")
    assert "--set 'objective.trained_on=[axion]'" in unknown.value.advice
