"""Parameters that are drawn together: their law, their bounds, and what is left as it was."""

import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from flows.catalogue import load_recipe
from schemas.columns import column_faults, columns_of
from schemas.planes import AnyPlane, Disc, IsotropicNormal, Pair, Polar
from schemas.priors import Fixed, PowerLaw, Uniform
from simulate.draw import Drawn, draw
from simulate.planes import PLANES
from tests.strategies import planes

ADAPTER: TypeAdapter[AnyPlane] = TypeAdapter(AnyPlane)
FIRST, SECOND = np.random.default_rng(11).random((2, 20_000))
PLACE = Pair("x", "y", "arcsec", 10.0, 1)
SHAPE = Pair("e1", "e2", "1", 0.9, 2)
ALIKE = 1e-3

JOINT = (
    "main_lens.e1=0",
    "main_lens.e2=0",
    "main_lens.ellipticity={kind: isotropic_normal, sigma: 0.1, max_modulus: 0.35}",
    "main_lens.center_x={kind: normal, mean: 0, sigma: 0.05, low: -0.25, high: 0.25}",
    "main_lens.center_y={kind: normal, mean: 0, sigma: 0.05, low: -0.25, high: 0.25}",
    "shear={gamma: {kind: polar, modulus: {kind: uniform, low: 0, high: 0.1}}}",
    "source.center_x=0",
    "source.center_y=0",
    "source.center={kind: around_lens, radius_theta_E: 0.5}",
)


def both(plane: AnyPlane, pair: Pair = PLACE) -> tuple[np.ndarray, np.ndarray]:
    """Modulus and phase of many."""
    x, y = PLANES[plane.kind](plane, FIRST, SECOND, pair, {})
    return np.hypot(x, y), np.arctan2(y, x) % (2 * np.pi)


def follows(values: np.ndarray, cdf: Any) -> bool:
    return bool(stats.kstest(values, cdf).pvalue > ALIKE)


def rayleigh(sigma: float, most: float) -> Any:
    whole = stats.rayleigh(scale=sigma)
    return lambda modulus: whole.cdf(modulus) / whole.cdf(most)


ROUND = stats.uniform(0, 2 * np.pi).cdf


@pytest.mark.parametrize(
    ("plane", "cdf"),
    [
        (IsotropicNormal(sigma=0.1, max_modulus=0.35), rayleigh(0.1, 0.35)),
        (IsotropicNormal(sigma=0.15, max_modulus=0.1), rayleigh(0.15, 0.1)),
        (IsotropicNormal(sigma=100.0, max_modulus=0.5), lambda modulus: (modulus / 0.5) ** 2),
        (Disc(radius=0.7), lambda modulus: (modulus / 0.7) ** 2),
        (Polar(modulus=Uniform(low=0.0, high=0.1)), stats.uniform(0, 0.1).cdf),
        (Polar(modulus=PowerLaw(low=0.1, high=1.0, slope=-1.0)), stats.loguniform(0.1, 1).cdf),
    ],
)
def test_moduli_follow_their_law_and_directions_are_alike(plane: AnyPlane, cdf: Any) -> None:
    modulus, phase = both(plane)
    assert follows(modulus, cdf)
    assert follows(phase, ROUND)
    assert abs(stats.spearmanr(modulus, phase).statistic) < 0.03


def test_an_uncut_isotropic_normal_is_two_normals() -> None:
    plane = IsotropicNormal(sigma=0.1, max_modulus=0.9)
    for values in PLANES[plane.kind](plane, FIRST, SECOND, SHAPE, {}):
        assert follows(values, stats.norm(0, 0.1).cdf)


@pytest.mark.parametrize(("pair", "phase"), [(PLACE, 0.3), (SHAPE, 0.6)])
def test_a_direction_counts_twice_for_what_half_a_turn_does_not_change(pair: Pair, phase: float) -> None:
    plane = Polar(modulus=Fixed(value=0.2), angle=Fixed(value=0.3))
    moduli, phases = both(plane, pair)
    np.testing.assert_allclose(moduli, 0.2, rtol=1e-14)
    np.testing.assert_allclose(phases, phase, rtol=1e-14)


