"""The registries of engines: what renders, and what tells how far it deflected the rays."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schemas.instrument import Detector
from schemas.registry import Registry
from simulate.batch import LensBatch

# systems, instrument -> images (rows, y, x) in electrons per second and pixel, float64
Engine = Callable[[LensBatch, Detector], NDArray[np.float64]]
ENGINES: Registry[Engine] = Registry("engine")
# systems, instrument -> reduced deflection at the centres of pixels (rows, 2, y, x) in arcsec, float64
Deflection = Callable[[LensBatch, Detector], NDArray[np.float64]]
DEFLECTIONS: Registry[Deflection] = Registry("engine")
