"""What of a mass profile is inside a circle."""

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from schemas.errors import RecipeError
from simulate.batch import Deflectors
from simulate.engines.line import split_lines
from simulate.masses import (
    RINGS,
    inside_circle,
    ring_radii,
    total,
    truncated_mass,
    truncated_mass_in_projection,
)

RNG = np.random.default_rng(4)
MANY = 400


def lines(points: int) -> Deflectors:
    parameters = {
        "theta_E": np.full(MANY, 0.2),
        "center_x": RNG.uniform(-1.5, 1.5, MANY),
        "center_y": RNG.uniform(-1.5, 1.5, MANY),
        "half_length": RNG.uniform(0.01, 2, MANY),
        "angle": RNG.uniform(0, np.pi, MANY),
        "points": np.full(MANY, float(points)),
    }
    return Deflectors("LINE", np.arange(MANY), parameters)


def inside(group: Deflectors) -> np.ndarray:
    size = len(group.owner)
    return inside_circle(group, np.full(size, 0.1), np.full(size, -0.2), np.full(size, 1.1))


@pytest.mark.parametrize("points", [2, 7, 32])
def test_of_a_dotted_line_the_points_inside_count(points: int) -> None:
    group = lines(points)
    (split,) = split_lines(group)
    expected = np.bincount(split.owner, inside(split), minlength=MANY)
    np.testing.assert_allclose(inside(group), expected, rtol=1e-12, atol=1e-15)


def test_of_a_continuous_line_the_length_inside_counts() -> None:
    group = lines(0)
    dotted = Deflectors("LINE", group.owner, {**group.parameters, "points": np.full(MANY, 20_000.0)})
    np.testing.assert_allclose(inside(group), inside(dotted), atol=0.04 * 2e-4)
    assert (inside(group) == 0).any()
    assert (inside(group) > 0.04 * (1 - 1e-12)).any()


def test_a_line_of_no_length_is_in_or_out() -> None:
    group = lines(0)
    short = Deflectors("LINE", group.owner, {**group.parameters, "half_length": np.zeros(MANY)})
    distance = np.hypot(group.parameters["center_x"] - 0.1, group.parameters["center_y"] + 0.2)
    np.testing.assert_allclose(inside(short), np.where(distance < 1.1, 0.04, 0.0), rtol=1e-12)


@pytest.mark.parametrize("tau", [0.3, 1.7, 8.0, 100.0])
def test_the_projected_mass_of_a_halo_is_what_deflects(tau: float) -> None:
    x = np.array([1e-2, 0.3, 0.999, 1.001, 4.0, 300.0])
    halo = {"Rs": 1.0, "alpha_Rs": 1 - np.log(2), "r_trunc": tau}
    alpha, _ = LensModel(["TNFW"]).alpha(x, 0 * x, [halo])
    found = truncated_mass_in_projection(x, np.full(x.shape, tau))
    np.testing.assert_allclose(found, alpha * x, rtol=1e-6)
    far = truncated_mass_in_projection(np.array([1e6]), np.array([tau]))
    np.testing.assert_allclose(far, truncated_mass(np.array([tau])), rtol=1e-3)


def test_rings_part_the_mass_of_a_halo_evenly() -> None:
    tau = np.array([0.02, 0.7, 5.0, 33.0, 900.0])
    for radius, share in zip(ring_radii(tau), (np.arange(RINGS) + 0.5) / RINGS, strict=True):
        inside_radius = truncated_mass_in_projection(radius * tau, tau) / truncated_mass(tau)
        np.testing.assert_allclose(inside_radius, share, atol=2e-3)


def test_of_a_halo_astride_the_circle_a_part_counts() -> None:
    distance = np.linspace(0, 3, 13)
    halos = {"Rs": 0.1, "alpha_Rs": 0.02, "r_trunc": 0.5, "center_y": -0.2}
    parameters = {name: np.full(13, value) for name, value in halos.items()} | {"center_x": 0.1 + distance}
    found = inside(Deflectors("TNFW", np.arange(13), parameters))
    angle = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
    for number, share in zip(distance, found, strict=True):
        x, y = 1.1 * np.cos(angle) - number, 1.1 * np.sin(angle)
        one = {"Rs": 0.1, "alpha_Rs": 0.02, "r_trunc": 0.5}
        alpha = LensModel(["TNFW"]).alpha(x, y, [one])
        exact = 1.1 * (alpha[0] * np.cos(angle) + alpha[1] * np.sin(angle)).mean()
        whole = total(Deflectors("TNFW", np.arange(13), parameters))[0]
        assert share / whole == pytest.approx(exact / whole, abs=0.1)


def test_an_unknown_profile_is_refused_with_what_to_do() -> None:
    with pytest.raises(RecipeError, match="mass of the profile SIS is not known") as caught:
        total(Deflectors("SIS", np.array([0]), {"theta_E": np.ones(1)}))
    assert "TOTALS" in str(caught.value)
    assert "compensate_mass: false" in str(caught.value)
