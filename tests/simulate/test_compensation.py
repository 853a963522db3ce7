"""Mass compensation: the mass inside theta_E is the same with and without substructure."""

from typing import Any

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from flows.catalogue import load_recipe
from schemas.columns import column_faults, columns_of
from schemas.errors import RecipeError
from simulate.draw import Drawn, draw
from simulate.engines.line import line_deflection, split_lines
from simulate.render import noise_free, through_lenstronomy

EPL = (
    "main_lens={kind: EPL, theta_E: {kind: uniform, low: 0.8, high: 1.4}, gamma: {kind: uniform, low: 1.8,"
    " high: 2.2}, e1: {kind: uniform, low: -0.2, high: 0.2}, e2: 0.1, center_x: 0.05, center_y: -0.03}"
)
F_SUB = "f_sub: {kind: uniform, low: 0.01, high: 0.1}"
VORTICES = (
    "mass_msun: {kind: log_uniform, low: 1e9, high: 1e10}, half_length_theta_E: {kind: uniform, low: 0.1,"
    " high: 1}"
)
KINDS = {
    "points": f"{{kind: cold, profile: POINT_MASS, {F_SUB}}}",
    "halos": f"{{kind: cold, {F_SUB}, mass_msun: {{slope: -1.9, low: 1e8, high: 1e10}}}}",
    "warm": f"{{kind: warm, {F_SUB}, half_mode_mass_msun: 1e8}}",
    "cores": f"{{kind: self_interacting, {F_SUB}, cross_section_cm2_g: 3}}",
    "continuous": f"{{kind: vortices, count: 2, {VORTICES}}}",
    "dotted": f"{{kind: vortices, count: 2, points: 40, {VORTICES}}}",
}
CDM = np.arange(30) * 3 + 1


def recipe(kind: str, *overrides: str) -> Any:
    said = KINDS.get(kind, kind)
    return load_recipe("tiny", [f"classes.cdm.substructure={said}", "compensate_mass=true", EPL, *overrides])


def mean_convergence(drawn: Drawn, row: int, nodes: int = 20_000) -> float:
    """Inside theta_E around the lens centre, by Gauss's law: the mean radial deflection over theta_E."""
    theta_E, x0, y0 = (drawn.columns[name][row] for name in ("theta_E", "center_x", "center_y"))
    angle = (np.arange(nodes) + 0.5) * 2 * np.pi / nodes
    x, y = x0 + theta_E * np.cos(angle), y0 + theta_E * np.sin(angle)
    alpha = np.zeros((2, len(angle)))
    for group in drawn.systems.deflectors:
        for part in split_lines(group) if group.profile == "LINE" else (group,):
            for member in np.flatnonzero(part.owner == row):
                numbers = {name: values[member] for name, values in part.parameters.items()}
                if part.profile == "LINE":
                    numbers.pop("points")
                    alpha += line_deflection(x, y, **numbers)
                else:
                    alpha += LensModel([part.profile]).alpha(x, y, [numbers])
    return float((alpha[0] * np.cos(angle) + alpha[1] * np.sin(angle)).mean() / theta_E)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("points", 5e-4), ("dotted", 5e-4), ("continuous", 2e-5), ("halos", 5e-3)]
)
def test_the_mean_convergence_is_that_of_the_smooth_lens(kind: str, tolerance: float) -> None:
    """Exactly, but for the number of points that the circle is made of, and the rings of extended halos."""
    compensated = draw(recipe(kind), CDM[:6])
    smooth = draw(recipe("{kind: none}"), CDM[:6])
    plain = draw(recipe(kind, "compensate_mass=false"), CDM[:6])
    change = [mean_convergence(compensated, row) / mean_convergence(smooth, row) - 1 for row in range(6)]
    before = [mean_convergence(plain, row) / mean_convergence(smooth, row) - 1 for row in range(6)]
    assert np.abs(change).max() < tolerance
    assert np.max(before) > 0.02


@pytest.mark.parametrize("kind", ["halos", "cores"])
def test_extended_halos_are_compensated_on_average(kind: str) -> None:
    """Each to the few rings that stand for it."""
    smooth = draw(recipe("{kind: none}"), CDM)
    after, before = (
        np.array(
            [mean_convergence(drawn, row, 500) / mean_convergence(smooth, row, 500) - 1 for row in range(30)]
        )
        for drawn in (draw(recipe(kind), CDM), draw(recipe(kind, "compensate_mass=false"), CDM))
    )
    assert before.mean() > 0.01
    assert abs(after.mean()) < 0.08 * before.mean()
    assert np.abs(after).max() < 5e-3


