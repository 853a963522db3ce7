"""Convergence maps: no mass is lost, each pixel has its mean, and a smooth lens has none."""

from dataclasses import replace

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from flows.catalogue import load_recipe
from schemas.errors import RecipeError
from schemas.instrument import Detector, NoPSF
from simulate.batch import STRENGTHS, Deflectors
from simulate.convergence import ADDERS, convergence
from simulate.draw import draw
from simulate.engines import DEFLECTIONS
from simulate.kernels import convergence as kernels
from simulate.masses import TOTALS, total
from simulate.render import render

Array = np.ndarray
STEP = 0.1
DETECTOR = Detector(num_pix=40, pixel_scale_arcsec=STEP, psf=NoPSF())
SMOOTH = {"SIE", "EPL", "SHEAR", "MULTIPOLE"}


def members(profile: str, count: int = 6, seed: int = 1, **changes: Array | float) -> Deflectors:
    """Somewhere in the inner half of the field."""
    rng = np.random.default_rng(seed)
    numbers = {"center_x": rng.uniform(-1, 1, count), "center_y": rng.uniform(-1, 1, count)}
    if profile in ("POINT_MASS", "LINE"):
        numbers["theta_E"] = rng.uniform(0.01, 0.1, count)
    if profile == "LINE":
        angle, half = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.02, 0.9, count)
        numbers |= {"half_length": half, "angle": angle, "points": np.zeros(count)}
    if profile.startswith("TNFW"):
        Rs = rng.uniform(0.01, 0.1, count)
        trunc = rng.uniform(0.5, 10, count)
        numbers |= {"Rs": Rs, "alpha_Rs": rng.uniform(1e-3, 1e-2, count), "r_trunc": Rs * trunc}
    if profile == "TNFWC":
        numbers["r_core"] = Rs * rng.uniform(0.02, 1.5, count)
    numbers |= {name: np.broadcast_to(value, count).astype(float) for name, value in changes.items()}
    return Deflectors(profile, np.zeros(count, np.int64), numbers)


def mass_in_field(group: Deflectors, detector: Detector = DETECTOR) -> float:
    """Over pi, by Gauss's theorem at the edge of the field: half the flux of lenstronomy's deflection."""
    edge = detector.num_pix * detector.pixel_scale_arcsec / 2
    t = (np.arange(4000) + 0.5) / 4000 * 2 * edge - edge
    e = np.full_like(t, edge)
    numbers = [{name: v[i] for name, v in group.parameters.items()} for i in range(len(group.owner))]
    alpha = LensModel([group.profile] * len(group.owner)).alpha
    out = alpha(e, t, numbers)[0] - alpha(-e, t, numbers)[0]
    up = alpha(t, e, numbers)[1] - alpha(t, -e, numbers)[1]
    return float((out + up).mean() * 2 * edge / 2 / np.pi)


def mass_of(maps: Array, step: float = STEP) -> float:
    return float(maps.sum() * step**2 / np.pi)


# -- mass


@pytest.mark.parametrize("points", [0, 2, 25])
def test_lines_and_points_lose_no_mass(points: int) -> None:
    groups = members("LINE", points=points), members("POINT_MASS", seed=2)
    found = mass_of(convergence(groups, 1, DETECTOR))
    assert found == pytest.approx(sum(total(group).sum() for group in groups), rel=1e-12)


@pytest.mark.parametrize("profile", ["TNFW", "TNFWC"])
@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0, 5.0])
def test_halos_lose_no_mass(profile: str, size: float) -> None:
    """Far smaller than a pixel, and wider than the field."""
    group = members(profile)
    sizes = {
        name: group.parameters[name] * size
        for name in ("Rs", "r_trunc", "r_core")
        if name in group.parameters
    }
    group = replace(group, parameters=group.parameters | sizes)
    found = mass_of(convergence((group,), 1, DETECTOR))
    expected = mass_in_field(group)
    assert found == pytest.approx(expected, rel=1e-3)
    if size <= 0.1:
        assert found == pytest.approx(total(group).sum(), rel=3e-3)


