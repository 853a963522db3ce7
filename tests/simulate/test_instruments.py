"""Presets, and the names that schema and registries share."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from lenstronomy.SimulationAPI.sim_api import SimAPI

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from schemas.instrument import Preset
from simulate.engines import ENGINES
from simulate.instruments import PRESETS, detector_of, resolve
from simulate.noise import background_rms


@pytest.mark.parametrize(("preset", "recipe"), [("euclid_vis", "model_ii"), ("hst_wfc3_f160w", "model_iii")])
def test_presets_are_the_instruments_of_the_replicas(preset: str, recipe: str) -> None:
    assert detector_of(Preset.model_validate({"name": preset, "num_pix": 64})) == load_recipe(recipe).detector


# electrons per second and pixel
BACKGROUND = {
    "euclid_vis": 0.010904381528349648,
    "hst_wfc3_f160w": 0.005919973387690838,
    "hst_acs_f814w": 0.008681785605888356,
    "jwst_nircam_f115w": 0.02169541468601962,
    "rubin_i": 0.0763715803119164,
    "roman_f129": 0.03832892014648087,
}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_background_of_a_preset_is_lenstronomys(preset: str) -> None:
    band = {"ccd_gain": 1.0, "psf_type": "GAUSSIAN", **PRESETS[preset]()}
    detector = detector_of(Preset.model_validate({"name": preset}))
    assert background_rms(detector) == pytest.approx(SimAPI(64, band, {}).background_noise, rel=1e-12)
    assert background_rms(detector) == pytest.approx(BACKGROUND[preset], rel=1e-12)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_documents_have_the_numbers_of_a_preset(preset: str) -> None:
    found = detector_of(Preset.model_validate({"name": preset}))
    background, zero_point = background_rms(found), found.magnitude_zero_point
    depth = zero_point - 2.5 * np.log10(5 * background / found.pixel_scale_arcsec)
    cells = [
        f"`{preset}`",
        f"{found.pixel_scale_arcsec:g}",
        f"{found.psf.fwhm_arcsec:g}",
        f"{zero_point:.2f}",
        f"{found.num_exposures} x {found.exposure_time_s:g}",
        f"{background:.4f}",
        f"{depth:.1f}",
    ]
    assert f"| {' | '.join(cells)} |" in (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()


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
