"""Several bands and several components of light: what may be said, what is refused, what stays as it was."""

import json
from typing import Any

import pytest

from schemas.columns import columns_of
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError

BANDS = "bands=[g, r, i]"
BY_BAND = "source.magnitude={g: 22, r: {kind: uniform, low: 19, high: 20}, i: 18}"
ONE = "{magnitude: 17, R_sersic: 0.4, n_sersic: 2.3}"
OTHER = "{magnitude: 28, R_sersic: 1.5, n_sersic: 1.2, e2: 0.3}"
TWO = f"lens_light=[{ONE}, {OTHER}]"
CLUMPS = f"source=[{ONE}, {OTHER}, {OTHER}]"

ACCEPTED = [
    [BANDS],
    [BANDS, BY_BAND],
    ["bands=[VIS]"],
    ["bands=[{name: g, exposure_time_s: 300, psf: {kind: gaussian, fwhm_arcsec: 0.2}}, r]"],
    ["bands=[{name: g, psf: {kind: kernel, values: [[0, 0, 0], [0, 1, 0], [0, 0, 0]]}}]"],
    [TWO],
    [CLUMPS],
    [BANDS, f"lens_light=[{{magnitude: {{g: 17, r: 18, i: 19}}, R_sersic: 1, n_sersic: 4}}, {OTHER}]"],
    ["normalisation=clipped_maximum"],
]


@pytest.mark.parametrize("said", ACCEPTED)
def test_what_may_be_said_survives_json_with_its_digest(read: Any, small_text: str, said: list[str]) -> None:
    recipe = read(small_text, said)
    again = DatasetRecipe.model_validate_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.digest == recipe.digest != read(small_text).digest
    assert read(json.dumps(recipe.model_dump(mode="json"))) == recipe


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "no band": (["bands=[]"], ["bands: there are 0 bands", "1 to 16"]),
    "a band twice": (["bands=[g, r, g]"], ["bands repeat the name g"]),
    "a band called as a key of priors": (["bands=[low]"], ["'low' is no name for a band"]),
    "a band with a space": (["bands=[a b]"], ["'a b' is no name for a band"]),
    "an unknown number of a band": (["bands=[{name: g, seeing: 1}]"], ["bands.g.seeing: unknown key"]),
    "a band's number out of range": (["bands=[{name: g, exposure_time_s: 0}]"], ["bands.g.exposure_time_s"]),
    "a band's kernel on no grid": (
        ["bands=[{name: r, psf: {kind: kernel, values: [[1]], sampling: 3}}]"],
        ["band r: psf.sampling is 3", "supersampling"],
    ),
    "a magnitude missing": (
        ["bands=[g, r, i, z]", BY_BAND],
        ["source.magnitude lacks z", "each of g, r, i, z"],
    ),
    "a magnitude too many": (["bands=[g, r]", BY_BAND], ["source.magnitude has i, which is no band"]),
    "magnitudes without bands": ([BY_BAND], ["the recipe has no bands", "'g', 'r', 'i'"]),
    "a magnitude of no size": ([BANDS, "source.magnitude={}"], ["source.magnitude"]),
    "a magnitude out of bounds": ([BANDS, BY_BAND, "source.magnitude.r=41"], ["source.magnitude.r: 41 mag"]),
    "a prior without kind": (["source.magnitude={low: 1, high: 30}"], ["source.magnitude", "'kind'"]),
    "no component": (["lens_light=[]"], ["lens_light: there are 0 components"]),
    "a fault in the second component": (
        [f"lens_light=[{ONE}, {{magnitude: 20, R_sersic: 1, n_sersi: 4}}]"],
        ["lens_light.1.n_sersic: missing", "lens_light.1.n_sersi: unknown key"],
    ),
    "a magnitude missing in a component": (
        [BANDS, f"lens_light=[{ONE}, {{magnitude: {{g: 20}}, R_sersic: 1, n_sersic: 4}}]"],
        ["lens_light.1.magnitude lacks r, i"],
    ),
    "detectability in several bands": (
        [BANDS, "noise={kind: detector}", "detectability=[test]"],
        ["detectability is measured in one band"],
    ),
    "an unknown normalisation": (["normalisation=peak"], ["normalisation", "'clipped_maximum'"]),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_refused_says_why(read: Any, small_text: str, fault: str) -> None:
    said, words = REFUSED[fault]
    with pytest.raises(RecipeError) as caught:
        read(small_text, said)
    for word in words:
        assert word in str(caught.value)


def test_a_default_that_follows_from_what_is_wrong_is_no_fault(read: Any, small_text: str) -> None:
    text = small_text.replace("compensate_mass: false\n", "")
    with pytest.raises(RecipeError, match="1 fault in"):
        read(text, ["source.e3=1"])


def test_spelling_does_not_matter(read: Any, small_text: str) -> None:
    assert read(small_text, [f"lens_light=[{ONE}]"]) == read(small_text, [f"lens_light={ONE}"])
    named = read(small_text, ["bands=[{name: g}, {name: r}]"])
    assert named == read(small_text, ["bands=[g, r]"])
    # said of every band, or once of the instrument
    by_band = "bands=[{name: g, read_noise_e: 4}, {name: r, read_noise_e: 4}]"
    both = read(small_text, ["bands=[g, r]", "instrument.read_noise_e=4"])
    assert read(small_text, [by_band, "instrument.read_noise_e=4"]).digest == both.digest != named.digest


def test_order_and_names_of_bands_matter(read: Any, small_text: str) -> None:
    digests = {read(small_text, [f"bands={bands}"]).digest for bands in ("[g, r]", "[r, g]", "[g, i]", "[g]")}
    assert len(digests) == 4


def test_each_band_and_component_has_columns_of_its_own(read: Any, small_text: str) -> None:
    columns = {one.name: one for one in columns_of(read(small_text, [BANDS, BY_BAND, TWO]))}
    plain = [one.name for one in columns_of(read(small_text))]
    light = [f"lens_light_{k}{name}" for k in ("", "2_") for name in ("magnitude", "R_sersic", "center_x")]
    assert {"source_magnitude_g", "source_magnitude_r", "source_magnitude_i", *light} <= set(columns)
    assert set(plain) - set(columns) == {"source_magnitude"}
    assert columns["source_magnitude_r"].description.endswith("before lensing, band r")
    assert columns["lens_light_2_center_x"].description == (
        "lens light 2: centre, to the right, from that of the first"
    )
    assert columns["lens_light_center_x"].description == "lens light: centre, to the right"


def test_later_components_come_after_all_others(read: Any, small_text: str) -> None:
    shared = [one.name for one in columns_of(read(small_text)) if len(one.labels) == 2]
    clumps = [one.name for one in columns_of(read(small_text, [CLUMPS])) if len(one.labels) == 2]
    assert clumps[: len(shared)] == shared
    assert [name for name in clumps if name.endswith("magnitude")] == [
        "source_magnitude",
        "source_2_magnitude",
        "source_3_magnitude",
    ]


def test_numbers_of_a_band_take_the_place_of_the_instrument(read: Any, small_text: str) -> None:
    said = "bands=[{name: g, exposure_time_s: 300, psf: {kind: none}}, r]"
    recipe = read(small_text, [said])
    first, second = recipe.detectors
    assert second == recipe.detector
    assert (first.exposure_time_s, first.psf.kind) == (300, "none")
    assert first.model_copy(update={"exposure_time_s": 1000.0, "psf": second.psf}) == second
