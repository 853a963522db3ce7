"""What a store may hold of drawn systems beside their images."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from schemas.products import MAPS, map_shape
from schemas.registry import Registry
from simulate.convergence import convergence
from simulate.draw import Drawn
from simulate.engines import DEFLECTIONS
from simulate.noise import without_noise

Maps = NDArray[np.float32]

# recipe, drawn systems, their noise-free images (rows, bands, y, x) -> (rows, components, y, x)
MapMaker = Callable[[DatasetRecipe, Drawn, NDArray[np.float64]], Maps]
MAP_MAKERS: Registry[MapMaker] = Registry("product")


def empty_maps(recipe: DatasetRecipe, image: Maps) -> dict[str, Maps]:
    """Room for what the recipe asks for, beside these images."""
    rows, *shape = image.shape
    asked = [name for name in recipe.products if name in MAPS]
    return {name: np.empty((rows, *map_shape(name, tuple(shape))), np.float32) for name in asked}


@MAP_MAKERS.register("noise_free")
def noise_free_map(recipe: DatasetRecipe, drawn: Drawn, sharp: NDArray[np.float64]) -> Maps:
    """The image before noise in the image's unit, times the recipe's factor and rounded as the image is."""
    return without_noise(sharp, recipe.noise, recipe.detector, drawn.columns, recipe.image_factor)


@MAP_MAKERS.register("deflection")
def deflection_map(recipe: DatasetRecipe, drawn: Drawn, sharp: NDArray[np.float64]) -> Maps:
    """By the recipe's engine."""
    return DEFLECTIONS[recipe.engine](drawn.systems, recipe.detector).astype(np.float32)


@MAP_MAKERS.register("convergence")
def convergence_map(recipe: DatasetRecipe, drawn: Drawn, sharp: NDArray[np.float64]) -> Maps:
    """Of the substructure alone: nothing for a smooth lens."""
    found = convergence(drawn.substructure, len(drawn.sample_id), recipe.detector)
    return found[:, None].astype(np.float32)
