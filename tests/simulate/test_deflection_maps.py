"""The stored deflection is what moved the rays, and lenstronomy's."""

from dataclasses import replace

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from simulate.batch import LensBatch, Profiles
from simulate.draw import draw
from simulate.engines import DEFLECTIONS, ENGINES
from simulate.engines.line import split_lines
from simulate.render import render

IDS = np.arange(6)
KINDS = {
    "none": "{kind: none}",
    "points": "{kind: cold, f_sub: 0.05, profile: POINT_MASS}",
    "halos": "{kind: cold, f_sub: 0.005}",
    "cores": "{kind: self_interacting, f_sub: 0.005, cross_section_cm2_g: 5}",
    "line": "{kind: vortices, mass_msun: 1e10, half_length_theta_E: 0.5}",
    "chain": "{kind: vortices, mass_msun: 1e10, half_length_theta_E: 0.5, points: 40}",
}


def recipe_of(kind: str, *overrides: str) -> DatasetRecipe:
    """One class, a lens with everything, no PSF and no noise."""
    classes = f"classes=[{{name: made, label: 7, substructure: {KINDS[kind]}}}]"
    lens = (
        "main_lens={kind: EPL, theta_E: 1.0, gamma: 2.1, e1: 0.1, e2: -0.05, center_x: 0.02, center_y: 0.03}"
    )
    multipole = "multipole={m: 4, a_m: 0.01, phi_m: 0.3}"
    bare = ("products=[deflection]", "instrument.psf={kind: none}", "noise={kind: none}")
    numbers = "instrument={kind: detector, num_pix: 32, pixel_scale_arcsec: 0.1, magnitude_zero_point: 25.7}"
    return load_recipe("tiny", [classes, lens, multipole, numbers, *bare, *overrides])


def members(groups: tuple[Profiles, ...], row: int) -> tuple[list[str], list[dict[str, float]]]:
    """As lenstronomy wants them."""
    found = [(group, member) for group in groups for member in np.flatnonzero(group.owner == row)]
    numbers = [{name: values[member] for name, values in group.parameters.items()} for group, member in found]
    return [group.profile for group, _ in found], numbers


def grid(recipe: DatasetRecipe) -> tuple[np.ndarray, np.ndarray]:
    size, step = recipe.detector.num_pix, recipe.detector.pixel_scale_arcsec
    axis = (np.arange(size) - (size - 1) / 2) * step
    return tuple(np.meshgrid(axis, axis))  # type: ignore[return-value]


@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("kind", KINDS)
def test_rays_shot_with_it_make_the_image(kind: str, engine: str) -> None:
    recipe = recipe_of(kind, f"engine={engine}")
    made, source = render(recipe, IDS), draw(recipe, IDS).systems.source
    x, y = grid(recipe)
    for row in IDS:
        names, numbers = members(source, int(row))
        alpha_x, alpha_y = made.maps["deflection"][row].astype(np.float64)
        light = LightModel(names).surface_brightness(x - alpha_x, y - alpha_y, numbers)
        expected = light * recipe.detector.pixel_scale_arcsec**2
        # alpha is stored in single precision: 1e-7 arcsec where it is 1 to 2
        np.testing.assert_allclose(made.image[row, 0], expected, atol=5e-6 * expected.max())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "line"])
def test_it_is_lenstronomys_to_single_precision(kind: str) -> None:
    recipe = recipe_of(kind, "engine=fused_exact")
    found, systems = render(recipe, IDS).maps["deflection"], draw(recipe, IDS).systems
    points = tuple(
        part for g in systems.deflectors for part in (split_lines(g) if g.profile == "LINE" else (g,))
    )
    x, y = grid(recipe)
    for row in IDS:
        names, numbers = members(points, int(row))
        expected = np.array(LensModel(names).alpha(x.ravel(), y.ravel(), numbers)).reshape(2, *x.shape)
        np.testing.assert_allclose(found[row], expected.astype(np.float32), rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("engine", ["fused", "fused_exact"])
def test_engines_deflect_alike(engine: str) -> None:
    for kind in KINDS:
        recipe = recipe_of(kind)
        systems = draw(recipe, IDS).systems
        ours = DEFLECTIONS[engine](systems, recipe.detector)
        theirs = DEFLECTIONS["lenstronomy"](systems, recipe.detector)
        np.testing.assert_allclose(
            ours, theirs, atol=1e-11 if engine == "fused_exact" or kind != "halos" else 1e-6
        )


def test_every_engine_tells_its_deflection() -> None:
    assert DEFLECTIONS.keys() == ENGINES.keys()


def test_neither_light_nor_optics_matter() -> None:
    recipe = recipe_of("points")
    systems, detector = draw(recipe, IDS).systems, recipe.detector
    found = DEFLECTIONS["fused"](systems, detector)
    coarse = load_recipe("tiny", ["instrument.num_pix=32"]).detector.psf
    blurred = detector.model_copy(update={"supersampling": 3, "psf": coarse})
    assert DEFLECTIONS["fused"](systems, blurred).tobytes() == found.tobytes()
    dark = replace(systems, source=())
    assert DEFLECTIONS["fused"](dark, detector).tobytes() == found.tobytes()


def test_nothing_deflects_nothing() -> None:
    recipe = recipe_of("none")
    systems = LensBatch(2, (), draw(recipe, np.arange(2)).systems.source)
    for engine in DEFLECTIONS:
        assert not DEFLECTIONS[engine](systems, recipe.detector).any()


def test_a_convention_of_deflection_is_in_it() -> None:
    plain = load_recipe("model_ii", ["products=[deflection]", "deflection_convention=null"])
    scaled = load_recipe("model_ii", ["products=[deflection]"])
    ids = np.array([0])
    ratio = render(scaled, ids).maps["deflection"] / render(plain, ids).maps["deflection"]
    # shear about the origin and the main lens all shrink alike
    assert ratio.min() == pytest.approx(ratio.max(), rel=1e-3)
    assert 0.6 < ratio.mean() < 0.65
