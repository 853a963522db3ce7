"""Our own elementary functions against 40 digits."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from simulate.kernels import elementary
from simulate.kernels.elementary import TAN_PI_8

Array = np.ndarray
MOST_ULP = 2.5
# the sum and the difference of two numbers were rounded before
MOST_ULP_OF_ARTANH = 5.0
SMALLEST = float(np.finfo(float).tiny)
LARGEST = float(np.finfo(float).max)
RNG = np.random.default_rng(0)


def ulps(found: Array, exact: list[Any]) -> Array:
    """Errors in units of the last place of the exact result."""
    units = np.spacing(np.abs(np.array([float(value) for value in exact])))
    return np.array([abs(float(mpmath.mpf(f) - e)) for f, e in zip(found, exact, strict=True)]) / units


def assert_exact(
    found: Array, function: Callable[..., Any], *arguments: Array, most: float = MOST_ULP
) -> None:
    """All within so many units in the last place."""
    with mpmath.workdps(40):
        exact = [function(*map(mpmath.mpf, numbers)) for numbers in zip(*arguments, strict=True)]
        errors = ulps(found, exact)
    worst = int(errors.argmax())
    assert errors[worst] <= most, [float(argument[worst]) for argument in arguments]


def neighbours(values: Any) -> Array:
    """Numbers, and those on both sides of each."""
    values = np.asarray(values, dtype=float)
    return np.concatenate([values, np.nextafter(values, -np.inf), np.nextafter(values, np.inf)])


def both_signs(values: Any) -> Array:
    return np.concatenate([values, -np.asarray(values)])


def powers(low: float, high: float, count: int) -> Array:
    """Numbers between powers of ten, as many small as large."""
    return 10.0 ** RNG.uniform(low, high, count)


@pytest.fixture(scope="module")
def exp(over: Any) -> Any:
    return over(elementary.exp, 1)


@pytest.fixture(scope="module")
def arctan_of_ratio(over: Any) -> Any:
    return over(elementary.arctan_of_ratio, 2)


@pytest.fixture(scope="module")
def half_log_of_ratio(over: Any) -> Any:
    return over(elementary.half_log_of_ratio, 3)


def test_exp(exp: Any) -> None:
    halves = (np.arange(-1020, 1022) + 0.5) * np.log(2)
    x = np.concatenate(
        [
            RNG.uniform(-708, 709, 1000),
            both_signs(powers(-320, 2.8, 500)),
            neighbours(halves[::20]),
            [0.0, -0.0, -708.0, np.nextafter(-708, 0), 709.0, np.nextafter(709, 0), 1.0, -1.0],
        ]
    )
    assert_exact(exp(x), mpmath.exp, x)


def test_exp_stops_at_its_ends(exp: Any) -> None:
    least, most = exp([-708.0, 709.0])
    assert (exp([-708.1, -1e5, -1e300, -np.inf]) == least).all()
    assert (exp([709.1, 1e5, 1e300, np.inf]) == most).all()
    assert 0 < least < 4e-308
    assert 8e307 < most < np.inf


def test_log(over: Any) -> None:
    exponents = np.arange(-1021, 1024, 40)
    x = np.concatenate(
        [
            powers(-307, 308, 1000),
            RNG.uniform(0.5, 2, 500),
            1 + both_signs(powers(-15.9, -0.4, 500)),
            neighbours(2.0**exponents),
            neighbours(np.sqrt(0.5) * 2.0**exponents),
            [SMALLEST, np.nextafter(SMALLEST, 1), LARGEST, np.nextafter(LARGEST, 1), 1.0, np.e],
        ]
    )
    assert_exact(over(elementary.log, 1)(x), mpmath.log, x)


def test_arctan_of_ratio(arctan_of_ratio: Any) -> None:
    bounds = neighbours([TAN_PI_8, 1 / TAN_PI_8, 1.0])
    x = np.concatenate([powers(-140, 140, 1000), powers(-3, 3, 1000), np.ones(2 * bounds.size)])
    y = np.concatenate(
        [
            both_signs(powers(-140, 140, 500)),
            both_signs(powers(-3, 3, 500)),
            both_signs(bounds),
        ]
    )
    assert_exact(arctan_of_ratio(y, x), lambda a, b: mpmath.atan(a / b), y, x)


def test_arctan_of_ratio_at_its_ends(arctan_of_ratio: Any) -> None:
    assert arctan_of_ratio([0.0, -0.0, 0.0], [1.0, 1e-300, 1e300]).tolist() == [0.0] * 3
    steep = arctan_of_ratio([1e300, -1e300, 1.0, -1.0], [1e-300, 1e-300, 1e-50, 1e-50])
    assert steep.tolist() == [np.pi / 2, -np.pi / 2, np.pi / 2, -np.pi / 2]
    assert arctan_of_ratio([1.0, -1.0], [1.0, 1.0]).tolist() == [np.pi / 4, -np.pi / 4]


def test_half_log_of_ratio(half_log_of_ratio: Any) -> None:
    minus = np.concatenate([powers(-150, 150, 1000), powers(-3, 3, 1000), np.ones(200)])
    ratio = np.concatenate(
        [powers(-150, 150, 1000), powers(-3, 3, 1000), 1 + both_signs(powers(-15.9, -0.2, 100))]
    )
    plus = minus * ratio

    def exact(p: Any, m: Any) -> Any:
        return mpmath.log(p / m) / 2

    assert_exact(half_log_of_ratio(plus, minus, plus - minus), exact, plus, minus)


def test_half_log_of_ratio_at_powers_of_two(half_log_of_ratio: Any) -> None:
    """Where the power that is taken out changes, halfway between two of them."""
    plus = np.concatenate(
        [neighbours(2.0 ** np.arange(-1000, 1000, 37)), neighbours(1.5 * 2.0 ** np.arange(-9, 9))]
    )
    minus = np.ones(plus.size)
    assert_exact(
        half_log_of_ratio(plus, minus, plus - minus), lambda p, m: mpmath.log(p / m) / 2, plus, minus
    )


def test_half_log_of_ratio_is_artanh_of_the_smallest_numbers(half_log_of_ratio: Any) -> None:
    """Sum and difference have lost y, but the third argument knows it."""
    x, y = powers(-3, 3, 600), both_signs(powers(-300, 0, 300))
    y *= np.minimum(x, 1.0) * 0.999
    found = half_log_of_ratio(x + y, x - y, 2 * y)
    assert_exact(found, lambda a, b: mpmath.atanh(a / b), y, x, most=MOST_ULP_OF_ARTANH)


def test_equal_numbers_have_no_logarithm(half_log_of_ratio: Any) -> None:
    assert half_log_of_ratio([1e-200, 1.0, 3e200], [1e-200, 1.0, 3e200], [0.0] * 3).tolist() == [0.0] * 3
