"""A line of mass: its exact deflection, and the points that stand for it."""

import numpy as np
import pytest
from scipy.integrate import quad

from simulate.batch import Deflectors
from simulate.engines.line import SHORT, line_deflection, split_lines

X, Y = (axis.ravel() for axis in np.meshgrid(np.linspace(-1.9, 2.1, 41), np.linspace(-2.05, 1.95, 41)))
LINE = {"theta_E": 0.4, "center_x": 0.13, "center_y": -0.21, "half_length": 0.9, "angle": 2.2}


def line(points: int, **changes: float) -> Deflectors:
    numbers = {**LINE, **changes, "points": float(points)}
    return Deflectors("LINE", np.array([0]), {name: np.array([value]) for name, value in numbers.items()})


def of_points(theta_E: np.ndarray, px: np.ndarray, py: np.ndarray) -> np.ndarray:
    dx, dy = X[:, None] - px, Y[:, None] - py
    pull = theta_E**2 / (dx**2 + dy**2)
    return np.array([(pull * dx).sum(axis=1), (pull * dy).sum(axis=1)])


def midpoints(count: int) -> np.ndarray:
    along = ((np.arange(count) + 0.5) / count * 2 - 1) * LINE["half_length"]
    px, py = (LINE[f"center_{a}"] + along * f(LINE["angle"]) for a, f in (("x", np.cos), ("y", np.sin)))
    return of_points(np.full(count, LINE["theta_E"] / np.sqrt(count)), px, py)


def away_from_the_line() -> np.ndarray:
    turned = ((X - LINE["center_x"]) + 1j * (Y - LINE["center_y"])) * np.exp(-1j * LINE["angle"])
    beyond = np.maximum(np.abs(turned.real) - LINE["half_length"], 0)
    return np.hypot(beyond, turned.imag) > 0.15


def test_many_midpoint_masses_approach_the_line() -> None:
    exact = np.array(line_deflection(X, Y, **LINE))
    away = away_from_the_line()
    errors = [np.abs(midpoints(n) - exact)[:, away].max() for n in (100, 1000, 10_000)]
    assert errors[0] > 50 * errors[1] > 2500 * errors[2]
    assert errors[2] < 1e-8


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.02), (-0.6, -0.3), (3.0, 0.0), (0.0, 1.0)])
def test_the_deflection_is_the_integral_over_the_line(x: float, y: float) -> None:
    half = 0.7

    def pull(t: float, along: float) -> float:
        return along / ((x - t) ** 2 + y**2)

    expected = [
        0.09
        / (2 * half)
        * quad(f, -half, half, points=[max(min(x, half), -half)], epsabs=1e-13, limit=500)[0]
        for f in (lambda t: pull(t, x - t), lambda t: pull(t, y))
    ]
    found = line_deflection(np.array([x]), np.array([y]), 0.3, 0.0, 0.0, half, 0.0)
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-9, atol=1e-12)


def test_a_line_pulls_towards_itself_from_all_sides() -> None:
    """A sum of two logarithms would jump where one of them crosses its branch cut."""
    for angle in np.linspace(0, 2 * np.pi, 25):
        alpha = np.array(line_deflection(X, Y, **{**LINE, "angle": angle}))
        towards = alpha[0] * (X - LINE["center_x"]) + alpha[1] * (Y - LINE["center_y"])
        assert (towards > 0).all()


def test_half_a_turn_is_the_same_line() -> None:
    turned = line_deflection(X, Y, **{**LINE, "angle": LINE["angle"] + np.pi})
    np.testing.assert_allclose(turned, line_deflection(X, Y, **LINE), rtol=1e-12)


@pytest.mark.parametrize("half_length", [0.0, 1e-30, 1e-12, 1e-7])
def test_a_short_line_is_a_point(half_length: float) -> None:
    changed = {**LINE, "half_length": half_length}
    point = of_points(*(np.array([LINE[name]]) for name in ("theta_E", "center_x", "center_y")))
    np.testing.assert_allclose(line_deflection(X, Y, **changed), point, rtol=1e-10)


def test_series_and_logarithm_meet() -> None:
    distance = 1.5
    x, y = np.array([distance]), np.array([0.0])
    both = [
        line_deflection(x, y, 0.3, 0.0, 0.0, SHORT * distance / 2 * factor, 0.7) for factor in (0.999, 1.001)
    ]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("half_length", [0.0, 1e-3, 0.5])
def test_the_deflection_is_finite_everywhere(half_length: float) -> None:
    angle = 0.3
    along = np.array([-1.0, 0.0, 1.0, 0.3]) * half_length
    alpha = line_deflection(along * np.cos(angle), along * np.sin(angle), 0.3, 0.0, 0.0, half_length, angle)
    assert np.isfinite(alpha).all()


def test_a_line_of_points_becomes_point_masses_with_both_ends() -> None:
    (points,) = split_lines(line(5, angle=0.0, center_x=1.0))
    assert points.profile == "POINT_MASS"
    np.testing.assert_allclose(points.parameters["center_x"], 1 + np.linspace(-0.9, 0.9, 5), atol=1e-15)
    assert set(points.parameters["center_y"]) == {LINE["center_y"]}
    np.testing.assert_allclose((points.parameters["theta_E"] ** 2).sum(), LINE["theta_E"] ** 2, rtol=1e-14)


def test_lines_of_both_sorts_keep_their_owners() -> None:
    both = Deflectors(
        "LINE",
        np.array([0, 1, 1, 3]),
        {
            **{name: np.full(4, value) for name, value in LINE.items()},
            "points": np.array([2.0, 0.0, 3.0, 0.0]),
        },
    )
    points, continuous = split_lines(both)
    assert points.owner.tolist() == [0, 0, 1, 1, 1]
    assert continuous.profile == "LINE"
    assert continuous.owner.tolist() == [1, 3]
