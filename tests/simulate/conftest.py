"""What most tests of the simulator begin with."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from simulate.draw import draw
from simulate.render import noise_free

Image = NDArray[np.float64]
Picture = Callable[..., Image]

# Nothing but a source: no ellipticity, no shear, all but no mass.
BARE = (
    "main_lens={kind: SIE, theta_E: 1e-9}",
    "shear={gamma1: 0, gamma2: 0}",
    "source={kind: SERSIC_ELLIPSE, magnitude: 20, R_sersic: 0.25, n_sersic: 1}",
    "instrument={kind: detector, num_pix: 64, pixel_scale_arcsec: 0.1, psf: {kind: none},"
    " magnitude_zero_point: 25}",
    "noise={kind: none}",
)


@pytest.fixture(scope="session")
def tiny() -> DatasetRecipe:
    return load_recipe("tiny")


@pytest.fixture(scope="session")
def bare_image() -> Picture:
    """The noise-free image of a bare unlensed source, changed by overrides."""

    def picture(*overrides: str) -> Image:
        recipe = load_recipe("tiny", [*BARE, *overrides])
        return noise_free(recipe, draw(recipe, np.arange(1)))[0]

    return picture
