"""How visible the substructure of a sample is: what a store may keep of it, and what it means."""

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.frozen import Frozen
from schemas.quantity import Quantity


class DetectabilityColumns(Frozen):
    """Filled in the splits that a recipe asks for."""

    detectability: Annotated[float, Quantity("1", ge=0, derived=True)] = Field(
        description="signal-to-noise ratio of the substructure after the smooth lens is refitted; 0 without"
        " substructure, NaN in splits that the recipe does not name"
    )


def ideal_auc(detectability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the curve of the best test of a sample against its smooth version: Phi(s / sqrt 2)."""
    halves = (np.asarray(detectability, dtype=np.float64) / 2).tolist()
    return np.array([(1 + math.erf(half)) / 2 for half in halves])
