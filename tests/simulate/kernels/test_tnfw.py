"""Truncated NFW halos: the formula against 40 digits and lenstronomy, the table against the formula."""

from collections.abc import Callable
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from simulate.kernels import tnfw
from simulate.kernels.compiled import OPTIONS

Array = np.ndarray
X = np.geomspace(1e-3, 4e3, 4000)
# what the table promises, in parts of a halo's largest deflection
TABLE = 1e-6


def pull(x: Array, tau: float) -> Array:
    """The formula: deflection over x, in units of the halo's scale."""
    values = np.empty(len(x))
    tnfw.evaluate(np.asarray(x) ** 2, tau, values)
    return values


def exact_pull(x: float, tau: float) -> Any:
    """Baltz, Marshall & Oguri 2009, eqs. A28 and following, as it stands there."""
    x, t = mpmath.mpf(x), mpmath.mpf(tau)
    if x == 1:
        shape = mpmath.mpf(1)
    elif x < 1:
        shape = mpmath.acosh(1 / x) / mpmath.sqrt(1 - x**2)
    else:
        shape = mpmath.acos(1 / x) / mpmath.sqrt(x**2 - 1)
    root = mpmath.sqrt(t**2 + x**2)
    logarithm = mpmath.log(x / (t + root))
    mass = (t**2 + 1 + 2 * (x**2 - 1)) * shape + t * mpmath.pi + (t**2 - 1) * mpmath.log(t)
    mass += root * (-mpmath.pi + logarithm * (t**2 - 1) / t)
    return t**2 / (t**2 + 1) ** 2 * mass / x**2


@pytest.fixture(scope="module")
def tabulated() -> Callable[[Array, float], Array]:
    """`pull` by the table, with cubics for no more than the radii asked for."""

    @numba.njit(**OPTIONS)
    def one_row(
        x: Array,
        beta_x: Array,
        beta_y: Array,
        halos: Array,
        table: Array,
        cubics: Array,
        lowest: float,
        highest: float,
    ) -> None:
        tnfw.interpolate(table, halos[0, 4], lowest, highest, cubics, 0)
        tnfw.subtract_tabulated(x, 0.0, beta_x, beta_y, halos, 0, cubics, 0, tnfw.FLOOR2)

    def call(x: Array, tau: float) -> Array:
        beta_x, beta_y = np.zeros(len(x)), np.zeros(len(x))
        halos = np.array([[1.0, 1.0, tau, (tau / (tau**2 + 1)) ** 2, np.log(tau), 0.0, 0.0]])
        cubics = np.full((1, 4, tnfw.INTERVALS), np.nan)
        one_row(x, beta_x, beta_y, halos, tnfw.table(), cubics, x.min() ** 2, x.max() ** 2)
        assert not beta_y.any()
        return -beta_x / x

    return call


@pytest.mark.parametrize("tau", [0.05, 0.3, 1.0, 2.0, 7.5, 30.0, 400.0, 2400.0])
def test_the_formula(tau: float) -> None:
    """Digits are lost where large terms cancel, but not of the halo's largest deflection."""
    x = np.concatenate(
        [np.geomspace(1e-3, 1e4, 120), 1 + np.array([-1e-3, -1e-8, -1e-15, 0, 1e-15, 1e-8, 1e-3])]
    )
    with mpmath.workdps(40):
        exact = np.array([float(exact_pull(value, tau)) for value in x])
    error = np.abs(pull(x, tau) - exact) * x
    assert error.max() < 5e-11 * (exact * x).max()


def test_the_deflection_of_a_small_halo_far_out_is_that_of_a_point() -> None:
    """Of the whole mass, tau^2 / (tau^2 + 1)^2 ((tau^2 - 1) ln tau + tau pi - tau^2 - 1)."""
    tau, x = 0.5, np.array([1e2, 1e3])
    mass = tau**2 / (tau**2 + 1) ** 2 * ((tau**2 - 1) * np.log(tau) + tau * np.pi - tau**2 - 1)
    np.testing.assert_allclose(pull(x, tau) * x**2, mass, rtol=1e-2)
    np.testing.assert_allclose(pull(x, tau)[1] * x[1] ** 2, mass, rtol=1e-5)


@pytest.mark.parametrize("tau", [0.3, 1.0, 3.0, 20.0, 400.0])
def test_the_formula_is_lenstronomys(tau: float) -> None:
    """lenstronomy loses digits towards its floor, x = 0.001: some 1e-7 there. Ours lose 1e-11."""
    x = np.geomspace(1e-3, 1e3, 400) * (1 + 1e-9)
    halo = {"Rs": 1.0, "alpha_Rs": 1 - np.log(2), "r_trunc": tau, "center_x": 0.0, "center_y": 0.0}
    theirs = LensModel(["TNFW"]).alpha(x, np.zeros_like(x), [halo])[0] / x
    error = np.abs(pull(x, tau) - theirs) * x / (theirs * x).max()
    assert error.max() < 5e-7
    assert error[x > 0.1].max() < 1e-12


@pytest.mark.parametrize("part", range(4))
def test_the_table_holds_the_formula(tabulated: Any, part: int) -> None:
    rng = np.random.default_rng(part)
    ends = [tnfw.LOWEST_TAU, tnfw.HIGHEST_TAU]
    taus = np.concatenate([ends, np.exp(rng.uniform(*np.log(ends), 20))])
    for tau in taus:
        exact = pull(X, tau) * X
        error = np.abs(tabulated(X, tau) * X - exact)
        assert error.max() < TABLE * exact.max(), tau


def test_the_table_is_smooth_where_its_intervals_meet(tabulated: Any) -> None:
    """A step there would be seen as an edge in a source."""
    joints = 2.0 ** np.arange(-9, 11, 0.5)
    for tau in (0.7, 11.0):
        below, above = (tabulated(joints * (1 + side), tau) for side in (-1e-12, 1e-12))
        np.testing.assert_allclose(below, above, rtol=2e-6)


def test_only_the_asked_part_of_the_table_is_made() -> None:
    @numba.njit(**OPTIONS)
    def make(table: Array, cubics: Array) -> None:
        tnfw.interpolate(table, 1.0, 0.25, 4.0, cubics, 0)

    cubics = np.full((1, 4, tnfw.INTERVALS), np.nan)
    make(tnfw.table(), cubics)
    made = np.flatnonzero(np.isfinite(cubics[0, 0]))
    per_power = 2**tnfw.SPLIT
    assert made[0] == (-2 - tnfw.LOWEST_EXPONENT) * per_power
    assert made[-1] == (2 - tnfw.LOWEST_EXPONENT) * per_power
    assert np.isfinite(cubics[0][:, made]).all()


@pytest.mark.parametrize(
    ("tau", "farthest", "held"),
    [
        (1.0, 1.0, True),
        (tnfw.LOWEST_TAU, 1.0, True),
        (tnfw.HIGHEST_TAU, 1.0, True),
        (0.049, 1.0, False),
        (2500.0, 1.0, False),
        (1.0, tnfw.HIGHEST_X2 * 0.999, True),
        (1.0, tnfw.HIGHEST_X2, False),
    ],
)
def test_what_the_table_does_not_hold_is_known(tau: float, farthest: float, held: bool) -> None:
    assert tnfw.in_table(tau, farthest) == held
