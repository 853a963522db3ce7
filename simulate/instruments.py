"""Instruments by name, from lenstronomy's observation configurations.

A preset is replaced by its numbers before a recipe is digested or stored: what lenstronomy says of a
telescope changes between its releases, a data set must not.
"""

from collections.abc import Callable
from typing import Any

from lenstronomy.SimulationAPI.ObservationConfig.Euclid import Euclid
from lenstronomy.SimulationAPI.ObservationConfig.HST import HST

from schemas.dataset import DatasetRecipe
from schemas.instrument import Detector, GaussianPSF, Preset
from schemas.registry import Registry

PRESETS: Registry[Callable[[], dict[str, Any]]] = Registry("instrument")


@PRESETS.register("euclid_vis")
def _euclid_vis() -> dict[str, Any]:
    # Euclid Wide Survey; the sources are cited in lenstronomy's ObservationConfig.Euclid
    return dict(Euclid(band="VIS", psf_type="GAUSSIAN", coadd_years=6).kwargs_single_band())


@PRESETS.register("hst_wfc3_f160w")
def _hst_wfc3_f160w() -> dict[str, Any]:
    # drizzled WFC3/IR; the sources are cited in lenstronomy's ObservationConfig.HST
    return dict(HST(band="WFC3_F160W", psf_type="GAUSSIAN").kwargs_single_band())


def detector_of(preset: Preset) -> Detector:
    """The numbers behind a preset."""
    band = PRESETS[preset.name]()
    return Detector(
        num_pix=preset.num_pix,
        pixel_scale_arcsec=float(band["pixel_scale"]),
        psf=GaussianPSF(fwhm_arcsec=float(band["seeing"]), truncate=5.0),
        supersampling=preset.supersampling,
        magnitude_zero_point=float(band["magnitude_zero_point"]),
        exposure_time_s=float(band["exposure_time"]),
        num_exposures=int(band["num_exposures"]),
        read_noise_e=float(band["read_noise"]),
        sky_brightness_mag_arcsec2=float(band["sky_brightness"]),
    )


def resolve(recipe: DatasetRecipe) -> DatasetRecipe:
    """The recipe with its instrument by numbers."""
    if isinstance(recipe.instrument, Preset):
        return recipe.model_copy(update={"instrument": detector_of(recipe.instrument)})
    return recipe
