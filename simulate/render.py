"""From a recipe and sample numbers to finished images and their columns."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.columns import columns_of
from schemas.dataset import DatasetRecipe
from simulate.catalogue import Table, catalogue, joined
from simulate.detectability import with_detectability
from simulate.draw import Drawn, draw
from simulate.engines import ENGINES, render_bands
from simulate.engines.fused import without_kernel
from simulate.galaxies import Galaxies, with_images
from simulate.noise import NOISES
from simulate.products import MAP_MAKERS, empty_maps

# Systems of each class that are drawn to see what a recipe makes.
TRIED = 64
# Bytes of noise-free images made at a time, and their number: enough to make a draw cheap, little enough that
# memory is used again while it is warm.
BLOCK_BYTES = 1 << 22
FEWEST, MOST = 16, 256


@dataclass(frozen=True)
class Rendered:
    """Finished samples as a store takes them, row by row."""

    image: NDArray[np.float32]
    label: NDArray[np.int32]
    sample_id: NDArray[np.int64]
    params: NDArray[np.float64]
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    subhalos: Table | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By the names of the store's arrays."""
        rows: dict[str, NDArray[Any]] = {
            "image": self.image,
            "label": self.label,
            "sample_id": self.sample_id,
            "params": self.params,
        }
        return rows | self.maps


def render(recipe: DatasetRecipe, sample_id: NDArray[np.int64], galaxies: Galaxies | None = None) -> Rendered:
    """The samples with these numbers; `galaxies` finds the images of recipes that show some."""
    columns = [column.name for column in columns_of(recipe)]
    side = recipe.detector.num_pix
    image = np.empty((len(sample_id), recipe.channels, side, side), dtype=np.float32)
    label = np.empty(len(sample_id), dtype=np.int32)
    params = np.empty((len(sample_id), len(columns)))
    maps = empty_maps(recipe, image)
    tables: list[Table] = []
    block = block_rows(recipe)
    for start in range(0, len(sample_id), block):
        rows = slice(start, start + block)
        drawn = with_images(recipe, draw(recipe, sample_id[rows]), galaxies)
        sharp = render_bands(recipe.engine, drawn.bands, recipe.detectors)
        if recipe.detectability:
            drawn = with_detectability(recipe, drawn, sharp[:, 0])
        for band in range(recipe.channels):
            image[rows, band] = finish(recipe, drawn, np.ascontiguousarray(sharp[:, band]), band)
        if recipe.normalisation is not None:
            image[rows] = NORMALISATIONS[recipe.normalisation](image[rows])
        label[rows] = drawn.label
        params[rows] = drawn.params(columns)
        for name, values in maps.items():
            values[rows] = MAP_MAKERS[name](recipe, drawn, sharp)
        if "subhalos" in recipe.products:
            tables.append(catalogue(recipe, drawn))
    subhalos = joined(tables) if "subhalos" in recipe.products else None
    return Rendered(image, label, sample_id, params, maps, subhalos)


def block_rows(recipe: DatasetRecipe) -> int:
    """How many samples are made at a time."""
    return min(max(BLOCK_BYTES // (8 * recipe.channels * recipe.detector.num_pix**2), FEWEST), MOST)


def noise_free(recipe: DatasetRecipe, drawn: Drawn, band: int = 0) -> NDArray[np.float64]:
    """Images of drawn systems in one band before noise, electrons per second and pixel."""
    return ENGINES[recipe.engine](drawn.bands[band], recipe.detectors[band])


def finish(
    recipe: DatasetRecipe, drawn: Drawn, images: NDArray[np.float64], band: int = 0
) -> NDArray[np.float32]:
    """Noise from each sample's own streams, then the recipe's factor."""
    add_noise = NOISES[recipe.noise.kind]
    return add_noise(
        images,
        recipe.noise,
        recipe.detectors[band],
        drawn.columns,
        recipe.seed,
        drawn.sample_id,
        recipe.image_factor,
        band,
    )


def _clipped_maximum(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """As DeepLenseSim's Model IV: the colours are kept, the brightness is not. A dark image stays dark."""
    clipped = np.maximum(images, 0)
    brightest = clipped.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray(clipped / np.where(brightest > 0, brightest, 1), dtype=np.float32)


NORMALISATIONS = {"clipped_maximum": _clipped_maximum}


def warm_up(recipe: DatasetRecipe, galaxies: Galaxies | None = None) -> None:
    """Compile what the recipe needs, or load it: one sample of each class."""
    render(recipe, np.arange(len(recipe.classes)), galaxies)


def subhalos_per_sample(recipe: DatasetRecipe) -> float:
    """How many rows of a catalogue a sample has; the first samples tell."""
    ids = np.arange(min(TRIED * len(recipe.classes), recipe.sample_count))
    return sum(len(group.owner) for group in draw(recipe, ids).substructure) / len(ids)


def through_lenstronomy(recipe: DatasetRecipe) -> tuple[str, ...]:
    """The profiles of a recipe that its engine leaves to lenstronomy; the first samples tell."""
    # also where no engine asks: a recipe that cannot be drawn is refused before anything is written
    systems = draw(recipe, np.arange(min(TRIED * len(recipe.classes), recipe.sample_count))).systems
    return () if recipe.engine == "lenstronomy" else tuple(sorted(without_kernel(systems)))
