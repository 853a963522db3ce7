"""Deflections of one profile at a time, measured in images: against lenstronomy, and sums point by point.

A source that is wider than the field shows by its brightness how far a ray ends from the source's centre, to
some 1e-14 arcsec. Two such sources, far to the left and far below, show both coordinates.
"""

from typing import Any

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from schemas.instrument import Detector, NoPSF
from simulate.batch import Deflectors, LensBatch, Light
from simulate.engines import ENGINES
from simulate.engines.line import line_deflection, split_lines

Array = np.ndarray
SIDE = 64
DETECTOR = Detector(num_pix=SIDE, pixel_scale_arcsec=0.0641, psf=NoPSF())
COLUMNS = (np.arange(SIDE) - (SIDE - 1) / 2) * DETECTOR.pixel_scale_arcsec
X, Y = np.meshgrid(COLUMNS, COLUMNS)
# of the sources: as far away as they are large
FAR_ARCSEC = 20.0
STEEPNESS = 1.9992 - 0.3271
# a source is black beyond e^-300
FARTHEST_ARCSEC = FAR_ARCSEC * 300 / STEEPNESS
NAMES = ("theta_E", "center_x", "center_y")


def distances(*groups: Deflectors, engine: str = "fused", detector: Detector = DETECTOR) -> Array:
    """How far rays end from both sources' centres: (2, rows, columns)."""
    found = []
    for center in ((-FAR_ARCSEC, 0.0), (0.0, -FAR_ARCSEC)):
        numbers = {"amp": 1.0, "R_sersic": FAR_ARCSEC, "n_sersic": 1.0, "e1": 0.0, "e2": 0.0}
        numbers |= dict(zip(("center_x", "center_y"), center, strict=True))
        source = Light("SERSIC_ELLIPSE", np.array([0]), {name: np.array([v]) for name, v in numbers.items()})
        image = ENGINES[engine](LensBatch(1, groups, (source,)), detector)[0]
        found.append(FAR_ARCSEC * (1 - np.log(image / detector.pixel_scale_arcsec**2) / STEEPNESS))
    return np.array(found)


def expected_distances(alpha: Array, x: Array = X, y: Array = Y) -> Array:
    beta_x, beta_y = x - alpha[0], y - alpha[1]
    return np.array([np.hypot(beta_x + FAR_ARCSEC, beta_y), np.hypot(beta_x, beta_y + FAR_ARCSEC)])


def assert_deflection(found: Array, alpha: Array, tolerance: Any) -> None:
    """`tolerance` in arcsec, beside the rounding of the measurement."""
    expected = expected_distances(alpha)
    bright = expected < FARTHEST_ARCSEC
    assert bright.mean() > 0.9
    error = np.abs(found - expected) - 4e-15 * (expected + FAR_ARCSEC) - tolerance
    assert error[bright].max() <= 0, error[bright].max()


def one(profile: str, **numbers: float) -> Deflectors:
    return many(profile, **{name: np.array([float(value)]) for name, value in numbers.items()})


def many(profile: str, **columns: Array) -> Deflectors:
    size = len(next(iter(columns.values())))
    return Deflectors(profile, np.zeros(size, np.int64), columns)


def lenstronomys(*groups: Deflectors) -> Array:
    names, numbers = [], []
    for group in groups:
        for k in range(len(group.owner)):
            names.append(group.profile)
            numbers.append({name: values[k] for name, values in group.parameters.items()})
    return np.array(LensModel(names).alpha(X.ravel(), Y.ravel(), numbers)).reshape(2, *X.shape)


def ellipse(modulus: float, angle: float) -> dict[str, float]:
    return {"e1": modulus * np.cos(2 * angle), "e2": modulus * np.sin(2 * angle)}


