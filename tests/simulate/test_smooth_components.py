"""Power-law lenses, multipoles, light of the lens and several sources."""

from typing import Any

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from flows.catalogue import load_recipe
from schemas.columns import columns_of
from simulate.batch import LensBatch, Light
from simulate.draw import draw
from simulate.engines import ENGINES
from simulate.render import render
from tests.strategies import RICH

LENS = "theta_E: 1.2, e1: 0.1, e2: -0.05, center_x: 0.03"
EPL = f"main_lens={{kind: EPL, {LENS}, gamma: %s}}"
MULTIPOLE = "multipole={m: 4, a_m: 0.03, phi_m: 0.4}"
LIGHT = "lens_light={magnitude: 19, R_sersic: 0.6, n_sersic: 3, e1: 0.1, center_x: 0.2}"


def test_an_isothermal_power_law_is_an_sie(bare_image: Any) -> None:
    sie = bare_image(f"main_lens={{kind: SIE, {LENS}}}")
    epl = bare_image(EPL % 2)
    assert np.abs(sie - epl).max() < 1e-6 * sie.max()


def test_the_slope_changes_the_image(bare_image: Any) -> None:
    steep, shallow = bare_image(EPL % 2.3), bare_image(EPL % 1.7)
    assert np.abs(steep - shallow).max() > 0.05 * steep.max()


def test_a_power_law_keeps_its_einstein_radius() -> None:
    radii = []
    for gamma in (1.3, 2.0, 2.7):
        recipe = load_recipe("tiny", [f"main_lens={{kind: EPL, theta_E: 1.2, gamma: {gamma}}}"])
        (group, *_) = draw(recipe, np.arange(1)).systems.deflectors
        numbers = {name: float(values[0]) for name, values in group.parameters.items()}
        radii.append(LensModel([group.profile]).alpha(1.2, 0.0, [numbers])[0])
    np.testing.assert_allclose(radii, 1.2, rtol=1e-10)


def test_a_multipole_deforms_the_lens_and_nothing_without_strength(bare_image: Any) -> None:
    lens = f"main_lens={{kind: SIE, {LENS}}}"
    plain = bare_image(lens)
    assert np.abs(bare_image(lens, MULTIPOLE) - plain).max() > 0.02 * plain.max()
    # by one engine: the default has no kernel for multipoles
    slow = "engine=lenstronomy"
    assert (bare_image(lens, slow, "multipole={m: 4, a_m: 0}") == bare_image(lens, slow)).all()


@pytest.mark.parametrize("m", [3, 4])
def test_a_multipole_is_symmetric_under_its_own_turns(m: int) -> None:
    recipe = load_recipe("tiny", [f"multipole={{m: {m}, a_m: 0.05, phi_m: 0.3}}"])
    group = draw(recipe, np.arange(1)).systems.deflectors[2]
    assert group.profile == "MULTIPOLE"
    numbers = {name: float(values[0]) for name, values in group.parameters.items()}
    angle = 0.7 + np.arange(3) * 2 * np.pi / m
    x, y = np.cos(angle), np.sin(angle)
    kappa = LensModel(["MULTIPOLE"]).kappa(x, y, [numbers])
    np.testing.assert_allclose(kappa, 0.05 / 2 * np.cos(m * (0.7 - 0.3)), rtol=1e-10)


def test_the_multipole_stands_at_the_lens_centre() -> None:
    lens, _, multipole, *_ = draw(load_recipe("tiny", RICH), np.arange(3)).systems.deflectors
    for name in ("center_x", "center_y"):
        np.testing.assert_array_equal(multipole.parameters[name], lens.parameters[name])


def test_light_of_the_lens_is_added_unlensed(bare_image: Any) -> None:
    lens = f"main_lens={{kind: SIE, {LENS}}}"
    alone = bare_image(LIGHT.replace("lens_light", "source"))
    both = bare_image(lens, LIGHT) - bare_image(lens)
    np.testing.assert_allclose(both, alone, atol=1e-6 * alone.max())


def test_lens_light_has_the_flux_of_its_magnitude(bare_image: Any) -> None:
    wide = (
        "instrument={kind: detector, num_pix: 256, pixel_scale_arcsec: 0.05, psf: {kind: none},"
        " supersampling: 3}"
    )
    light = "lens_light={magnitude: 19, R_sersic: 0.3, n_sersic: 1}"
    flux = (bare_image(wide, light) - bare_image(wide)).sum()
    assert flux == pytest.approx(10 ** (-0.4 * (19 - 25)), rel=0.01)


def test_several_sources_add_up() -> None:
    recipe = load_recipe(
        "tiny", ["instrument.num_pix=20", "classes.vortex.substructure.half_length_at_1e22_arcsec=0.005"]
    )
    systems = draw(recipe, np.arange(3)).systems
    (source,) = systems.source
    shifted = {**source.parameters, "center_x": source.parameters["center_x"] + 0.3}
    other = (Light(source.profile, source.owner, shifted),)
    one, two, both = (
        ENGINES["lenstronomy"](LensBatch(3, systems.deflectors, sources), recipe.detector)
        for sources in (systems.source, other, (*systems.source, *other))
    )
    np.testing.assert_allclose(both, one + two, rtol=1e-12, atol=1e-14)


def test_no_source_leaves_a_dark_sky() -> None:
    recipe = load_recipe(
        "tiny", ["instrument.num_pix=10", "classes.vortex.substructure.half_length_at_1e22_arcsec=0.005"]
    )
    systems = draw(recipe, np.arange(3)).systems
    assert not ENGINES["lenstronomy"](LensBatch(3, systems.deflectors, ()), recipe.detector).any()


def test_every_new_prior_is_a_column() -> None:
    recipe = load_recipe(
        "tiny",
        [
            *RICH,
            "instrument.num_pix=10",
            "classes.vortex.substructure.half_length_at_1e22_arcsec=0.005",
            "engine=lenstronomy",
        ],
    )
    columns = {column.name: column for column in columns_of(recipe)}
    turning = {name for name, column in columns.items() if column.turns}
    light = {f"lens_light_{name}" for name in ("magnitude", "R_sersic", "n_sersic")}
    placed = {f"lens_light_{name}" for name in ("e1", "e2", "center_x", "center_y")}
    assert {"gamma", "multipole_a_m", "multipole_phi_m", *light, *placed} <= set(columns)
    assert {"multipole_phi_m", *placed} <= turning
    assert not {"gamma", "multipole_a_m", *light} & turning
    assert columns["lens_light_magnitude"].description.startswith("lens light: ")
    assert not columns["gamma"].headline
    drawn = render(recipe, np.arange(30))
    for name in ("gamma", "multipole_a_m", "lens_light_magnitude"):
        assert np.ptp(drawn.params[:, list(columns).index(name)]) > 0


def test_optional_components_leave_other_parameters_as_they_are() -> None:
    plain, rich = draw(load_recipe("tiny"), np.arange(6)), draw(load_recipe("tiny", RICH[1:3]), np.arange(6))
    for name in ("z_lens", "theta_E", "gamma1", "source_magnitude", "source_center_y"):
        np.testing.assert_array_equal(plain.columns[name], rich.columns[name])
