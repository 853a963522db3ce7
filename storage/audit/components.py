"""Principal components of images: what tells classes apart without any network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Array = NDArray[np.float64]
COMPONENTS = 60
SPARE = 10
POWERS = 4
IMAGES_PER_COMPONENT = 4


@dataclass(frozen=True)
class Components:
    """Mean image and the directions in which images vary most, strongest first."""

    mean: Images
    directions: Images

    def scores(self, images: Images) -> Array:
        """How much of each direction is in each image."""
        return np.asarray((images - self.mean) @ self.directions.T, dtype=np.float64)

    def left_over(self, images: Images) -> Array:
        """Power of what the directions leave of each image."""
        centred = images - self.mean
        rest = centred - (centred @ self.directions.T) @ self.directions
        return np.asarray((rest.astype(np.float64) ** 2).sum(axis=1))


def principal_components(images: Images, most: int = COMPONENTS) -> Components:
    """By subspace iteration from a fixed start (Halko, Martinsson & Tropp 2011)."""
    count = max(min(most, len(images) // IMAGES_PER_COMPONENT, images.shape[1] - SPARE), 1)
    mean = images.mean(axis=0)
    centred = images - mean
    rng = np.random.default_rng(0)
    span = rng.standard_normal((images.shape[1], count + SPARE)).astype(np.float32)
    for _ in range(POWERS):
        span = np.linalg.qr(centred.T @ (centred @ span))[0]
    _, _, turned = np.linalg.svd(centred @ span, full_matrices=False)
    return Components(mean, np.ascontiguousarray((span @ turned[:count].T).T))