@pytest.mark.parametrize("modulus", [0.0, 1e-8, 1e-4, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("center", [(0.0, 0.0), (0.13, -0.21)])
def test_an_isothermal_ellipsoid_is_lenstronomys(modulus: float, center: tuple[float, float]) -> None:
    """lenstronomy loses digits of an all but round lens: it divides by sqrt(1 - q^2)."""
    # as much as rounding moves q
    tolerance = 1e-13 + 1e-16 / max(modulus, 1e-8)
    for angle in (0.0, 0.4, np.pi / 4, 2.0):
        lens = one("SIE", theta_E=1.2, **ellipse(modulus, angle), center_x=center[0], center_y=center[1])
        assert_deflection(distances(lens), lenstronomys(lens), tolerance)


def test_the_middle_of_an_isothermal_ellipsoid_pulls_nowhere() -> None:
    odd = DETECTOR.model_copy(update={"num_pix": 9})
    for modulus in (0.0, 0.3):
        lens = one("SIE", theta_E=1.2, **ellipse(modulus, 0.3), center_x=0, center_y=0)
        np.testing.assert_allclose(distances(lens, detector=odd)[:, 4, 4], FAR_ARCSEC, rtol=1e-14)


@pytest.mark.parametrize("gamma", [1.5, 1.8, 1.999, 2.0, 2.001, 2.2, 2.5])
@pytest.mark.parametrize("modulus", [0.0, 1e-12, 0.05, 0.3, 0.6])
def test_a_power_law_is_lenstronomys(gamma: float, modulus: float) -> None:
    for angle in (0.0, 0.7):
        shape = ellipse(modulus, angle)
        lens = one("EPL", theta_E=1.2, gamma=gamma, **shape, center_x=0.03, center_y=-0.02)
        assert_deflection(distances(lens), lenstronomys(lens), 1e-13)


def test_the_middle_of_a_power_law_pulls_nowhere() -> None:
    odd = DETECTOR.model_copy(update={"num_pix": 9})
    for gamma in (1.5, 2.0, 2.5):
        lens = one("EPL", theta_E=1.2, gamma=gamma, e1=0.2, e2=0.1, center_x=0, center_y=0)
        np.testing.assert_allclose(distances(lens, detector=odd)[:, 4, 4], FAR_ARCSEC, rtol=1e-14)


@pytest.mark.parametrize("modulus", [0.0, 0.1, 0.5, 0.8])
def test_an_isothermal_power_law_is_an_isothermal_ellipsoid(modulus: float) -> None:
    """But for the tiny core of the latter, 1e-10 arcsec, and for q = 1, which it takes as 1 - 1e-8."""
    for angle in (0.0, 0.7):
        shape = {"theta_E": 1.2, **ellipse(modulus, angle), "center_x": 0.013, "center_y": -0.007}
        difference = distances(one("EPL", gamma=2.0, **shape)) - distances(one("SIE", **shape))
        radius = np.hypot(X - 0.013, Y + 0.007)
        assert (np.abs(difference) < 1e-13 + 2e-10 / radius + 1e-8 * (modulus == 0)).all()


def test_shear_is_lenstronomys() -> None:
    shear = one("SHEAR", gamma1=0.07, gamma2=-0.04)
    assert_deflection(distances(shear), lenstronomys(shear), 0)


def points(count: int, seed: int) -> Deflectors:
    rng = np.random.default_rng(seed)
    return many(
        "POINT_MASS",
        theta_E=10.0 ** rng.uniform(-3, -0.5, count),
        center_x=rng.uniform(-2.5, 2.5, count),
        center_y=rng.uniform(-2.5, 2.5, count),
    )


def direct(group: Deflectors) -> tuple[Array, Array, Array]:
    """Point masses one by one: the sum of deflections, that of their sizes, and that of their change when
    positions change by a part of themselves, as rounding does."""
    total, size, condition = np.zeros((2, *X.shape)), np.zeros(X.shape), np.zeros(X.shape)
    for theta_E, px, py in zip(*(group.parameters[name] for name in NAMES), strict=True):
        dx, dy = X - px, Y - py
        r2 = dx * dx + dy * dy
        pull = theta_E**2 / r2
        total += pull * np.array([dx, dy])
        size += pull * np.sqrt(r2)
        condition += pull * np.hypot(px, py)
    return total, size, size + condition


# single precision counts positions from the nearest pixel, and does not lose what it costs to subtract them
PART = {"fused": 2e-15, "fused_float32": 4e-7}


def assert_sum(group: Deflectors, masses: Deflectors, engine: str = "fused") -> None:
    """`group` deflects as these masses one by one."""
    expected, size, condition = direct(masses)
    tolerance = 2e-15 * (condition + 1) + (PART[engine] * size if engine == "fused_float32" else 0)
    assert_deflection(distances(group, engine=engine), expected, tolerance)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 25])
