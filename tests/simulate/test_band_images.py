"""Several bands of one lens, several components of light, and images divided by their maximum."""

from typing import Any

import numpy as np
import pytest

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from simulate.draw import draw
from simulate.render import noise_free, render, through_lenstronomy

IDS = np.arange(6)
# a survey refuses vortices that are longer than the field
SMALL = "instrument.num_pix=20"
SHORT = "classes.vortex.substructure.half_length_at_1e22_arcsec=0.01"
FIRST = "{magnitude: 18, R_sersic: 0.4, n_sersic: 2, center_x: 0.2}"
TWO = f"[{FIRST}, {{magnitude: 19, R_sersic: 0.8, n_sersic: 1%s}}]"


def loaded(*overrides: str) -> DatasetRecipe:
    return load_recipe("tiny", [SMALL, SHORT, *overrides])


def test_one_band_is_the_image_without_bands() -> None:
    plain, named = render(loaded(), IDS), render(loaded("bands=[VIS]"), IDS)
    for name, array in plain.arrays().items():
        assert array.tobytes() == named.arrays()[name].tobytes(), name


def test_a_first_band_is_what_it_would_be_alone() -> None:
    both = render(loaded("bands=[g, r]", "noise={kind: detector}"), IDS).image
    alone = render(loaded("noise={kind: detector}"), IDS).image
    assert both.shape == (6, 2, 20, 20)
    assert both[:, :1].tobytes() == alone.tobytes()


NOISE = {
    "detector": "{kind: detector}",
    "model_i": "{kind: model_i, exposure_time_s: 1000, background_rms: 1}",
}


@pytest.mark.parametrize("kind", NOISE)
def test_each_band_has_noise_of_its_own(kind: str) -> None:
    recipe = loaded("bands=[g, r, i]", f"noise={NOISE[kind]}")
    ids = np.arange(60)
    model = noise_free(recipe, draw(recipe, ids))[:, None]
    deviation = render(recipe, ids).image.astype(np.float64) - model * (1000 if kind == "model_i" else 1)
    by_band = deviation.transpose(1, 0, 2, 3)
    # of each pixel's place: clipped counts are above the model wherever it is dark
    signs = np.sign(by_band - np.median(by_band, axis=1, keepdims=True)).reshape(3, -1)
    # 24,000 pixels: a standard deviation of .0065
    assert np.abs(np.corrcoef(signs) - np.eye(3)).max() < 0.03


def test_noise_of_later_bands_is_not_that_of_another_purpose() -> None:
    recipe = loaded("bands=[a, b, c, d, e, f]", "source.magnitude=40", "noise={kind: detector}")
    image = render(recipe, np.arange(30)).image.astype(np.float64)
    correlation = np.corrcoef(image.transpose(1, 0, 2, 3).reshape(6, -1))
    assert np.abs(correlation - np.eye(6)).max() < 0.04


def test_a_magnitude_by_band_scales_the_band() -> None:
    recipe = loaded("bands=[g, r, i]", "source.magnitude={g: 22, r: 19, i: 18}", "noise={kind: none}")
    image = render(recipe, IDS).image.astype(np.float64)
    np.testing.assert_allclose(image[:, 1], image[:, 0] * 10 ** (0.4 * 3), rtol=1e-6)
    np.testing.assert_allclose(image[:, 2], image[:, 0] * 10 ** (0.4 * 4), rtol=1e-6)


def test_a_band_sees_through_its_own_instrument() -> None:
    said = "bands=[{name: g, magnitude_zero_point: 24}, {name: r, psf: {kind: none}}, i]"
    recipe = loaded(said, "noise={kind: none}")
    image = render(recipe, IDS).image
    plain = render(loaded("noise={kind: none}"), IDS).image[:, 0]
    zero_point = load_recipe("tiny").detector.magnitude_zero_point
    np.testing.assert_allclose(image[:, 0], plain * 10 ** (0.4 * (24 - zero_point)), rtol=1e-6)
    sharp = render(loaded("noise={kind: none}", *_without_psf()), IDS).image[:, 0]
    assert image[:, 1].tobytes() == sharp.tobytes()
    assert image[:, 2].tobytes() == plain.tobytes()


