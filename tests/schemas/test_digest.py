"""The digest is of the physics: what changes the arrays changes it, and nothing else does."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from schemas.dataset import DatasetRecipe
from schemas.frozen import canonical_json, sha256_of
from simulate.instruments import resolve
from tests.strategies import recipes

# Of the small recipe in conftest.py. It changes only when every stored digest is meant to change.
GOLDEN = "883f2944a6c1375616a6720b6c952dffdb1d0c519ee890aed419ba15c4d226e6"


def test_the_digest_of_a_fixed_recipe_never_changes(read: Any, small_text: str) -> None:
    assert read(small_text).digest == GOLDEN


def test_the_digest_is_the_sha256_of_the_canonical_physics(read: Any, small_text: str) -> None:
    recipe = read(small_text)
    assert recipe.digest == sha256_of(recipe.physics_json)
    assert recipe.physics_json == canonical_json(json.loads(recipe.physics_json))


@pytest.mark.parametrize(
    "beside",
    [
        "name=other",
        "description=something else",
        "family=replica",
        "engine=lenstronomy",
        "storage={shard_images: 64}",
        "products=[noise_free, deflection]",
    ],
)
def test_what_changes_no_array_does_not_change_the_digest(read: Any, small_text: str, beside: str) -> None:
    assert read(small_text, [beside]).digest == read(small_text).digest


@pytest.mark.parametrize(
    "physics",
    [
        "seed=8",
        "samples_per_class=11",
        "splits.train=0.7|splits.test=0.3",
        "redshifts.z_source.high=2.1",
        "cosmology.H0=71",
        "mass_conversion.kind=luminosity_shortcut",
        "deflection_convention={z_source_convention: 2.5, cosmology: {}}",
        "main_lens.theta_E=1.3",
        "main_lens.e1=0.1",
        "source.R_sersic.kind=uniform",
        "source.n_sersic.weights=[1, 2]",
        "shear.gamma2=0.01",
        "instrument.num_pix=17",
        "instrument.supersampling=3",
        "instrument.psf={kind: none}",
        "noise={kind: detector}",
        "image_factor=2",
        "classes.cdm.substructure.count=4",
        "classes.cdm.name=other|classes.1.label=50",
    ],
)
def test_whatever_changes_an_array_changes_the_digest(read: Any, small_text: str, physics: str) -> None:
    assert read(small_text, physics.split("|")).digest != read(small_text).digest


def test_a_bare_number_is_a_fixed_prior(read: Any, small_text: str) -> None:
    fixed = read(small_text, ["source.magnitude={kind: fixed, value: 20}"])
    assert fixed == read(small_text)
    assert fixed.digest == read(small_text).digest


@pytest.mark.parametrize("number", ["20", "20.0", "2e1"])
def test_the_spelling_of_a_number_does_not_matter(read: Any, small_text: str, number: str) -> None:
    assert read(small_text, [f"source.magnitude={number}"]).digest == read(small_text).digest


def test_spelt_out_defaults_do_not_matter(read: Any, small_text: str) -> None:
    spelt = read(small_text, ["cosmology={H0: 70, Om0: 0.3}", "shear={gamma1: 0}", "noise={kind: none}"])
    assert spelt.digest == read(small_text).digest


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


def test_the_order_of_keys_does_not_matter(read: Any, small_text: str) -> None:
    recipe = read(small_text)
    backwards = json.dumps(_reversed(recipe.model_dump(mode="json")))
    assert DatasetRecipe.model_validate_json(backwards).digest == recipe.digest


@pytest.mark.parametrize("preset", ["euclid_vis", "hst_wfc3_f160w"])
def test_a_preset_has_the_digest_of_its_numbers(read: Any, small_text: str, preset: str) -> None:
    named = resolve(read(small_text, [f"instrument={{kind: preset, name: {preset}}}"]))
    spelt = read(small_text, [f"instrument={named.instrument.model_dump_json()}"])
    assert named.digest == spelt.digest


def test_a_preset_has_no_digest_before_it_is_resolved(read: Any, small_text: str) -> None:
    named = read(small_text, ["instrument={kind: preset, name: euclid_vis}"])
    with pytest.raises(TypeError, match="resolve it first"):
        _ = named.digest


@given(document=recipes())
@settings(max_examples=60, deadline=None)
def test_any_recipe_survives_json_with_its_digest(document: dict[str, Any]) -> None:
    recipe = DatasetRecipe.model_validate_json(json.dumps(document))
    for again in (
        DatasetRecipe.model_validate_json(recipe.to_json()),
        DatasetRecipe.model_validate_json(canonical_json(recipe.model_dump(mode="json"))),
    ):
        assert again == recipe
        assert again.digest == recipe.digest


def test_a_copy_with_another_seed_has_another_digest(read: Any, small_text: str) -> None:
    recipe = read(small_text)
    first = recipe.digest
    assert recipe.model_copy(update={"seed": 8}).digest != first
