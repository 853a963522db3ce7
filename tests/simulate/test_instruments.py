"""Presets, and the names that schema and registries share."""

from typing import get_args

import pytest

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from schemas.instrument import Preset
from simulate.engines import ENGINES
from simulate.instruments import PRESETS, detector_of, resolve


@pytest.mark.parametrize(("preset", "recipe"), [("euclid_vis", "model_ii"), ("hst_wfc3_f160w", "model_iii")])
def test_presets_are_the_instruments_of_the_replicas(preset: str, recipe: str) -> None:
    assert detector_of(Preset.model_validate({"name": preset, "num_pix": 64})) == load_recipe(recipe).detector


def test_a_preset_keeps_the_pixels_and_supersampling_of_the_recipe() -> None:
    detector = detector_of(Preset(name="euclid_vis", num_pix=48, supersampling=3))
    assert (detector.num_pix, detector.supersampling) == (48, 3)


def test_resolving_twice_changes_nothing() -> None:
    recipe = load_recipe("tiny")
    assert resolve(recipe) is recipe


def test_schema_presets_and_registered_presets_are_the_same() -> None:
    assert set(PRESETS) == set(get_args(Preset.model_fields["name"].annotation))


def test_schema_engines_and_registered_engines_are_the_same() -> None:
    assert set(ENGINES) == set(get_args(DatasetRecipe.model_fields["engine"].annotation))
