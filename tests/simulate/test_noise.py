"""Detector, sky and shot noise: its size, its law, and when there is none."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.SimulationAPI.sim_api import SimAPI
from scipy import stats

from flows.catalogue import load_recipe
from schemas.instrument import Detector, DetectorNoise, ModelINoise, Noise, NoPSF
from schemas.priors import Fixed
from simulate.draw import draw
from simulate.noise import NOISES, background_rms
from simulate.render import finish, noise_free, render
from simulate.streams import NOISE, stream

SIDE = 300
PIXELS = SIDE**2
# no read noise and next to no sky: shot noise alone
DARK = Detector(
    num_pix=SIDE,
    pixel_scale_arcsec=0.1,
    psf=NoPSF(),
    exposure_time_s=250.0,
    num_exposures=4,
    sky_brightness_mag_arcsec2=60.0,
)
READING = DARK.model_copy(update={"read_noise_e": 4.0, "sky_brightness_mag_arcsec2": 22.0})
MODEL_I = ModelINoise(exposure_time_s=Fixed(value=2000.0), background_rms=0.01)


def noisy(rate: float, noise: Any, detector: Detector = DARK) -> np.ndarray:
    """Many pixels of one expected rate, electrons per second."""
    image = np.full((SIDE, SIDE), rate)
    columns = {"exposure_time_s": 2000.0}
    return NOISES[noise.kind](image, noise, detector, columns, stream(3, NOISE, 0))


def assert_mean_and_variance(values: np.ndarray, mean: float, variance: float) -> None:
    """Both within five standard errors."""
    fourth = float(((values - values.mean()) ** 4).mean())
    assert values.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / values.size))
    assert values.var() == pytest.approx(variance, abs=5 * np.sqrt((fourth - variance**2) / values.size))


@pytest.mark.parametrize(
    ("name", "rms"), [("model_ii", 0.010904381528349648), ("model_iii", 0.005919973387690838)]
)
def test_the_instruments_have_the_published_background(name: str, rms: float) -> None:
    assert background_rms(load_recipe(name).detector) == pytest.approx(rms, rel=1e-12)


@given(
    pixel_scale=st.floats(0.01, 1),
    time=st.floats(1, 1e4),
    exposures=st.integers(1, 100),
    read=st.floats(0, 20),
    sky=st.floats(15, 30),
    zero_point=st.floats(20, 30),
)
@settings(max_examples=60, deadline=None)
def test_the_background_agrees_with_lenstronomy(
    pixel_scale: float, time: float, exposures: int, read: float, sky: float, zero_point: float
) -> None:
    detector = Detector(
        pixel_scale_arcsec=pixel_scale,
        psf=NoPSF(),
        exposure_time_s=time,
        num_exposures=exposures,
        read_noise_e=read,
        sky_brightness_mag_arcsec2=sky,
        magnitude_zero_point=zero_point,
    )
    band = {
        "pixel_scale": pixel_scale,
        "exposure_time": time,
        "num_exposures": exposures,
        "read_noise": read,
        "sky_brightness": sky,
        "magnitude_zero_point": zero_point,
        "ccd_gain": 1.0,
        "seeing": 0.1,
        "psf_type": "NONE",
    }
    assert background_rms(detector) == pytest.approx(SimAPI(16, band, {}).background_noise, rel=1e-12)


@pytest.mark.parametrize("electrons", [0.3, 5.0, 40.0, 49.9, 50.1, 200.0, 1e5])
@pytest.mark.parametrize("detector", [DARK, READING], ids=["dark", "reading"])
def test_detector_noise_has_the_right_mean_and_variance(detector: Detector, electrons: float) -> None:
    time = detector.total_exposure_s
    values = noisy(electrons / time, DetectorNoise(), detector)
    variance = electrons / time**2 + background_rms(detector) ** 2
    assert_mean_and_variance(values, electrons / time, variance)


def test_a_dark_sky_leaves_the_background_alone() -> None:
    assert_mean_and_variance(noisy(0.0, DetectorNoise(), READING), 0.0, background_rms(READING) ** 2)


def test_faint_pixels_are_poisson() -> None:
    counts = noisy(5.0 / 1000, DetectorNoise()) * 1000
    whole = np.rint(counts)
    np.testing.assert_allclose(counts, whole, atol=1e-3)
    expected = stats.poisson(5.0).pmf(np.arange(15)) * PIXELS
    found = np.bincount(whole.astype(int).ravel(), minlength=15)[:15]
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-3


def test_bright_pixels_are_gaussian() -> None:
    counts = noisy(60.0 / 1000, DetectorNoise()) * 1000
    assert stats.kstest(counts.ravel(), stats.norm(60, np.sqrt(60)).cdf).pvalue > 1e-3


def test_faint_and_bright_pixels_of_one_image_keep_their_places() -> None:
    image = np.zeros((SIDE, SIDE))
    image[:, ::2] = 10.0
    values = NOISES["detector"](image, DetectorNoise(), DARK, {}, stream(3, NOISE, 0))
    assert_mean_and_variance(values[:, ::2], 10.0, 10.0 / 1000)
    assert np.abs(values[:, 1::2]).max() < 1e-4


def test_noise_draws_leave_the_model_untouched() -> None:
    image = np.full((8, 8), 1.0)
    NOISES["detector"](image, DetectorNoise(), READING, {}, stream(3, NOISE, 0))
    assert (image == 1.0).all()


def test_model_i_noise_has_its_shot_noise_twice() -> None:
    time, rate = 2000.0, 3.0
    counts = noisy(rate, MODEL_I)
    assert_mean_and_variance(counts, time * rate, 2 * time * rate + (time * 0.01) ** 2)


def test_model_i_noise_clips_the_sky_at_zero() -> None:
    sigma = 2000.0 * 0.01
    clipped_mean = sigma / np.sqrt(2 * np.pi)
    clipped_variance = sigma**2 / 2 - clipped_mean**2
    assert_mean_and_variance(noisy(0.0, MODEL_I), clipped_mean, clipped_variance + clipped_mean)


@pytest.mark.parametrize("rate", [0.0, 0.01, 3.0])
def test_model_i_images_are_counts(rate: float) -> None:
    counts = noisy(rate, MODEL_I)
    assert (counts >= 0).all()
    assert (counts == np.rint(counts)).all()


def noise_free_of(name: str) -> np.ndarray:
    recipe = load_recipe(name)
    return noise_free(recipe, draw(recipe, np.arange(9)))


def test_model_i_uses_the_exposure_time_of_each_sample() -> None:
    counts = render(load_recipe("model_i"), np.arange(9)).image[:, 0]
    model = noise_free_of("model_i")
    times = draw(load_recipe("model_i"), np.arange(9)).columns["exposure_time_s"]
    assert np.ptp(times) > 500
    for image, expected, time in zip(counts, model, times, strict=True):
        bright = expected > 0.3 * expected.max()
        assert image[bright].sum() / expected[bright].sum() == pytest.approx(time, rel=0.03)


@pytest.mark.parametrize("name", ["model_ii", "model_iii"])
def test_recipes_without_noise_store_twice_the_model(name: str) -> None:
    stored = render(load_recipe(name), np.arange(9)).image[:, 0]
    np.testing.assert_array_equal(stored, (2 * noise_free_of(name)).astype(np.float32))


def test_the_noisy_replica_is_the_undoubled_model_and_noise() -> None:
    recipe = load_recipe("model_ii_noisy")
    model = noise_free(recipe, draw(recipe, np.arange(9)))
    variance = background_rms(recipe.detector) ** 2 + model / recipe.detector.total_exposure_s
    pull = (render(recipe, np.arange(9)).image[:, 0] - model) / np.sqrt(variance)
    assert_mean_and_variance(pull, 0.0, 1.0)


def test_noise_is_its_own_in_each_sample(tiny: Any) -> None:
    drawn = draw(tiny, np.arange(4))
    flat = np.zeros((4, 32, 32))
    noise = finish(tiny, drawn, flat).reshape(4, -1)
    assert np.abs(np.corrcoef(noise) - np.eye(4)).max() < 0.15


def test_every_noise_of_the_schema_can_be_drawn_and_no_other() -> None:
    assert set(NOISES) == {kind.model_fields["kind"].default for kind in get_args(get_args(Noise)[0])}
