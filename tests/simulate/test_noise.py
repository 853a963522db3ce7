"""Detector, sky and shot noise: its size, its law, and when there is none."""

from itertools import combinations
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.SimulationAPI.sim_api import SimAPI
from scipy import stats

from flows.catalogue import load_recipe
from schemas.instrument import Detector, DetectorNoise, ModelINoise, Noise, NoNoise, NoPSF
from schemas.priors import Fixed
from simulate.draw import draw
from simulate.kernels import noise as kernels
from simulate.noise import NOISES, PURPOSES, background_rms
from simulate.render import finish, noise_free, render
from simulate.streams import PARAMETERS

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
TIME = 2000.0
MODEL_I = ModelINoise(exposure_time_s=Fixed(value=TIME), background_rms=0.01)


def drawn_onto(
    images: np.ndarray,
    noise: Any,
    detector: Detector = DARK,
    seed: int = 3,
    ids: Any = None,
    times: Any = TIME,
    factor: float = 1.0,
) -> np.ndarray:
    """Images (rows, y, x) with noise, as doubles; samples 0, 1, ... unless told."""
    sample_id = np.arange(len(images)) if ids is None else np.array(ids)
    columns = {"exposure_time_s": np.full(len(images), times, dtype=float)}
    found = NOISES[noise.kind](images, noise, detector, columns, seed, sample_id, factor)
    assert found.dtype == np.float32
    return found.astype(float)


def noisy(rate: float, noise: Any, detector: Detector = DARK, seed: int = 3) -> np.ndarray:
    """Many pixels of one expected rate, electrons per second."""
    return drawn_onto(np.full((1, SIDE, SIDE), rate), noise, detector, seed)[0]


def assert_poisson(counts: np.ndarray, mean: float) -> None:
    """Every count that is expected ten times and more often, and both tails together."""
    law = stats.poisson(mean)
    low, high = int(law.ppf(10 / counts.size)), int(law.isf(10 / counts.size))
    found = np.bincount(np.clip(counts, low, high).astype(int).ravel() - low, minlength=high - low + 1)
    inner = law.pmf(np.arange(low + 1, high))
    expected = counts.size * np.concatenate([[law.cdf(low)], inner, [law.sf(high - 1)]])
    assert stats.chisquare(found, expected * (found.sum() / expected.sum())).pvalue > 1e-4


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


@pytest.mark.parametrize("expected", [0.02, 1.0, 5.0, 11.99, 12.01, 20.0, 49.9])
def test_faint_pixels_are_poisson(expected: float) -> None:
    counts = noisy(expected / 1000, DetectorNoise()) * 1000
    whole = np.rint(counts)
    np.testing.assert_allclose(counts, whole, atol=1e-3)
    assert_poisson(whole, expected)


@pytest.mark.parametrize("expected", [50.1, 60.0, 1e4])
def test_bright_pixels_are_gaussian(expected: float) -> None:
    counts = noisy(expected / 1000, DetectorNoise()) * 1000
    assert stats.kstest(counts.ravel(), stats.norm(expected, np.sqrt(expected)).cdf).pvalue > 1e-3


def test_the_background_is_gaussian_into_its_tails() -> None:
    images = np.zeros((16, SIDE, SIDE))
    noise = drawn_onto(images, DetectorNoise(), READING, ids=np.arange(100, 116))
    pull = noise.ravel() / background_rms(READING)
    assert stats.kstest(pull[::4], "norm").pvalue > 1e-3
    for sigma in (3.0, 4.0, 4.5):
        for sign in (1, -1):
            count, mean = int((sign * pull > sigma).sum()), pull.size * stats.norm.sf(sigma)
            assert stats.poisson.sf(count - 1, mean) > 1e-4
            assert stats.poisson.cdf(count, mean) > 1e-4


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.7, 11.999, 12.0, 12.001, 49.9, 500.0, 1e6, 1e12])
def test_counts_are_poisson(mean: float) -> None:
    """A million of them, from the kernel itself; a large count is a multiple of one at last."""
    size = 1 << 20
    counts, deviates, words = np.full(size, mean), np.empty(size, np.float32), np.empty(size, np.uint32)
    rng = np.random.default_rng(int(mean * 1000))
    deviates[:], words[:] = rng.standard_normal(size), rng.integers(0, 2**32, size, dtype=np.uint32)
    kernels.count(counts, deviates, words)
    assert (counts == np.rint(counts)).all()
    assert not np.signbit(counts).any()
    if mean < 1e-6:
        assert counts.sum() <= 5 * mean * size + 1
    elif mean < 1e5:
        assert_poisson(counts, mean)
    else:
        assert_mean_and_variance(counts, mean, mean)
        assert stats.kstest((counts - mean) / np.sqrt(mean), "norm").pvalue > 1e-3


