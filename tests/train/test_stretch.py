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
from schemas.preparation import AsinhStretch, LogStretch, MaximumStretch, NoStretch
from schemas.run import FittedLog, FittedMaximum, FittedNone, FittedStretch, RunRecord
from storage.reader import Store
from storage.reading.resident import Resident
from storage.reading.selection import Selected
from train import stretch
from train.fit import fit
from train.records.run_folder import read_record
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


# -- the other stretches

OTHERS = {"log": LogStretch(), "max": MaximumStretch(), "none": NoStretch()}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_others_have_zero_mean_and_unit_spread_too(images: Images, kind: str) -> None:
    fitted = fit_stretch(OTHERS[kind], images)
    assert fitted.kind == kind
    stretched = Stretch(fitted)(torch.from_numpy(images)).double()
    assert float(stretched.mean()) == pytest.approx(0, abs=1e-5)
    assert float(stretched.std()) == pytest.approx(1, abs=1e-4)


def test_they_are_what_they_say(images: Images) -> None:
    x, pixels = images.astype(np.float64), torch.from_numpy(images)
    largest = np.abs(x).max(axis=(1, 2, 3), keepdims=True)
    expected = {
        FittedLog(softening=2.0, mean=0.5, spread=3.0): np.sign(x) * np.log1p(np.abs(x) / 2),
        FittedMaximum(mean=0.5, spread=3.0): x / largest,
        FittedNone(mean=0.5, spread=3.0): x,
    }
    for fitted, bent in expected.items():
        assert np.allclose(Stretch(fitted)(pixels), (bent - 0.5) / 3, atol=1e-5), fitted.kind


def test_the_logarithm_keeps_what_is_below_zero() -> None:
    layer = Stretch(FittedLog(softening=1.0, mean=0.0, spread=1.0))
    flux = torch.linspace(-50, 50, 1001)
    assert (torch.diff(layer(flux)) > 0).all()
    assert torch.allclose(layer(-flux), -layer(flux))


def test_the_maximum_is_of_each_image_and_of_all_its_channels() -> None:
    image = torch.rand(3, 2, 8, 8) + 0.1
    layer = Stretch(FittedMaximum(mean=0.0, spread=1.0))
    assert torch.allclose(layer(image * torch.tensor([1.0, 7.0, 1e-3])[:, None, None, None]), layer(image))
    colours = layer(image)[:, 0].sum() / layer(image)[:, 1].sum()
    assert float(colours) != pytest.approx(1, abs=1e-6)
    assert torch.equal(layer(torch.zeros(1, 2, 8, 8)), torch.zeros(1, 2, 8, 8))


def test_the_logarithm_takes_its_softening_from_the_noise() -> None:
    sky = np.random.default_rng(1).normal(scale=0.5, size=(50, 1, 32, 32)).astype(np.float32)
    assert fit_stretch(LogStretch(), sky).softening == pytest.approx(1.0, rel=0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["asinh", *OTHERS])
def test_a_stretch_comes_back_from_its_run_bit_by_bit(
    experiment: Callable[..., Any], sound_store: Order, images: Images, tmp_path: Path, kind: str
) -> None:
    asked = experiment(stretch={"kind": kind}, training={"epochs": 1})
    record = fit(asked, sound_store.root, tmp_path / "run", quiet=True)
    again = RunRecord.model_validate_json((tmp_path / "run" / "run.json").read_bytes())
    assert again.stretch == record.stretch == fit_stretch(asked.stretch, images)
    pixels = torch.from_numpy(images)
    assert torch.equal(Stretch(again.stretch)(pixels), Stretch(record.stretch)(pixels))


@pytest.mark.parametrize("kind", ["asinh", *OTHERS])
def test_other_splits_do_not_matter(
    experiment: Callable[..., Any],
    sound_store: Order,
    sound: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    asked = experiment(stretch={"kind": kind}, training={"epochs": 1})
    one = fit(asked, sound_store.root, tmp_path / "one", quiet=True)
    real = Resident.__init__

    def brighter(self: Resident, store: Store, selected: Selected, *rest: Any) -> None:
        real(self, store, selected, *rest)
        if "image" in self.arrays and selected.selection.split != "train":
            self.arrays["image"][:] += 100

    monkeypatch.setattr(Resident, "__init__", brighter)
    other = fit(asked, sound_store.root, tmp_path / "other", quiet=True)
    assert other.stretch == one.stretch
    assert other.val_loss != one.val_loss, "the trial does not reach the other splits"