@pytest.mark.parametrize("profile", sorted(ADDERS))
def test_what_is_beyond_the_field_is_left_out(profile: str) -> None:
    group = (
        members(profile, center_x=2.6, half_length=0.1)
        if profile == "LINE"
        else members(profile, center_x=2.6)
    )
    found = convergence((group,), 1, DETECTOR)
    if profile in ("LINE", "POINT_MASS"):
        assert not found.any()
    else:
        assert mass_of(found) == pytest.approx(mass_in_field(group), rel=5e-3)
        assert 0 < mass_of(found) < 0.2 * total(group).sum()


# -- pixels


def test_a_point_is_in_its_pixel() -> None:
    group = members("POINT_MASS", 1, center_x=0.31, center_y=-1.07, theta_E=0.05)
    found = convergence((group,), 1, DETECTOR)[0]
    assert np.argwhere(found).tolist() == [[20 - 11, 20 + 3]]
    assert found.max() == pytest.approx(np.pi * 0.05**2 / STEP**2)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.3, 2.2, -1.0, np.pi])
def test_a_line_is_as_its_many_points(angle: float) -> None:
    line = members("LINE", 3, angle=angle)
    many = replace(line, parameters=line.parameters | {"points": np.full(3, 80_001.0)})
    continuous, points = (convergence((group,), 1, DETECTOR)[0] for group in (line, many))
    assert (continuous > 0).sum() >= 3
    np.testing.assert_allclose(continuous, points, atol=2e-4 * points.max())


@pytest.mark.parametrize("angle", [0.0, np.pi / 2])
def test_a_line_along_an_edge_counts_once(angle: float) -> None:
    line = members("LINE", 1, angle=angle, center_x=0.0, center_y=0.0, half_length=0.5)
    assert mass_of(convergence((line,), 1, DETECTOR)) == pytest.approx(total(line)[0], rel=1e-12)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi, 0.4])
@pytest.mark.parametrize("points", [0, 1001])
def test_the_part_of_a_line_that_is_in_the_field_counts(angle: float, points: int) -> None:
    """From the edge at 2 arcsec, or the corner's side that a slanted line leaves by."""
    x, y = 1.7 * np.cos(angle), 1.7 * np.sin(angle)
    line = members("LINE", 1, angle=angle, center_x=x, center_y=y, half_length=1.0, points=points)
    inside = (2.0 / max(abs(np.cos(angle)), abs(np.sin(angle))) - 0.7) / 2
    found = mass_of(convergence((line,), 1, DETECTOR))
    assert found == pytest.approx(inside * total(line)[0], rel=1e-9 if points == 0 else 3e-3)


def test_a_line_without_length_is_a_point() -> None:
    line = members("LINE", 1, half_length=0.0)
    point = Deflectors(
        "POINT_MASS", line.owner, {n: line.parameters[n] for n in ("theta_E", "center_x", "center_y")}
    )
    np.testing.assert_allclose(*(convergence((group,), 1, DETECTOR) for group in (line, point)), rtol=1e-6)


@pytest.mark.parametrize("profile", ["TNFW", "TNFWC"])
@pytest.mark.parametrize(
    "place", [(0.0, 0.0), (0.05, 0.05), (0.049, 0.051), (0.3 - 1e-7, 0.02), (-1.97, 1.9)]
)
def test_a_pixel_has_the_mean_of_lenstronomys_convergence(profile: str, place: tuple[float, float]) -> None:
    x, y = place
    group = members(profile, 1, center_x=x, center_y=y, Rs=0.15, r_trunc=0.6)
    found = convergence((group,), 1, DETECTOR)[0]
    fine = 50
    axis = (np.arange(40 * fine) - (40 * fine - 1) / 2) * STEP / fine
    numbers = [{name: values[0] for name, values in group.parameters.items()}]
    positions = (one.ravel() for one in np.meshgrid(axis, axis))
    expected = LensModel([profile]).kappa(*positions, numbers).reshape(40, fine, 40, fine).mean(axis=(1, 3))
    np.testing.assert_allclose(found, expected, rtol=0.012)
    # where it matters most, far closer; sub-pixels miss some of a cusp in the innermost pixels
    j, i = np.unravel_index(expected.argmax(), expected.shape)
    inner = slice(max(j - 1, 0), j + 2), slice(max(i - 1, 0), i + 2)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=3e-3)


