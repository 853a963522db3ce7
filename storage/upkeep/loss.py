"""What quantisation took from a store, beside the noise that its images have anyway."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.dataset import DatasetRecipe
from schemas.frozen import Frozen
from schemas.store import SCALE, MapError, Receipt
from storage.reader import Store

# Images looked at for their noise.
SAMPLED = 256
# Of a normal distribution: its deviation over the median of its absolute values.
NORMAL = 1.4826
# The variance of x[i-1] - 2 x[i] + x[i+1], in units of that of x.
SECOND_DIFFERENCE = 6.0


class MapLoss(Frozen):
    """How far the stored values of a map are from those that were simulated."""

    map: str
    worst: float = Field(ge=0, description="largest difference of the store, in the unit of the map")
    bound: float = Field(ge=0, description="what it was checked against")
    typical: float | None = Field(default=None, ge=0, description="root mean square of a typical image")
    noise: float | None = Field(default=None, gt=0, description="of a pixel, in a typical image")


def worst_errors(receipts: tuple[Receipt, ...] | list[Receipt]) -> tuple[MapError, ...]:
    """The worst of several shards, map by map."""
    worst: dict[str, MapError] = {}
    for error in (error for receipt in receipts for error in receipt.errors):
        known = worst.get(error.map, error)
        worst[error.map] = MapError(
            map=error.map, worst=max(known.worst, error.worst), bound=max(known.bound, error.bound)
        )
    return tuple(worst.values())


def losses(store: Store) -> tuple[MapLoss, ...]:
    """Of each map that went through quantisation; images of the first split tell the noise."""
    split = store.plan.splits[0].name
    found = []
    for error in worst_errors(store.manifest.receipts):
        typical = noise = None
        if store.plan.is_quantised(error.map):
            steps = store.codes(split, error.map + SCALE, slice(0, SAMPLED))[..., 0]
            typical = float(np.median(steps)) / np.sqrt(12)
        if error.map == "image" and _is_noisy(store):
            noise = float(np.median(noise_levels(store.read(split, "image", slice(0, SAMPLED))))) or None
        found.append(
            MapLoss(map=error.map, worst=error.worst, bound=error.bound, typical=typical, noise=noise)
        )
    return tuple(found)


def _is_noisy(store: Store) -> bool:
    """Without noise the differences of pixels are of the objects, or of the codes themselves."""
    recipe = store.recipe
    return not isinstance(recipe, DatasetRecipe) or recipe.noise.kind != "none"


def noise_levels(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviation of the noise of a pixel in each image `(n, channels, y, x)`.

    From the median second difference along rows: what is smooth over three pixels is no part of it, and what
    is bright is too small a part of the image to move a median.
    """
    difference = images[..., :-2] - 2 * images[..., 1:-1] + images[..., 2:]
    flat = np.abs(difference.reshape(*images.shape[:2], -1)).astype(np.float64)
    return np.asarray(NORMAL * np.median(flat, axis=2) / np.sqrt(SECOND_DIFFERENCE))
