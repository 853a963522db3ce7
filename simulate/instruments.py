"""Instruments by name: from lenstronomy's observation configurations, else with their sources.

A preset is replaced by its numbers before a recipe is digested or stored: what lenstronomy says of a
telescope changes between its releases, a data set must not.
"""

from collections.abc import Callable
from typing import Any

from lenstronomy.SimulationAPI.ObservationConfig.Euclid import Euclid
from lenstronomy.SimulationAPI.ObservationConfig.HST import HST
from lenstronomy.SimulationAPI.ObservationConfig.JWST import JWST
from lenstronomy.SimulationAPI.ObservationConfig.LSST import LSST
from lenstronomy.SimulationAPI.ObservationConfig.Roman import Roman

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


@PRESETS.register("hst_acs_f814w")
def _hst_acs_f814w() -> dict[str, Any]:
    # One orbit of COSMOS: pixels of the camera and FWHM from Scoville et al. 2007, ApJS 172, 38; exposures
    # from Koekemoer et al. 2007, ApJS 172, 196; zero point (AB) from STScI's tables of ACS; read noise, and
    # a usual sky of 0.1 electrons per second and pixel, from the ACS Instrument Handbook
    return {
        "pixel_scale": 0.05,
        "seeing": 0.09,
        "magnitude_zero_point": 25.943,
        "exposure_time": 507.0,
        "num_exposures": 4,
        "read_noise": 5.0,
        "sky_brightness": 21.9,
    }


@PRESETS.register("jwst_nircam_f115w")
def _jwst_nircam_f115w() -> dict[str, Any]:
    # COSMOS-Web; the sources are cited in lenstronomy's ObservationConfig.JWST
    return dict(JWST(band="F115W", psf_type="GAUSSIAN").kwargs_single_band())


@PRESETS.register("rubin_i")
def _rubin_i() -> dict[str, Any]:
    # ten years of LSST; the sources are cited in lenstronomy's ObservationConfig.LSST
    return dict(LSST(band="i", psf_type="GAUSSIAN", coadd_years=10).kwargs_single_band())


@PRESETS.register("roman_f129")
def _roman_f129() -> dict[str, Any]:
    # medium tier of the wide survey; the sources are cited in lenstronomy's ObservationConfig.Roman
    return dict(Roman(band="F129", psf_type="GAUSSIAN", survey_mode="wide_area").kwargs_single_band())


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
