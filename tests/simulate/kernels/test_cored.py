"""Halos with cores: the formula against 40 digits and lenstronomy, cubics against the formula."""

from collections.abc import Callable
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from simulate.kernels import cored, tnfw
from simulate.kernels.compiled import OPTIONS
from simulate.masses import cored_mass, cored_mass_in_projection

Array = np.ndarray
# core and truncation over Rs: small, usual and large, each side of Rs and of one another
SHAPES = [(1e-6, 5.0), (0.01, 2.0), (0.3, 20.0), (0.5, 0.9), (0.5, 1.001), (0.4, 0.2), (2.0, 7.0), (0.7, 0.7)]
CUBICS = 1e-6


def pull(x: Array, core: float, tau: float) -> Array:
    """The formula: deflection over x, in units of 4 rho_0 Rs."""
    values = np.empty(len(x))
    cored.evaluate(np.asarray(x) ** 2, core, tau, values)
    return values


def exact_pull(x: float, core: float, tau: float) -> Any:
    """The projection of lenstronomy's density, integrated over the radius in closed form."""
    x, b, t = mpmath.mpf(x), mpmath.mpf(core), mpmath.mpf(tau)

    def part(radius: Any, end: Any) -> Any:
        if end == b:
            return mpmath.mpf(1)
        far, root = mpmath.sqrt(end**2 + radius**2), mpmath.sqrt(mpmath.mpc(end**2 - b**2))
        return (far / root * mpmath.atanh(root / far)).real

    inside = part(0, t) - part(x, t) + part(x, 1) - part(0, 1)
    return t**2 / (t**2 - 1) * inside / x**2


@pytest.fixture(scope="module")
def tabulated() -> Callable[[Array, float, float], Array]:
    """`pull` by cubics that are made for no more than the radii asked for."""

    @numba.njit(**OPTIONS)
    def one_row(x: Array, beta_x: Array, beta_y: Array, halos: Array, cubics: Array, ends: Array) -> None:
        cored.tabulate(halos, 0, ends[0], ends[1], cubics, 0)
        tnfw.subtract_tabulated(x, 0.0, beta_x, beta_y, halos, 0, cubics, 0, cored.FLOOR2)

    def call(x: Array, core: float, tau: float) -> Array:
        beta_x, beta_y = np.zeros(len(x)), np.zeros(len(x))
        factor = tau**2 / (tau**2 - 1)
        offset = cored_mass(np.array(core), np.array(tau)) / factor
        halos = np.array([[1.0, 1.0, core**2, tau**2, offset, 0.0, 0.0]])
        cubics = np.full((1, 4, tnfw.INTERVALS), np.nan)
        one_row(x, beta_x, beta_y, halos, cubics, np.array([x.min() ** 2, x.max() ** 2]))
        assert not beta_y.any()
        return -beta_x / x

    return call


@pytest.mark.parametrize(("core", "tau"), SHAPES)
def test_the_formula(core: float, tau: float) -> None:
    """Digits are lost where large terms cancel, but not of the halo's largest deflection."""
    x = np.geomspace(1e-4, 1e4, 120)
    with mpmath.workdps(40):
        exact = np.array([float(exact_pull(value, core, tau)) for value in x])
    error = np.abs(pull(x, core, tau) - exact) * x
    # t near 1 divides rounding by t^2 - 1
    allowed = 1e-10 if abs(tau - 1) > 0.05 else 1e-8
    assert error.max() < allowed * (exact * x).max()


@pytest.mark.parametrize(("core", "tau"), [(0.01, 2.0), (0.3, 20.0), (0.5, 0.9), (0.4, 0.2)])
def test_the_formula_is_lenstronomys(core: float, tau: float) -> None:
    x = np.geomspace(1e-3, 1e3, 400)
    norm = float(cored_mass_in_projection(1.0, np.array(core), np.array(tau)))
    halo = {"Rs": 1.0, "alpha_Rs": norm, "r_trunc": tau, "r_core": core, "center_x": 0.0, "center_y": 0.0}
    theirs = LensModel(["TNFWC"]).alpha(x, np.zeros_like(x), [halo])[0] / x
    error = np.abs(pull(x, core, tau) - theirs) * x / (theirs * x).max()
    assert error.max() < 1e-10
    assert error[x > 0.1].max() < 1e-11


@pytest.mark.parametrize(("core", "tau"), [shape for shape in SHAPES if shape[0] != shape[1]])
def test_cubics_hold_the_formula(tabulated: Any, core: float, tau: float) -> None:
    x = np.geomspace(1e-4, 4e3, 5000)
    exact = pull(x, core, tau) * x
    error = np.abs(tabulated(x, core, tau) * x - exact)
    assert error.max() < CUBICS * exact.max()


def test_cubics_are_smooth_where_their_intervals_meet(tabulated: Any) -> None:
    joints = 2.0 ** np.arange(-9, 11, 0.5)
    below, above = (tabulated(joints * (1 + side), 0.2, 6.0) for side in (-1e-12, 1e-12))
    np.testing.assert_allclose(below, above, rtol=1e-10)


def test_far_out_the_deflection_is_that_of_the_whole_mass() -> None:
    core, tau, x = 0.3, 0.8, np.array([3e3])
    mass = float(cored_mass(np.array(core), np.array(tau)))
    np.testing.assert_allclose(pull(x, core, tau) * x**2, mass, rtol=1e-3)
