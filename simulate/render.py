"""From a recipe and sample numbers to finished images and their columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.columns import columns_of
from schemas.dataset import DatasetRecipe
from simulate.draw import Drawn, draw
from simulate.engines import ENGINES
from simulate.noise import NOISES
from simulate.streams import NOISE, stream

# Systems drawn at a time: enough to make array operations cheap, little enough to stay in cache.
BLOCK = 256


@dataclass(frozen=True)
class Rendered:
    """Finished samples as a store takes them, row by row."""

    image: NDArray[np.float32]
    label: NDArray[np.int32]
    sample_id: NDArray[np.int64]
    params: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By the names of the store's arrays."""
        return {"image": self.image, "label": self.label, "sample_id": self.sample_id, "params": self.params}


def render(recipe: DatasetRecipe, sample_id: NDArray[np.int64]) -> Rendered:
    """The samples with these numbers."""
    columns = [column.name for column in columns_of(recipe)]
    side = recipe.detector.num_pix
    image = np.empty((len(sample_id), 1, side, side), dtype=np.float32)
    label = np.empty(len(sample_id), dtype=np.int32)
    params = np.empty((len(sample_id), len(columns)))
    for start in range(0, len(sample_id), BLOCK):
        rows = slice(start, start + BLOCK)
        drawn = draw(recipe, sample_id[rows])
        image[rows, 0] = finish(recipe, drawn, noise_free(recipe, drawn))
        label[rows] = drawn.label
        params[rows] = drawn.params(columns)
    return Rendered(image, label, sample_id, params)


def noise_free(recipe: DatasetRecipe, drawn: Drawn) -> NDArray[np.float64]:
    """Images of drawn systems before noise, electrons per second and pixel."""
    return ENGINES[recipe.engine](drawn.systems, recipe.detector)


def finish(recipe: DatasetRecipe, drawn: Drawn, images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise from each sample's own stream, then the recipe's factor."""
    add_noise = NOISES[recipe.noise.kind]
    finished = np.empty_like(images)
    for row, sample_id in enumerate(drawn.sample_id):
        columns = {name: float(values[row]) for name, values in drawn.columns.items()}
        rng = stream(recipe.seed, NOISE, int(sample_id))
        finished[row] = add_noise(images[row], recipe.noise, recipe.detector, columns, rng)
    return finished * recipe.image_factor
