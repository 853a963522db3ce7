"""Galaxies as sources: the pixels of a file on the sky, as lenstronomy shows them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.catalogue import load_recipe
from flows.galaxies import galaxies_of
from schemas.dataset import SPLITS, DatasetRecipe
from schemas.errors import RecipeError
from schemas.instrument import NoPSF
from simulate.draw import draw
from simulate.engines import render_bands
from simulate.galaxies import with_images
from simulate.render import render
from storage.importing.galaxy_file import GalaxyFile
from tests.galaxies import load_shipped

IDS = np.arange(9)
SMALL = ("instrument.num_pix=24", "noise={kind: none}", "normalisation=null")
# no mass, no other light
BARE = (
    *SMALL,
    "main_lens.theta_E=1e-9",
    "shear={gamma1: 0, gamma2: 0}",
    "lens_light=null",
    "instrument.psf={kind: none}",
    "deflection_convention=null",
    "classes=[{name: no_sub, label: 0, substructure: {kind: none}}]",
)
CENTRED = ("source.center_x=0", "source.center_y=0")


def loaded(*overrides: str) -> DatasetRecipe:
    return load_shipped("model_iv", *overrides)


def rendered(
    recipe: DatasetRecipe, ids: NDArray[np.int64] = IDS, galaxies: Any = None
) -> NDArray[np.float32]:
    return render(recipe, ids, galaxies or galaxies_of(recipe)).image


def one_galaxy(image: NDArray[np.uint8]) -> Any:
    """In place of a file: every galaxy looks like this one."""
    return lambda numbers: np.broadcast_to(image, (len(numbers), *image.shape))


INSTRUMENTS = {
    "as it is": [],
    "on a fine grid": ["instrument.supersampling=3"],
    "no PSF": ["instrument.psf={kind: none}"],
    "a PSF for each band": [
        "bands=[{name: g, psf: {kind: gaussian, fwhm_arcsec: 0.4}}, {name: r, psf: {kind: none}}, i]"
    ],
    "a kernel in one band": [
        "bands=[g, {name: r, psf: {kind: kernel, values: [[0, 0.1, 0], [0.1, 0.6, 0.1], [0, 0.1, 0]]}}, i]"
    ],
    "large pixels": ["source.scale_arcsec=0.05"],
}


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_our_kernel_shows_what_lenstronomy_shows(instrument: str) -> None:
    recipe = loaded(*SMALL, *INSTRUMENTS[instrument], "classes.cdm.substructure.f_sub=0.005")
    drawn = with_images(recipe, draw(recipe, IDS), galaxies_of(recipe))
    assert len(np.unique(drawn.columns["galaxy_index"])) > 3
    images = {
        engine: render_bands(engine, drawn.bands, recipe.detectors)
        for engine in ("fused_exact", "lenstronomy")
    }
    peak = images["lenstronomy"].max(axis=(2, 3))
    off = np.abs(images["fused_exact"] - images["lenstronomy"]).max(axis=(2, 3))
    assert (off < 1e-10 * peak).all()


def test_bands_rendered_together_are_those_rendered_alone() -> None:
    recipe = loaded(*SMALL)
    drawn = with_images(recipe, draw(recipe, IDS), galaxies_of(recipe))
    together = render_bands("fused", drawn.bands, recipe.detectors)
    for band, (systems, detector) in enumerate(zip(drawn.bands, recipe.detectors, strict=True)):
        alone = render_bands("fused", [systems], [detector])
        assert together[:, band].tobytes() == alone[:, 0].tobytes()


def test_the_flux_is_that_of_the_magnitude() -> None:
    # every pixel of the galaxy is met several times
    recipe = loaded(*BARE, *CENTRED, "source.scale_arcsec=0.015", "instrument.supersampling=5")
    flux = rendered(recipe).sum(axis=(2, 3))
    expected = [10 ** (-0.4 * (magnitude - 25.72)) for magnitude in (22, 19, 18)]
    np.testing.assert_allclose(flux / expected, 1, rtol=0.02)


def test_columns_go_right_and_rows_up_and_angles_anticlockwise() -> None:
    image = np.zeros((24, 24, 3), np.uint8)
    image[12, 20] = 200
    scale = ("source.scale_arcsec=0.101", "source.sky_corner_pixels=0")
    brightest = {}
    for name, turn in (("plain", 0.0), ("turned", np.pi / 2)):
        recipe = loaded(*BARE, *CENTRED, *scale, f"source.phi_G={turn}")
        found = rendered(recipe, IDS[:1], one_galaxy(image))[0, 0]
        brightest[name] = tuple(int(one) for one in np.unravel_index(found.argmax(), found.shape))
    assert brightest == {"plain": (12, 20), "turned": (20, 11)}


def test_a_centre_moves_the_galaxy() -> None:
    plain, moved = (
        rendered(loaded(*BARE, f"source.center_x={x}", "source.center_y=0"))[0, 0] for x in (0, 0.505)
    )
    np.testing.assert_allclose(moved[:, 5:], plain[:, :-5], atol=1e-6 * plain.max())


def test_each_system_shows_its_own_galaxy_in_its_own_colour() -> None:
    recipe = loaded(
        *BARE, *CENTRED, "source.scale_arcsec=0.101", "source.phi_G=0", "source.sky_corner_pixels=0"
    )
    flat = {number: np.full((24, 24, 3), 10, np.uint8) for number in recipe.source.galaxies}  # type: ignore[union-attr]
    for number, image in flat.items():
        for colour in range(3):
            image[3 + number, 4 + colour, colour] = 250
    drawn = render(recipe, np.arange(30), lambda numbers: np.stack([flat[n] for n in numbers.tolist()]))
    index = draw(recipe, np.arange(30)).columns["galaxy_index"].astype(int)
    assert len(set(index.tolist())) > 5
    for image, number in zip(drawn.image, index, strict=True):
        for colour in range(3):
            row, column = np.unravel_index(image[colour].argmax(), image[colour].shape)
            assert (row, column) == (3 + number, 4 + colour)


def test_sky_is_taken_off() -> None:
    image = np.full((24, 24, 3), 7, np.uint8)
    image[10:14, 10:14] = 107
    settings = (*BARE, *CENTRED, "source.scale_arcsec=0.101", "source.phi_G=0")
    with_sky, without = (
        rendered(loaded(*settings, f"source.sky_corner_pixels={n}"), IDS[:1], one_galaxy(image))[0, 0]
        for n in (0, 5)
    )
    assert with_sky[0, 0] == pytest.approx(7 / 107 * with_sky[11, 11], rel=1e-5)
    assert without[0, 0] == 0
    assert without[11, 11] > 1.5 * with_sky[11, 11]


def test_a_galaxy_without_light_is_refused_by_its_number() -> None:
    recipe = loaded(*BARE)
    dark = one_galaxy(np.full((60, 60, 3), 9, np.uint8))
    number = int(draw(recipe, IDS).columns["galaxy_index"].min())
    with pytest.raises(RecipeError, match=f"galaxy {number} has no light in colour 0"):
        render(recipe, IDS, dark)


def test_rendering_needs_to_be_given_the_galaxies() -> None:
    with pytest.raises(TypeError, match="galaxies_of"):
        render(loaded(), IDS)


def test_a_sample_does_not_depend_on_those_beside_it() -> None:
    recipe = loaded("instrument.num_pix=24")
    together = rendered(recipe, np.arange(12))
    assert rendered(recipe, np.array([7])).tobytes() == together[7:8].tobytes()
    assert rendered(recipe, np.arange(12)[::-1].copy())[::-1].tobytes() == together.tobytes()


def test_galaxies_are_drawn_evenly_and_whatever_the_split() -> None:
    recipe = loaded()
    ids = np.arange(30_000)
    index = draw(recipe, ids).columns["galaxy_index"]
    numbers, counts = np.unique(index, return_counts=True)
    assert numbers.tolist() == list(recipe.source.galaxies)  # type: ignore[union-attr, arg-type]
    assert np.abs(counts / counts.mean() - 1).max() < 0.07
    splits = recipe.split_positions(ids)
    assert all(set(index[splits == split]) == set(numbers) for split in range(3))


def test_splits_can_have_galaxies_of_their_own() -> None:
    recipe = loaded("source.own_galaxies_per_split=true", "splits={train: 0.5, val: 0.25, test: 0.25}")
    plain = loaded("splits={train: 0.5, val: 0.25, test: 0.25}")
    ids = np.arange(3000)
    drawn, without = draw(recipe, ids).columns, draw(plain, ids).columns
    splits = recipe.split_positions(ids)
    seen = [set(drawn["galaxy_index"][splits == split].astype(int).tolist()) for split in range(len(SPLITS))]
    assert sum(map(len, seen)) == len(set.union(*seen)) == len(recipe.source.galaxies) == 7  # type: ignore[arg-type, union-attr]
    assert [len(one) for one in seen] == [3, 2, 2]
    for name, values in without.items():
        if name != "galaxy_index":
            np.testing.assert_array_equal(values, drawn[name], err_msg=name)
    assert recipe.digest != plain.digest


def test_detectability_of_a_galaxy_in_one_band() -> None:
    recipe = loaded(
        *SMALL[:1],
        "normalisation=null",
        "bands=[r]",
        "source.magnitude=20",
        "lens_light=null",
        "detectability=[test]",
        "instrument.supersampling=2",
        "source.scale_arcsec=0.02",
    )
    assert isinstance(galaxies_of(recipe), GalaxyFile)
    ids = np.flatnonzero(recipe.split_positions(np.arange(90)) == 2)
    found = render(recipe, ids, galaxies_of(recipe))
    signal = found.params[:, -1]
    assert (signal[found.label == 0] == 0).all()
    assert (signal[found.label == 2] > 1).all()


def test_detectability_of_one_band_is_through_its_own_instrument() -> None:
    ids = np.arange(6)
    plain = ("noise={kind: detector}", "detectability=[train, val, test]", "instrument.num_pix=32")
    detector = load_recipe("tiny", plain).detector
    said = [*plain, "bands=[{name: r, exposure_time_s: 50000, psf: {kind: none}}]"]
    meant = f"instrument={detector.model_copy(update={'exposure_time_s': 50000.0, 'psf': NoPSF()}).to_json()}"
    band, alone = (render(load_recipe("tiny", one), ids).params[:, -1] for one in (said, [*plain, meant]))
    np.testing.assert_array_equal(band, alone)
    assert (band != render(load_recipe("tiny", plain), ids).params[:, -1]).any()
