"""The stretch: fitted on training images, zero mean and unit spread, monotone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from flows.generate import Order
from schemas.errors import DataError
from schemas.experiment import AsinhStretch
from schemas.run import FittedStretch
from storage.reader import Store
from train import stretch
from train.fit import fit
from train.run_folder import read_record
from train.stretch import Stretch, fit_stretch

Images = NDArray[np.float32]


@pytest.fixture(scope="module")
def images(sound: Store) -> Images:
    return np.asarray(sound.read("train", "image"), dtype=np.float32)


@pytest.mark.parametrize("softening", [None, 0.01, 7.0])
def test_stretched_pixels_have_zero_mean_and_unit_spread(images: Images, softening: float | None) -> None:
    fitted = fit_stretch(AsinhStretch(softening=softening), images)
    stretched = Stretch(fitted)(torch.from_numpy(images)).double()
    assert float(stretched.mean()) == pytest.approx(0, abs=1e-5)
    assert float(stretched.std()) == pytest.approx(1, abs=1e-4)
    if softening is not None:
        assert fitted.softening == softening


def test_it_is_asinh(images: Images) -> None:
    fitted = FittedStretch(softening=2.0, mean=0.5, spread=3.0)
    expected = (np.arcsinh(images.astype(np.float64) / 2) - 0.5) / 3
    assert np.allclose(Stretch(fitted)(torch.from_numpy(images)), expected, atol=1e-6)


def test_it_is_monotone_and_keeps_no_parameters(images: Images) -> None:
    layer = Stretch(fit_stretch(AsinhStretch(), images))
    flux = torch.linspace(float(images.min()) - 1, 10 * float(images.max()), 1001)
    assert (torch.diff(layer(flux)) > 0).all()
    assert not list(layer.parameters())
    assert not layer.state_dict()


def test_the_softening_follows_the_noise_of_the_sky() -> None:
    rng = np.random.default_rng(1)
    sky = rng.normal(scale=0.5, size=(50, 1, 32, 32)).astype(np.float32)
    assert fit_stretch(AsinhStretch(), sky).softening == pytest.approx(1.0, rel=0.1)
    bright = np.where(np.hypot(*np.mgrid[-16:16, -16:16]) < 8, sky + 5000, sky).astype(np.float32)
    assert fit_stretch(AsinhStretch(), bright).softening == pytest.approx(
        stretch.SOFTENING_OF_PEAK * 5000, rel=0.1
    )


def test_units_of_the_images_do_not_matter(images: Images) -> None:
    one, other = (fit_stretch(AsinhStretch(), factor * images) for factor in (1, 1024))
    assert other.softening == pytest.approx(1024 * one.softening)
    assert (other.mean, other.spread) == pytest.approx((one.mean, one.spread))


def test_empty_images_are_refused() -> None:
    with pytest.raises(DataError, match="same constant"):
        fit_stretch(AsinhStretch(), np.zeros((4, 1, 16, 16), np.float32))


@pytest.mark.parametrize("value", [1.0, 0.1, 123.456])
def test_constant_images_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="same constant"):
        fit_stretch(AsinhStretch(), np.full((7, 1, 15, 15), value, np.float32))


def test_it_is_fitted_on_the_training_images_alone(
    experiment: Callable[..., Any],
    sound_store: Order,
    sound: Store,
    images: Images,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def spied(options: AsinhStretch, found: Images) -> FittedStretch:
        seen.append(found)
        return fit_stretch(options, found)

    monkeypatch.setattr("train.fit.fit_stretch", spied)
    record = fit(
        experiment(training={"epochs": 1}, data={"max_per_class": 3}),
        sound_store.root,
        tmp_path / "run",
        quiet=True,
    )
    label = sound.read("train", "label")
    first = np.sort(np.concatenate([np.flatnonzero(label == one)[:3] for one in range(3)]))
    assert np.array_equal(seen[0], images[first])
    assert record.stretch == fit_stretch(AsinhStretch(), images[first])
    assert read_record(tmp_path / "run").stretch == record.stretch


def test_a_given_softening_is_kept_with_the_run(
    experiment: Callable[..., Any], sound_store: Order, tmp_path: Path
) -> None:
    one_epoch = experiment(stretch={"kind": "asinh", "softening": 0.125}, training={"epochs": 1})
    assert fit(one_epoch, sound_store.root, tmp_path / "run", quiet=True).stretch.softening == 0.125