def test_a_tiny_halo_is_a_point() -> None:
    halo = members("TNFW", 1, Rs=1e-5, r_trunc=1e-4, center_x=0.33, center_y=0.42)
    found = convergence((halo,), 1, DETECTOR)[0]
    assert found[24, 23] * STEP**2 / np.pi == pytest.approx(total(halo)[0], rel=1e-4)


def test_truncations_beyond_the_table_are_by_the_formula() -> None:
    group = members("TNFW", 2, Rs=0.05, r_trunc=np.array([0.05 * 0.02, 0.05 * 5000]))
    assert mass_of(convergence((group,), 1, DETECTOR)) == pytest.approx(mass_in_field(group), rel=1e-3)


def test_the_scale_radius_is_no_exception() -> None:
    """The formula has a removable singularity there."""
    x2 = 1 + np.array([-2e-3, -1e-3 - 1e-9, -1e-3 + 1e-9, -1e-6, 0, 1e-6, 1e-3 - 1e-9, 1e-3 + 1e-9, 2e-3])
    values = np.empty_like(x2)
    kernels.evaluate(x2, 5.0, values)
    assert (np.diff(values) < 0).all()
    slopes = np.diff(values) / np.diff(x2)
    assert np.ptp(slopes[[0, 3, 4, 7]]) < 0.02 * abs(slopes[3])


# -- whole systems


def _truth(recipe_overrides: list[str], name: str = "tiny") -> tuple[Array, Array]:
    """Stored maps, and half the divergence of what the substructure adds to the deflection."""
    recipe = load_recipe(name, ["products=[convergence]", *recipe_overrides])
    ids = np.arange(6)
    drawn = draw(recipe, ids)
    alpha = DEFLECTIONS["fused_exact"](replace(drawn.systems, deflectors=drawn.substructure), recipe.detector)
    step = recipe.detector.pixel_scale_arcsec
    edges = alpha[:, 0, :, -1].sum(axis=1) - alpha[:, 0, :, 0].sum(axis=1)
    edges += alpha[:, 1, -1].sum(axis=1) - alpha[:, 1, 0].sum(axis=1)
    return render(recipe, ids).maps["convergence"], edges * step / 2


@pytest.mark.parametrize("name", ["tiny", "model_ii"])
def test_maps_are_of_the_substructure_alone(name: str) -> None:
    """Also where a convention shrinks all deflections."""
    maps, mass = _truth([], name)
    assert not maps[[0, 3]].any()
    step = load_recipe(name).detector.pixel_scale_arcsec
    # the flux is taken half a pixel inside the edge
    found = maps[:, 0, 1:-1, 1:-1].sum(axis=(1, 2)) * step**2
    np.testing.assert_allclose(found[[1, 2, 4, 5]], mass[[1, 2, 4, 5]], rtol=0.08)


def test_compensation_is_not_in_it() -> None:
    classes = "classes=[{name: cdm, label: 1, substructure: {kind: cold, f_sub: 0.02, profile: POINT_MASS}}]"
    with_it, without = (
        render(
            load_recipe("tiny", ["products=[convergence]", classes, f"compensate_mass={on}"]), np.arange(3)
        ).maps
        for on in ("true", "false")
    )
    assert with_it["convergence"].any()
    assert with_it["convergence"].tobytes() == without["convergence"].tobytes()
    assert (with_it["convergence"] >= 0).all()


def test_a_data_set_of_smooth_lenses_has_none() -> None:
    classes = "classes=[{name: no_sub, label: 0, substructure: {kind: none}}]"
    assert (
        not render(load_recipe("tiny", ["products=[convergence]", classes]), np.arange(3))
        .maps["convergence"]
        .any()
    )


def test_every_profile_of_substructure_is_known() -> None:
    assert ADDERS.keys() == STRENGTHS.keys() - SMOOTH == TOTALS.keys()


def test_an_unknown_profile_is_named() -> None:
    group = Deflectors("SIS", np.zeros(1, np.int64), {})
    with pytest.raises(RecipeError, match="convergence of the profile SIS") as raised:
        convergence((group,), 1, DETECTOR)
    assert "ADDERS" in str(raised.value)
