"""The light of lens systems in one band, from the columns that describe it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas.bands import PerBand
from schemas.columns import numbered
from schemas.dataset import DatasetRecipe
from schemas.galaxy_image import GalaxyImage
from schemas.system import SersicEllipse
from simulate.batch import LensBatch, Light
from simulate.photometry import magnitude_to_flux, sersic_amplitude
from simulate.sources import in_state

Array = NDArray[np.float64]
Columns = dict[str, Array]
SOURCE, LENS_LIGHT = "source_", "lens_light_"
CENTRE = ("center_x", "center_y")
SHAPE = ("R_sersic", "n_sersic", "e1", "e2")


def with_light(recipe: DatasetRecipe, systems: LensBatch, columns: Columns, band: int) -> LensBatch:
    """The same masses with all light as one band sees it."""
    source, lens_light = numbered(SOURCE, recipe.sources), numbered(LENS_LIGHT, recipe.lens_lights)
    behind = [
        _galaxy(recipe, one, prefix, columns, band)
        if isinstance(one, GalaxyImage)
        else _sersic(recipe, one, prefix, columns, band)
        for prefix, one in source
    ]
    before = [_sersic(recipe, one, prefix, columns, band) for prefix, one in lens_light]
    # a source that is not lensed is seen where it is, like the light of the lens
    return replace(
        systems,
        source=_in_state("lensed", behind, columns),
        lens_light=(*before, *_in_state("unlensed", behind, columns)),
    )


def _in_state(state: str, lights: list[Light], columns: Columns) -> tuple[Light, ...]:
    return tuple(part for light in lights for part in in_state(light, columns, state))


def _sersic(recipe: DatasetRecipe, light: SersicEllipse, prefix: str, columns: Columns, band: int) -> Light:
    """One profile of every system."""
    shape = {name: columns[prefix + name] for name in SHAPE}
    amp = (
        columns[f"{prefix}amp"]
        if light.amp is not None
        else sersic_amplitude(
            _magnitude(recipe, light, prefix, columns, band),
            recipe.detectors[band].magnitude_zero_point,
            shape["R_sersic"],
            shape["n_sersic"],
        )
    )
    parameters = {"amp": amp, **shape, **_centre(prefix, columns)}
    return Light(light.kind, np.arange(len(amp)), parameters)


def _galaxy(recipe: DatasetRecipe, light: GalaxyImage, prefix: str, columns: Columns, band: int) -> Light:
    """An image of every system, with its flux as amplitude until `simulate.galaxies` brings the pixels."""
    zero_point = recipe.detectors[band].magnitude_zero_point
    flux = magnitude_to_flux(_magnitude(recipe, light, prefix, columns, band), zero_point)
    parameters = {
        "amp": flux,
        "phi_G": columns[f"{prefix}phi_G"],
        "scale": np.full(len(flux), light.scale_arcsec),
        **_centre(prefix, columns),
    }
    return Light("INTERPOL", np.arange(len(flux)), parameters)


def _magnitude(
    recipe: DatasetRecipe, light: SersicEllipse | GalaxyImage, prefix: str, columns: Columns, band: int
) -> Array:
    if isinstance(light.magnitude, PerBand):
        return columns[f"{prefix}magnitude_{recipe.band_names[band]}"]
    return columns[f"{prefix}magnitude"]


def _centre(prefix: str, columns: Columns) -> Columns:
    """On the sky: from the second component on, columns count from the centre of the first."""
    found = {name: columns[prefix + name] for name in CENTRE}
    first = SOURCE if prefix.startswith(SOURCE) else LENS_LIGHT
    return found if prefix == first else {name: found[name] + columns[first + name] for name in CENTRE}