@pytest.mark.parametrize("mean", [1e-3, 3.0, 11.9, 12.1, 49.0])
def test_counts_at_the_ends_of_their_words_and_deviates(mean: float) -> None:
    counts = np.full(4, mean)
    words = np.array([0, 2**32 - 1, 0, 2**32 - 1], dtype=np.uint32)
    kernels.count(counts, np.array([-6.8, 6.8, -6.8, 6.8], dtype=np.float32), words)
    law, part = stats.poisson(mean), (0.5 / 2**32 if mean < 12 else stats.norm.sf(6.8))
    np.testing.assert_allclose(counts, [law.ppf(part), law.isf(part)] * 2, atol=2 if mean > 12 else 0)


def test_faint_and_bright_pixels_of_one_image_keep_their_places() -> None:
    image = np.zeros((1, SIDE, SIDE))
    image[:, :, ::2] = 10.0
    values = drawn_onto(image, DetectorNoise())[0]
    assert_mean_and_variance(values[:, ::2], 10.0, 10.0 / 1000)
    assert np.abs(values[:, 1::2]).max() < 1e-4


def test_noise_draws_leave_the_model_untouched() -> None:
    for noise in (NoNoise(), DetectorNoise(), MODEL_I):
        images = np.full((2, 8, 8), 1.0)
        drawn_onto(images, noise, READING)
        assert (images == 1.0).all()


def test_a_negative_pixel_has_no_shot_noise() -> None:
    """A kernel's Fourier transform leaves some, of the order of rounding."""
    values = drawn_onto(np.full((1, SIDE, SIDE), -0.5), DetectorNoise(), READING)
    assert_mean_and_variance(values, -0.5, background_rms(READING) ** 2)


@pytest.mark.parametrize("noise", [NoNoise(), DetectorNoise(), MODEL_I], ids=lambda noise: noise.kind)
def test_the_factor_multiplies_the_finished_image(noise: Any) -> None:
    images = np.random.default_rng(0).uniform(0, 0.2, (3, 9, 9))
    once, twice = (drawn_onto(images, noise, READING, factor=factor) for factor in (1.0, 2.0))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6, atol=1e-7)


def test_model_i_noise_has_its_shot_noise_twice() -> None:
    rate = 3.0
    counts = noisy(rate, MODEL_I)
    assert_mean_and_variance(counts, TIME * rate, 2 * TIME * rate + (TIME * 0.01) ** 2)
    law = stats.norm(TIME * rate, np.sqrt(2 * TIME * rate + (TIME * 0.01) ** 2))
    spread = counts.ravel() + np.random.default_rng(0).uniform(-0.5, 0.5, counts.size)
    assert stats.kstest(spread, law.cdf).pvalue > 1e-3


def test_model_i_noise_clips_the_sky_at_zero() -> None:
    sigma = TIME * 0.01
    clipped_mean = sigma / np.sqrt(2 * np.pi)
    clipped_variance = sigma**2 / 2 - clipped_mean**2
    assert_mean_and_variance(noisy(0.0, MODEL_I), clipped_mean, clipped_variance + clipped_mean)


@pytest.mark.parametrize("rate", [0.0, 0.01, 3.0])
def test_model_i_images_are_counts(rate: float) -> None:
    counts = noisy(rate, MODEL_I)
    assert (counts >= 0).all()
    assert (counts == np.rint(counts)).all()
    assert counts.max() > 0


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


NOISY = (DetectorNoise(), MODEL_I)
# faint, medium and bright pixels, an odd number of them
MIXED = np.random.default_rng(5).uniform(-0.001, 0.1, (7, 13, 13)) ** 2 * 8


