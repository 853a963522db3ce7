"""lenstronomy as an engine, loaded when it is first needed: that takes a second or two."""

import numpy as np
from numpy.typing import NDArray

from schemas.instrument import Detector
from simulate.batch import LensBatch
from simulate.engines.registry import DEFLECTIONS, ENGINES


@ENGINES.register("lenstronomy")
def render_with_lenstronomy(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Noise-free images of a batch, one `ImageModel` call each."""
    from simulate.engines.lenstronomy import render

    return render(systems, detector)


@DEFLECTIONS.register("lenstronomy")
def deflect_with_lenstronomy(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Deflections of a batch, one `LensModel` call each."""
    from simulate.engines.lenstronomy import deflection

    return deflection(systems, detector)