def _without_psf() -> list[str]:
    detector = load_recipe("tiny", [SMALL, SHORT]).detector
    return [f"instrument={detector.model_dump_json()}", "instrument.psf={kind: none}"]


def test_an_exposure_of_a_band_is_its_own() -> None:
    said = "bands=[g, {name: r, exposure_time_s: 1e9, read_noise_e: 0}]"
    recipe = loaded(said, "noise={kind: detector}")
    image = render(recipe, IDS).image
    model = noise_free(recipe, draw(recipe, IDS))
    assert np.abs(image[:, 1] - model).max() < 0.02 * np.abs(image[:, 0] - model).max()


@pytest.mark.parametrize("what", ["source", "lens_light"])
@pytest.mark.parametrize("engine", ["fused", "lenstronomy"])
def test_components_add_up_each_at_its_place(bare_image: Any, what: str, engine: str) -> None:
    both = bare_image(f"{what}={TWO % ', center_y: -0.3'}", f"engine={engine}")
    first, second = (
        bare_image(f"{what}={one}", f"engine={engine}")
        for one in (
            FIRST,
            "{magnitude: 19, R_sersic: 0.8, n_sersic: 1, center_x: 0.2, center_y: -0.3}",
        )
    )
    nothing = bare_image(f"engine={engine}") if what == "lens_light" else 0.0
    np.testing.assert_allclose(both, first + second - nothing, rtol=1e-9, atol=1e-12 * both.max())


def test_components_are_concentric_unless_told(tiny: DatasetRecipe) -> None:
    systems = draw(load_recipe("tiny", [f"lens_light={TWO % ''}"]), IDS).systems
    first, second = systems.lens_light
    for name in ("center_x", "center_y"):
        np.testing.assert_array_equal(first.parameters[name], second.parameters[name])
    assert (first.parameters["center_x"] == 0.2).all()


def test_more_components_leave_other_parameters_as_they_are() -> None:
    source = "{magnitude: {kind: uniform, low: 20, high: 22}, R_sersic: 0.2, n_sersic: 1}"
    plain = draw(loaded(f"source={source}"), IDS)
    clumpy = draw(loaded(f"source=[{source}, {source}]"), IDS)
    for name, values in plain.columns.items():
        if (
            len(np.unique(values)) > 1
            and "subhalo" not in name
            and "vortex" not in name
            and "axion" not in name
        ):
            np.testing.assert_array_equal(values, clumpy.columns[name], err_msg=name)
    assert (clumpy.columns["source_2_magnitude"] != clumpy.columns["source_magnitude"]).all()


def test_systems_without_a_kernel_are_rendered_in_each_band() -> None:
    # a multipole is lenstronomy's
    said = (
        "bands=[g, {name: r, psf: {kind: none}}]",
        "source.magnitude={g: 22, r: 20}",
        "noise={kind: none}",
        "multipole={m: 4, a_m: 0.02}",
    )
    recipe = loaded(*said)
    assert through_lenstronomy(recipe) == ("MULTIPOLE",)
    ours, theirs = (render(loaded(*said, f"engine={one}"), IDS).image for one in ("fused", "lenstronomy"))
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * theirs.max(), rtol=1e-6)
    assert (ours[:, 1].max(axis=(1, 2)) > 4 * ours[:, 0].max(axis=(1, 2))).all()


def test_images_divided_by_their_maximum() -> None:
    said = ["bands=[g, r, i]", "source.magnitude={g: 22, r: 19, i: 18}", "noise={kind: detector}"]
    plain = render(loaded(*said), IDS).image
    image = render(loaded(*said, "normalisation=clipped_maximum", "image_factor=2"), IDS).image
    assert image.dtype == np.float32
    assert (image.max(axis=(1, 2, 3)) == 1).all()
    assert (image >= 0).all()
    expected = plain.clip(min=0) / plain.max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(image, expected, rtol=1e-6)
    assert (plain < 0).any()


def test_a_dark_image_stays_dark() -> None:
    recipe = loaded(
        "normalisation=clipped_maximum",
        "source={amp: 1e-300, R_sersic: 0.1, n_sersic: 1}",
        "noise={kind: none}",
    )
    assert not render(recipe, IDS).image.any()