@pytest.mark.parametrize("engine", ["fused", "fused_float32"])
def test_point_masses_add_up(count: int, engine: str) -> None:
    masses = points(count, seed=count)
    assert_sum(masses, masses, engine)
    np.testing.assert_allclose(direct(masses)[0], lenstronomys(masses), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("off", [0.0, 1e-7, 1e-6, 1e-5])
def test_a_mass_in_a_row_of_pixels_keeps_its_pull_in_single_precision(off: float) -> None:
    """Squared distances have a floor, which must not be felt while another coordinate is far from zero."""
    step = DETECTOR.pixel_scale_arcsec
    masses = many(
        "POINT_MASS",
        theta_E=np.array([0.03, 0.05, 0.02, 0.04, 0.06]),
        center_x=COLUMNS[[3, 20, 33, 40, 51]] + step * np.array([0.3, 0.1, -0.4, 0.02, 0.2]),
        center_y=COLUMNS[[5, 17, 30, 44, 60]] + off,
    )
    assert_sum(masses, masses, "fused_float32")


@pytest.mark.parametrize("engine", ["fused", "fused_float32"])
def test_a_mass_on_a_pixel_does_not_break_others(engine: str) -> None:
    """Four masses share one division, two of them at the same place."""
    masses = many(
        "POINT_MASS",
        theta_E=np.array([0.03, 0.02, 0.01, 0.01, 0.005]),
        center_x=COLUMNS[[3, 8, 10, 11, 3]],
        center_y=COLUMNS[[3, 9, 10, 30, 3]],
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        expected, size, _ = direct(masses)
    away = np.isfinite(expected[0])
    assert away.sum() == SIDE**2 - 4
    error = np.abs(distances(masses, engine=engine) - expected_distances(expected))[:, away]
    assert (error < 1e-13 + PART[engine] * size[away]).all()


def line(count: int, **changes: float) -> Deflectors:
    numbers = {"theta_E": 0.4, "center_x": 0.1303, "center_y": -0.2101, "half_length": 0.9, "angle": 2.2}
    return one("LINE", **{**numbers, **changes}, points=count)


def random_lines(count: int) -> list[Deflectors]:
    """Of any length, direction and place; some lie outside of the field."""
    rng = np.random.default_rng(count)
    return [
        line(
            int(rng.choice([2, 3, 4, 5, 9, 17, 32, 100, 101, 255, 500])),
            half_length=10.0 ** rng.uniform(-4, 2),
            angle=rng.uniform(0, 2 * np.pi),
            center_x=rng.normal(0, 1.5) * rng.choice([0.1, 1, 4]),
            center_y=rng.normal(0, 1.5) * rng.choice([0.1, 1, 4]),
        )
        for _ in range(count)
    ]


def assert_chain(chain: Deflectors, engine: str = "fused") -> None:
    (masses,) = split_lines(chain)
    assert_sum(chain, masses, engine)


@pytest.mark.parametrize("chain", random_lines(80))
def test_chains_are_the_sums_of_their_points(chain: Deflectors) -> None:
    assert_chain(chain)


@pytest.mark.parametrize("count", [2, 20, 100])
@pytest.mark.parametrize(
    "angle", [0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi, 1.5 * np.pi, 1e-8, 1e-10, 0.1]
)
def test_chains_along_axes_and_diagonals(angle: float, count: int) -> None:
    for half_length in (0.003, 0.3, 30.0):
        assert_chain(line(count, angle=angle, half_length=half_length))


@pytest.mark.parametrize("count", [2, 3, 100, 500])
@pytest.mark.parametrize("half_length", [1e-25, 1e-12, 1e-6, 1e-3])
def test_short_chains_are_points(count: int, half_length: float) -> None:
    expected, _, condition = direct(one("POINT_MASS", theta_E=0.4, center_x=0.1303, center_y=-0.2101))
    # to the second order of the length
    off = (half_length / np.hypot(X - 0.1303, Y + 0.2101)) ** 2 * condition
    assert_deflection(distances(line(count, half_length=half_length)), expected, 2e-15 * condition + off)


@pytest.mark.parametrize("chain", random_lines(25))
def test_chains_in_single_precision(chain: Deflectors) -> None:
    assert_chain(chain, "fused_float32")


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 4, np.pi / 2, 2.2, 5.0])
@pytest.mark.parametrize("half_length", [1e-20, 1e-9, 1e-4, 0.01, 0.9, 40.0])
def test_a_continuous_line_is_the_reference_engines(half_length: float, angle: float) -> None:
    """The reference takes the logarithm of a number near 1, which keeps 1e-16 / (length / distance)."""
    parameters = line(0, half_length=half_length, angle=angle).parameters
    numbers = {name: float(values[0]) for name, values in parameters.items() if name != "points"}
    kept = 1e-15 / half_length if half_length >= 1e-5 else 1e-11
    found = distances(line(0, half_length=half_length, angle=angle))
    assert_deflection(found, np.array(line_deflection(X, Y, **numbers)), 1e-14 + kept)


def test_on_a_line_itself_the_pull_is_along_it() -> None:
    odd = DETECTOR.model_copy(update={"num_pix": 9})
    x = (np.arange(9) - 4) * DETECTOR.pixel_scale_arcsec
    found = distances(line(0, center_x=0.0, center_y=0.0, angle=0.0, half_length=0.1), detector=odd)
    alpha = 0.4**2 / 0.2 * np.log(np.abs((x + 0.1) / (x - 0.1)))
    expected = expected_distances(np.array([alpha, np.zeros(9)]), x, np.zeros(9))
    np.testing.assert_allclose(found[:, 4], expected, rtol=1e-13)