def test_a_shear_of_any_direction_in_half_a_turn_has_any_phase() -> None:
    plane = Polar(modulus=Fixed(value=0.1), angle=Uniform(low=0.0, high=math.pi))
    assert follows(both(plane, SHAPE)[1], ROUND)
    assert not follows(both(plane, PLACE)[1], ROUND)


@given(
    document=planes(0.9) | st.just({"kind": "disc", "radius": 0.9}),
    uniforms=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2),
)
@settings(max_examples=300, deadline=None)
def test_no_modulus_is_beyond_its_reach(document: dict[str, Any], uniforms: tuple[float, float]) -> None:
    plane = ADAPTER.validate_python(document, strict=False)
    for first in (uniforms[0], 0.0, 1 - 2.0**-53):
        found = PLANES[plane.kind](plane, np.array([first]), np.array([uniforms[1]]), SHAPE, {})
        assert math.hypot(*(float(value[0]) for value in found)) <= plane.reach * (1 + 1e-15)


def test_every_plane_prior_of_the_schema_can_be_drawn_and_no_other() -> None:
    assert set(PLANES) == {plane.model_fields["kind"].default for plane in get_args(AnyPlane)}


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw(load_recipe("tiny", JOINT), np.arange(6000))


def test_columns_are_what_is_drawn_together(drawn: Drawn) -> None:
    c = drawn.columns
    assert follows(np.hypot(c["e1"], c["e2"]), rayleigh(0.1, 0.35))
    assert follows(np.hypot(c["gamma1"], c["gamma2"]), stats.uniform(0, 0.1).cdf)
    recipe = load_recipe("tiny", JOINT)
    names = [column.name for column in columns_of(recipe)]
    assert names == [column.name for column in columns_of(load_recipe("tiny"))]
    assert column_faults(columns_of(recipe), drawn.params(names), drawn.label) == []


def test_a_source_around_the_lens_follows_its_centre_and_its_size(drawn: Drawn) -> None:
    c = drawn.columns
    x, y = c["source_center_x"] - c["center_x"], c["source_center_y"] - c["center_y"]
    share = np.hypot(x, y) / c["theta_E"]
    assert follows(share, lambda r: (r / 0.5) ** 2)
    assert abs(stats.spearmanr(share, c["theta_E"]).statistic) < 0.05
    assert follows(np.arctan2(y, x) % (2 * np.pi), ROUND)
    # on the sky it is not: the lens moves
    assert np.hypot(c["source_center_x"], c["source_center_y"]).max() > 0.5 * c["theta_E"].max()


def test_what_is_rendered_is_what_the_columns_say(drawn: Drawn) -> None:
    (source,) = drawn.systems.source
    groups = {group.profile: group.parameters for group in drawn.systems.deflectors}
    for name in ("e1", "e2"):
        np.testing.assert_array_equal(groups["SIE"][name], drawn.columns[name])
    for name in ("gamma1", "gamma2"):
        np.testing.assert_array_equal(groups["SHEAR"][name], drawn.columns[name])
    np.testing.assert_array_equal(source.parameters["center_x"], drawn.columns["source_center_x"])


def test_other_parameters_of_a_sample_stay_as_they_were(drawn: Drawn) -> None:
    before = draw(load_recipe("tiny", JOINT[3:5]), np.arange(6000)).columns
    changed = {"e1", "e2", "gamma1", "gamma2", "source_center_x", "source_center_y"}
    for name, values in before.items():
        same = np.array_equal(values, drawn.columns[name], equal_nan=True)
        assert same != (name in changed), name


@pytest.mark.parametrize("angle", [0.2, -1.3])
def test_a_lens_that_is_turned_is_drawn_turned(angle: float) -> None:
    """Half a turn of a shear is no turn at all."""
    said = "shear={gamma: {kind: polar, modulus: 0.1, angle: %r}}"
    shears = [
        draw(load_recipe("tiny", [said % float(a)]), np.arange(1)).columns for a in (angle, angle + np.pi)
    ]
    for name in ("gamma1", "gamma2"):
        np.testing.assert_allclose(shears[0][name], shears[1][name], rtol=1e-12)
