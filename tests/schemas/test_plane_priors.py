"""Parameters that are drawn together: what a recipe may say, and what it may not."""

import json
from typing import Any

import pytest

from schemas.columns import columns_of
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError

NORMAL = "{kind: isotropic_normal, sigma: 0.1, max_modulus: %s}"
SHEAR = "shear={gamma: {kind: polar, modulus: {kind: uniform, low: 0, high: 0.1}, angle: 0.3}}"

ACCEPTED = [
    f"main_lens.ellipticity={NORMAL % 0.35}",
    f"main_lens.center={NORMAL % 0.2}",
    "main_lens.center={kind: disc, radius: 0.1}",
    SHEAR,
    f"source.ellipticity={NORMAL % 0.5}",
    "source.center={kind: around_lens, radius_theta_E: 0.5}",
    "source.center={kind: disc, radius: 0.5}",
    "lens_light={magnitude: 19, R_sersic: 0.4, n_sersic: 3, center: {kind: around_lens, radius_theta_E: 0}}",
]


@pytest.mark.parametrize("said", ACCEPTED)
def test_what_may_be_said_survives_json_and_changes_the_digest(read: Any, small_text: str, said: str) -> None:
    recipe = read(small_text, [said])
    again = DatasetRecipe.model_validate_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.digest == recipe.digest != read(small_text).digest
    assert read(json.dumps(recipe.model_dump(mode="json"))) == recipe


def test_columns_are_those_of_the_two_parameters(read: Any, small_text: str) -> None:
    assert columns_of(read(small_text, ACCEPTED[:1])) == columns_of(read(small_text))


def test_a_recipe_without_them_does_not_tell_of_them(read: Any, small_text: str) -> None:
    told = json.loads(read(small_text).physics_json)
    assert not {"ellipticity", "center", "gamma"} & {*told["main_lens"], *told["shear"], *told["source"]}
    told = json.loads(read(small_text, [SHEAR]).physics_json)
    assert told["shear"]["gamma"]["modulus"] == {"kind": "uniform", "low": 0.0, "high": 0.1}
    assert "ellipticity" not in told["main_lens"]


REFUSED = {
    "too flat": (f"main_lens.ellipticity={NORMAL % 0.91}", ["can reach 0.91", "<= 0.9"]),
    "both ways": (
        f"main_lens={{theta_E: 1, e2: 0.1, ellipticity: {NORMAL % 0.3}}}",
        ["ellipticity draws e1 and e2: leave out e2"],
    ),
    "a place twice": (
        "source={magnitude: 20, R_sersic: 0.2, n_sersic: 1, center_x: 0.1, center_y: 0.1,"
        " center: {kind: disc, radius: 1}}",
        ["leave out center_x and center_y"],
    ),
    "too strong a shear": ("shear={gamma: {kind: polar, modulus: 0.6}}", ["sqrt(gamma1^2 + gamma2^2)"]),
    "an unbounded modulus": (
        "shear={gamma: {kind: polar, modulus: {kind: normal, mean: 0.1, sigma: 0.1, low: 0}}}",
        ["can reach inf"],
    ),
    "a negative modulus": ("shear={gamma: {kind: polar, modulus: -0.1}}", ["must not be negative"]),
    "a lens around itself": (
        "main_lens.center={kind: around_lens, radius_theta_E: 1}",
        ["main_lens.center", "around_lens"],
    ),
    "an ellipticity in a disc": ("source.ellipticity={kind: disc, radius: 0.1}", ["'disc'"]),
    "an unknown prior": ("source.center={kind: square, radius: 0.1}", ["'square'", "'around_lens'"]),
    "a place off the sky": (
        "main_lens.theta_E=3|source.center={kind: around_lens, radius_theta_E: 4}",
        ["source.center can be 12 arcsec off", "<= 10"],
    ),
    "a place off the sky with its lens": (
        "main_lens={theta_E: 1, center: {kind: disc, radius: 9.5}}"
        "|source.center={kind: around_lens, radius_theta_E: 1}",
        ["source.center can be 10.5 arcsec off"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why(read: Any, small_text: str, case: str) -> None:
    said, words = REFUSED[case]
    with pytest.raises(RecipeError) as caught:
        read(small_text, said.split("|"))
    for word in words:
        assert word in str(caught.value)