def test_the_column_keeps_what_was_drawn_and_the_lens_takes_the_smooth_one() -> None:
    with_mass, without = draw(recipe("points"), CDM), draw(recipe("points", "compensate_mass=false"), CDM)
    np.testing.assert_array_equal(with_mass.columns["theta_E"], without.columns["theta_E"])
    assert "theta_E_smooth" not in without.columns
    assert (with_mass.columns["theta_E_smooth"] < with_mass.columns["theta_E"]).all()
    lens = with_mass.systems.deflectors[0]
    np.testing.assert_array_equal(lens.parameters["theta_E"], with_mass.columns["theta_E_smooth"])
    # the substructure itself does not change
    for one, other in zip(with_mass.systems.deflectors[1:], without.systems.deflectors[1:], strict=True):
        for name, values in one.parameters.items():
            np.testing.assert_array_equal(values, other.parameters[name])


@pytest.mark.parametrize(
    "kind",
    [
        "{kind: none}",
        "{kind: cold, f_sub: 0}",
        "{kind: vortices, mass_msun: 0, half_length_theta_E: 0.5}",
    ],
)
def test_without_mass_nothing_is_taken(kind: str) -> None:
    drawn = draw(recipe(kind), CDM)
    np.testing.assert_array_equal(drawn.columns["theta_E_smooth"], drawn.columns["theta_E"])


@pytest.mark.parametrize(
    "kind", ["{kind: cold, f_sub: 0}", "{kind: warm, f_sub: 0, half_mode_mass_msun: 1e8}"]
)
def test_no_subhalos_make_the_smooth_image(kind: str) -> None:
    images = [noise_free(one, draw(one, CDM[:3])) for one in (recipe(kind), recipe("{kind: none}"))]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_finite_and_in_bounds(kind: str) -> None:
    one = recipe(kind)
    drawn = draw(one, np.arange(600))
    columns = columns_of(one)
    assert column_faults(columns, drawn.params([column.name for column in columns]), drawn.label) == []
    (smooth,) = (column for column in columns if column.name == "theta_E_smooth")
    assert smooth.derived
    assert smooth.labels == (0, 1, 2)
    assert [column.name for column in columns if column.derived] == ["theta_E_smooth"]


def test_a_sample_that_leaves_nothing_of_the_lens_is_refused_by_its_number() -> None:
    heavy = recipe(
        "{kind: vortex, points: continuous, mass_msun: {kind: log_uniform, low: 1e9, high: 1e13},"
        " axion_mass_ev: 3e-23, half_length_at_1e22_arcsec: 0.03}"
    )
    with pytest.raises(RecipeError) as caught:
        draw(heavy, np.arange(600))
    said = str(caught.value)
    assert "class 'cdm'" in said
    assert "times as much as the main lens" in said
    assert "compensate_mass to false" in said
    # and before anything is written
    with pytest.raises(RecipeError, match="times as much"):
        through_lenstronomy(heavy)


def test_typical_substructure_heavier_than_the_lens_is_refused_when_the_recipe_is_read() -> None:
    with pytest.raises(RecipeError, match="typical substructure weighs") as caught:
        recipe("{kind: vortices, mass_msun: 1e12, half_length_theta_E: 0.1}")
    assert "classes.cdm.substructure" in str(caught.value)


@pytest.mark.parametrize(("engine", "allowed"), [("fused", 1e-6), ("fused_exact", 1e-12)])
def test_cored_halos_are_as_lenstronomy_has_them(engine: str, allowed: float) -> None:
    assert through_lenstronomy(recipe("cores")) == ()
    one = recipe("cores", "samples_per_class=10", f"engine={engine}")
    fused = noise_free(one, draw(one, CDM[:6]))
    reference = recipe("cores", "engine=lenstronomy")
    expected = noise_free(reference, draw(reference, CDM[:6]))
    assert (np.abs(fused - expected).max(axis=(1, 2)) <= allowed * expected.max(axis=(1, 2))).all()
