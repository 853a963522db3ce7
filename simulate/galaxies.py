"""Images of galaxies as sources: which one a system has, and how it looks in a band."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.galaxy_image import GalaxyImage
from simulate.batch import LensBatch
from simulate.draw import Drawn

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]
LOOKED_AT = 64
# numbers of galaxies -> images (n, y, x, 3); whoever renders brings it along, since nothing here reads files
Galaxies = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


def with_images(recipe: DatasetRecipe, drawn: Drawn, galaxies: Galaxies | None) -> Drawn:
    """The same systems with the images of their galaxies, each once however many systems show it."""
    source = recipe.source
    if not isinstance(source, GalaxyImage):
        return drawn
    if galaxies is None:
        raise TypeError(
            "this recipe shows galaxies from a file: give render what flows.galaxies.galaxies_of finds"
        )
    numbers, shown = np.unique(drawn.columns["galaxy_index"].astype(np.int64), return_inverse=True)
    colours = galaxies(numbers)
    seen = [
        _shown(systems, source, shown, _without_sky(source, colours[..., band], numbers, band))
        for band, systems in enumerate(drawn.bands)
    ]
    return replace(drawn, systems=seen[0], further=tuple(seen[1:]))


def check_light(recipe: DatasetRecipe, galaxies: Galaxies) -> None:
    """Refuse galaxies without light before anything is written: the first few are looked at."""
    if isinstance(recipe.source, GalaxyImage):
        numbers = np.array(recipe.source.chosen[:LOOKED_AT], dtype=np.int64)
        colours = galaxies(numbers)
        for band in range(recipe.channels):
            _without_sky(recipe.source, colours[..., band], numbers, band)


def _without_sky(
    source: GalaxyImage, images: NDArray[np.uint8], numbers: NDArray[np.int64], band: int
) -> Pixels:
    """Exact in single precision: pixels are whole numbers and the median is at worst a half."""
    pixels = images.astype(np.float32)
    if source.sky_corner_pixels:
        corner = pixels[:, : source.sky_corner_pixels, : source.sky_corner_pixels]
        pixels -= np.median(corner, axis=(1, 2), keepdims=True)
    dark = np.flatnonzero(pixels.sum(axis=(1, 2), dtype=np.float64) <= 0)
    if len(dark):
        raise RecipeError(
            f"galaxy {numbers[dark[0]]} has no light in colour {band} after its sky is taken off",
            expected="images that are brighter than their corner at row 0, column 0",
            where="source.choose, source.sky_corner_pixels",
            advice="leave it out by source.choose.positions, or take fewer source.sky_corner_pixels",
        )
    return pixels


def _shown(systems: LensBatch, source: GalaxyImage, shown: NDArray[np.int64], pixels: Pixels) -> LensBatch:
    """The flux of each source spread over its image: surface brightness per unit of a pixel."""
    (light,) = systems.source
    total = pixels.sum(axis=(1, 2), dtype=np.float64) * source.scale_arcsec**2
    parameters = {
        **light.parameters,
        "amp": light.parameters["amp"] / total[shown],
        "image": shown.astype(np.float64),
    }
    return replace(systems, source=(replace(light, parameters=parameters, images=pixels),))