@given(rows=st.lists(st.integers(0, 6), min_size=1, max_size=9))
@settings(max_examples=20, deadline=None, derandomize=True)
@pytest.mark.parametrize("noise", NOISY, ids=lambda noise: noise.kind)
def test_noise_depends_on_seed_and_sample_alone(noise: Any, rows: list[int]) -> None:
    ids, times = np.array([0, 5, 2**31, 2**32, 2**32 + 5, 10**12, 32 * 10**12]), 1000.0 + np.arange(7)
    whole = drawn_onto(MIXED, noise, READING, ids=ids, times=times)
    part = drawn_onto(MIXED[rows], noise, READING, ids=ids[rows], times=times[rows])
    assert part.tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("noise", NOISY, ids=lambda noise: noise.kind)
def test_what_a_pixel_draws_does_not_depend_on_other_pixels(noise: Any) -> None:
    images = np.full((2, 20, 20), 0.01)
    images[1, ::2] = 5.0
    faint, mixed = drawn_onto(images, noise, READING, ids=[4, 4])
    assert (faint[1::2] == mixed[1::2]).all()
    assert (faint[::2] != mixed[::2]).any()


def assert_uncorrelated(a: np.ndarray, b: np.ndarray) -> None:
    """Themselves and their squares, within five standard errors."""
    for power in (1, 2):
        one, other = (np.ravel(values - values.mean()) ** power for values in (a, b))
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(one.size)


# background alone, Poisson below and above 12, Gaussian, and Model I: all the ways in which noise is made
WAYS = [
    pytest.param(DetectorNoise(), READING, 0.0, id="background"),
    pytest.param(DetectorNoise(), DARK, 0.005, id="summed"),
    pytest.param(DetectorNoise(), DARK, 0.03, id="expanded"),
    pytest.param(DetectorNoise(), READING, 0.03, id="faint"),
    pytest.param(DetectorNoise(), READING, 3.0, id="bright"),
    pytest.param(MODEL_I, DARK, 0.05, id="model_i"),
    pytest.param(MODEL_I, DARK, 0.001, id="model_i clipped"),
]


@pytest.mark.parametrize(("noise", "detector", "rate"), WAYS)
def test_pixels_samples_and_seeds_are_independent(noise: Any, detector: Detector, rate: float) -> None:
    images = np.full((3, 400, 400), rate)
    one, next_one, far = drawn_onto(images, noise, detector, ids=[1, 2, 1 + 2**32])
    assert_uncorrelated(one[:, 1:], one[:, :-1])
    assert_uncorrelated(one[1:], one[:-1])
    assert_uncorrelated(one[1:, 1:], one[:-1, :-1])
    # a block of random words serves one pixel in each quarter of an image
    quarters = one.reshape(4, -1)
    for a, b in combinations(quarters, 2):
        assert_uncorrelated(a, b)
    assert_uncorrelated(one, next_one)
    assert_uncorrelated(one, far)
    for seed in (4, 3 + 2**32):
        assert_uncorrelated(one, drawn_onto(images[:1], noise, detector, seed=seed, ids=[1])[0])


def test_purposes_are_independent() -> None:
    """Two kinds of noise of one pixel would else conspire: their variances would not add up."""
    rates = np.full((1, 400, 400), 0.03)
    together = drawn_onto(rates, DetectorNoise(), READING)
    shot = drawn_onto(rates, DetectorNoise(), DARK) - 0.03
    background = drawn_onto(np.zeros_like(rates), DetectorNoise(), READING)
    assert_uncorrelated(shot, background)
    assert_uncorrelated(together - shot, shot)
    assert len(set(PURPOSES.tolist()) | {PARAMETERS}) == 5


def test_images_of_counts_have_no_negative_zero() -> None:
    counts = drawn_onto(np.zeros((1, 40, 40)), MODEL_I)
    assert (counts == 0).any()
    assert not np.signbit(counts).any()


def test_every_noise_of_the_schema_can_be_drawn_and_no_other() -> None:
    assert set(NOISES) == {kind.model_fields["kind"].default for kind in get_args(get_args(Noise)[0])}
