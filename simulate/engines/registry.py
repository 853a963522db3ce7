"""The registries of engines: what renders, and what tells how far it deflected the rays."""

from collections.abc import Callable, Sequence

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
# the same masses in the light of each band, instruments -> images (rows, bands, y, x); for engines that need
# not trace their rays anew for each
BandEngine = Callable[[Sequence[LensBatch], Sequence[Detector]], NDArray[np.float64]]
IN_BANDS: Registry[BandEngine] = Registry("engine for several bands")


def render_bands(
    engine: str, seen: Sequence[LensBatch], detectors: Sequence[Detector]
) -> NDArray[np.float64]:
    """Noise-free images (rows, bands, y, x) by any engine."""
    if engine in IN_BANDS:
        return IN_BANDS[engine](seen, detectors)
    images = [ENGINES[engine](*one) for one in zip(seen, detectors, strict=True)]
    return np.stack(images, axis=1)
