"""The registry of engines."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schemas.instrument import Detector
from schemas.registry import Registry
from simulate.batch import LensBatch

# systems, instrument -> images (rows, y, x) in electrons per second and pixel, float64
Engine = Callable[[LensBatch, Detector], NDArray[np.float64]]
ENGINES: Registry[Engine] = Registry("engine")
