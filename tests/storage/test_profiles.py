"""Codes of 16 bits: what comes back is within the stated bound, whatever the values."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from schemas.errors import ColumnError
from storage import profiles
from storage.profiles import MOST_CODE, NOTHING, decode, errors, quantise
from storage.upkeep.loss import noise_levels

FLOAT = np.finfo(np.float32)
# a range that float32 can hold, so that codes times the scale do not overflow
LARGEST = float(np.float32(FLOAT.max / 2.5))
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 5), st.integers(1, 5))


def _images(bound: float) -> st.SearchStrategy[np.ndarray]:
    numbers = st.floats(-bound, bound, width=32, allow_subnormal=True)
    return SHAPES.flatmap(lambda shape: arrays_of.arrays(np.float32, shape, elements=numbers))


def _exact_bound(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """As the documents state it, in float64 and without the module's constants."""
    largest = np.abs(values.astype(np.float64)).max(axis=(2, 3))
    return np.asarray(scale.astype(np.float64) / 2 + 8 * 2.0**-24 * largest + 2.0**-149)


def _check(values: np.ndarray) -> None:
    codes, scales, error = quantise(values)
    assert codes.dtype == np.uint16
    assert scales.shape == (*values.shape[:2], 2)
    assert codes.max() <= MOST_CODE
    back = decode(codes, scales)
    assert back.dtype == np.float32
    off = np.abs(back.astype(np.float64) - values)
    assert (off <= _exact_bound(values, scales[..., 0])[..., None, None]).all()
    # float32 subtracts: the recorded error is the true one to rounding
    assert error.worst == pytest.approx(off.max(), rel=1e-6, abs=1e-44)
    assert error.worst <= error.bound
    by_image, allowed = errors(values, codes, scales)
    assert (by_image <= allowed).all()
    lowest = values.min(axis=(2, 3))
    assert np.array_equal(back.min(axis=(2, 3)), lowest), "the lowest value is exact"


@settings(max_examples=150, deadline=None)
@given(_images(LARGEST))
@example(np.array([[[[-1.0, 1.0]]]], np.float32) * np.float32(LARGEST))
@example(np.array([[[[0.0, FLOAT.smallest_subnormal]]]], np.float32))
@example(np.array([[[[0.0, FLOAT.smallest_subnormal * 70000, FLOAT.smallest_subnormal * 3]]]], np.float32))
@example(np.array([[[[FLOAT.tiny, -FLOAT.tiny, 0.0]]]], np.float32))
def test_any_numbers_come_back_within_the_bound(values: np.ndarray) -> None:
    _check(values)


@settings(max_examples=100, deadline=None)
@given(_images(1.0), st.floats(-(2.0**100), 2.0**100, width=32), st.floats(2.0**-100, 1.0, width=32))
def test_a_small_range_on_a_big_offset(values: np.ndarray, offset: float, size: float) -> None:
    _check((values * np.float32(size) + np.float32(offset)).astype(np.float32))


@settings(max_examples=50, deadline=None)
@given(SHAPES, st.floats(-LARGEST, LARGEST, width=32))
@example((1, 1, 2, 2), 0.0)
@example((1, 1, 2, 2), -0.0)
def test_images_of_one_value_are_exact(shape: tuple[int, ...], value: float) -> None:
    codes, scales, error = quantise(np.full(shape, value, np.float32))
    assert not codes.any()
    assert (decode(codes, scales) == np.float32(value)).all()
    assert error.worst == 0


def test_the_extremes_are_met() -> None:
    values = np.random.default_rng(0).normal(10, 3, (40, 2, 16, 16)).astype(np.float32)
    codes, scales, _ = quantise(values)
    assert (codes.min(axis=(2, 3)) == 0).all()
    assert (codes.max(axis=(2, 3)) == MOST_CODE).all()
    back = decode(codes, scales)
    assert np.array_equal(back.min(axis=(2, 3)), values.min(axis=(2, 3)))
    np.testing.assert_allclose(back.max(axis=(2, 3)), values.max(axis=(2, 3)), rtol=2e-7)


def test_codes_do_not_depend_on_what_stands_beside() -> None:
    values = np.random.default_rng(1).normal(size=(50, 1, 32, 32)).astype(np.float32)
    values[7] *= 1e4
    whole, scales, _ = quantise(values)
    for some in (slice(0, 1), slice(7, 8), slice(3, 40)):
        codes, own, _ = quantise(values[some])
        assert np.array_equal(codes, whole[some])
        assert np.array_equal(own, scales[some])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    values = np.ones((4, 1, 3, 3), np.float32)
    values[2, 0, 1, 1] = value
    with pytest.raises(ColumnError, match="image 2 cannot be quantised") as caught:
        quantise(values)
    assert "float32" in caught.value.advice


def test_a_range_beyond_float32_is_refused() -> None:
    values = np.array([[[[FLOAT.min, FLOAT.max]]]], np.float32)
    with pytest.raises(ColumnError, match="cannot be quantised"):
        quantise(values)


def test_an_encoder_that_errs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_scales", lambda low, high: (high - low) / np.float32(80_000))
    with pytest.raises(ColumnError, match="off by"):
        quantise(np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32) * 3 + 70_000)


def test_what_was_never_stored_reads_as_nan() -> None:
    codes, scales, _ = quantise(np.random.default_rng(0).normal(size=(3, 1, 4, 4)).astype(np.float32))
    codes[1, 0, 2, 2] = NOTHING
    back = decode(codes, scales)
    assert np.flatnonzero(np.isnan(back)).tolist() == [16 + 10]


@pytest.mark.parametrize("sigma", [0.01, 3.0])
def test_the_noise_is_found_beside_a_bright_object(sigma: float) -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[-32:32, -32:32]
    galaxy = 1e3 * sigma * np.exp(-np.hypot(x, y) / 2)
    images = (galaxy + rng.normal(0, sigma, (8, 1, 64, 64))).astype(np.float32)
    np.testing.assert_allclose(noise_levels(images), sigma, rtol=0.15)
    assert not noise_levels(np.ones((1, 1, 8, 8), np.float32)).any()
