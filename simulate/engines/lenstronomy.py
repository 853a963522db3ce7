"""The reference engine: lenstronomy, its objects built once per combination of profiles.

Pixel (row j, column i) is centred at x = (i - (n - 1) / 2) d and y likewise with the row; a pixel's value is
surface brightness times its area. The Gaussian PSF is scipy's filter with mode `nearest`.
"""

from functools import lru_cache

import numpy as np
from lenstronomy.Data.pixel_grid import PixelGrid
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from numpy.typing import NDArray

from schemas.instrument import Detector, GaussianPSF
from simulate.batch import LensBatch
from simulate.engines.registry import ENGINES


@ENGINES.register("lenstronomy")
def render_with_lenstronomy(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Noise-free images of a batch, one `ImageModel` call each."""
    images = np.empty((systems.rows, detector.num_pix, detector.num_pix))
    offsets = [group.offsets(systems.rows) for group in systems.deflectors]
    for row in range(systems.rows):
        profiles: list[str] = []
        lenses: list[dict[str, float]] = []
        for group, offset in zip(systems.deflectors, offsets, strict=True):
            for position in range(offset[row], offset[row + 1]):
                profiles.append(group.profile)
                lenses.append({name: values[position] for name, values in group.parameters.items()})
        source = {name: values[row] for name, values in systems.source.parameters.items()}
        model = _image_model(tuple(profiles), systems.source.profile, detector)
        images[row] = model.image(lenses, [source])
    return images


@lru_cache(maxsize=256)
def _image_model(profiles: tuple[str, ...], source: str, detector: Detector) -> ImageModel:
    edge = -(detector.num_pix - 1) / 2 * detector.pixel_scale_arcsec
    grid = PixelGrid(
        nx=detector.num_pix,
        ny=detector.num_pix,
        transform_pix2angle=np.eye(2) * detector.pixel_scale_arcsec,
        ra_at_xy_0=edge,
        dec_at_xy_0=edge,
    )
    return ImageModel(
        data_class=grid,
        psf_class=_psf(detector),
        lens_model_class=LensModel(list(profiles)),
        source_model_class=LightModel([source]),
        kwargs_numerics={
            "supersampling_factor": detector.supersampling,
            "supersampling_convolution": detector.supersampling > 1,
        },
    )


def _psf(detector: Detector) -> PSF:
    if isinstance(detector.psf, GaussianPSF):
        return PSF(
            psf_type="GAUSSIAN",
            fwhm=detector.psf.fwhm_arcsec,
            truncation=detector.psf.truncate,
            pixel_size=detector.pixel_scale_arcsec,
        )
    return PSF(psf_type="NONE")
