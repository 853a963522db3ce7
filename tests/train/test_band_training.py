"""Training, evaluation and prediction on images in several bands."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe
from storage.reader import open_store
from train.evaluate import evaluate
from train.fit import fit
from train.predict import predict

BANDS = ("bands=[g, r, i]", "source.magnitude={g: 22, r: 20, i: 19}")


@pytest.fixture(scope="module")
def coloured(another_store: Callable[..., Path]) -> Path:
    return another_store("seed=501", *BANDS)


@pytest.fixture(scope="module", params=["lensmill_stem_vit", "resnet18"])
def run(
    request: pytest.FixtureRequest,
    experiment: Callable[..., ExperimentRecipe],
    coloured: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "coloured"
    record = fit(experiment(model={"name": request.param}), coloured, out, quiet=True)
    assert record.data.image_shape == (3, 16, 16)
    assert record.data.bands == ("g", "r", "i")
    return out


def test_a_run_is_evaluated_and_predicts(run: Path, coloured: Path, tmp_path: Path) -> None:
    (warning,) = evaluate(run, coloured).warnings
    assert "not calibrated" in warning
    np.save(tmp_path / "images.npy", open_store(coloured).read("test", "image"))
    from_store, from_file = predict(run, [coloured]), predict(run, [tmp_path / "images.npy"])
    assert from_store["predicted"].to_pylist() == from_file["predicted"].to_pylist()


def test_images_of_one_band_are_refused(run: Path, sound_store: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((3, 16, 16), np.float32))
    with pytest.raises(DataError) as caught:
        predict(run, [tmp_path / "image.npy"])
    for words in ("1 x 16 x 16 (channels, y, x)", "3 x 16 x 16", "(images, channels, y, x)", "g, r, i"):
        assert words in str(caught.value)


def test_other_bands_are_warned_of(run: Path, another_store: Callable[..., Path]) -> None:
    other = another_store("seed=502", "bands=[J, H, K]")
    warning, uncalibrated = evaluate(run, other).warnings
    assert "not calibrated" in uncalibrated
    assert warning == "bands are J, H, K here and were g, r, i in training"
