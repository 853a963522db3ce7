"""The reference engine: lenstronomy, its objects built once per combination of profiles.

Pixel (row j, column i) is centred at x = (i - (n - 1) / 2) d and y likewise with the row; a pixel's value is
surface brightness times its area. The Gaussian PSF is scipy's filter with mode `nearest`; beyond the image a
kernel finds darkness.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from lenstronomy.Data.pixel_grid import PixelGrid
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from numpy.typing import NDArray

from schemas.instrument import Detector, GaussianPSF, KernelPSF
from simulate.batch import Deflectors, LensBatch, Light, Profiles
from simulate.engines.line import line_deflection, split_lines

Names = tuple[str, ...]
Numbers = list[dict[str, Any]]
# what the deflection of a continuous LINE depends on
LINE = ("theta_E", "center_x", "center_y", "half_length", "angle")


def render(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Noise-free images of a batch, one `ImageModel` call each."""
    images = np.empty((systems.rows, detector.num_pix, detector.num_pix))
    masses = [part for group in systems.deflectors for part in _in_lenstronomys_terms(group)]
    components = [_by_row(groups, systems.rows) for groups in (masses, systems.source, systems.lens_light)]
    for row, parts in enumerate(zip(*components, strict=True)):
        lens, source, lens_light = (tuple(names) for names, _ in parts)
        model = _image_model(lens, source, lens_light, detector)
        # else it would show the first image that it ever saw
        model.SourceModel.delete_interpol_caches()
        images[row] = model.image(*(numbers for _, numbers in parts))
    return images


def deflection(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Reduced deflection at the centres of pixels, arcsec: (rows, 2, y, x)."""
    found = np.empty((systems.rows, 2, detector.num_pix, detector.num_pix))
    masses = [part for group in systems.deflectors for part in _in_lenstronomys_terms(group)]
    axis = (np.arange(detector.num_pix) - (detector.num_pix - 1) / 2) * detector.pixel_scale_arcsec
    x, y = np.meshgrid(axis, axis)
    for row, (names, numbers) in enumerate(_by_row(masses, systems.rows)):
        beta = _LensModelWithLines(tuple(names)).ray_shooting(x.ravel(), y.ravel(), numbers)
        found[row] = np.reshape(beta, (2, *x.shape))
    return np.stack([x, y]) - found


def _in_lenstronomys_terms(group: Deflectors) -> tuple[Deflectors, ...]:
    return split_lines(group) if group.profile == "LINE" else (group,)


def _by_row(groups: Sequence[Profiles], rows: int) -> list[tuple[list[str], Numbers]]:
    """For each row of the batch the names of its profiles and the parameters of each."""
    found: list[tuple[list[str], Numbers]] = [([], []) for _ in range(rows)]
    for group in groups:
        for member, row in enumerate(group.owner):
            names, numbers = found[row]
            names.append(group.profile)
            own: dict[str, Any] = {name: values[member] for name, values in group.parameters.items()}
            if isinstance(group, Light) and group.images is not None:
                own["image"] = group.images[int(own["image"])].astype(np.float64)
            numbers.append(own)
    return found


class _LensModelWithLines(LensModel):  # type: ignore[misc] # lenstronomy is not typed
    """lenstronomy's profiles in one plane, and our continuous line of mass among them."""

    def __init__(self, profiles: Names) -> None:
        self._names = profiles
        super().__init__([name for name in profiles if name != "LINE"])

    def ray_shooting(self, x: Any, y: Any, kwargs: Numbers, k: Any = None) -> tuple[Any, Any]:
        """Positions in the source plane."""
        named = list(zip(self._names, kwargs, strict=True))
        rest = [numbers for name, numbers in named if name != "LINE"]
        beta_x, beta_y = super().ray_shooting(x, y, rest, k=k)
        for numbers in (numbers for name, numbers in named if name == "LINE"):
            alpha_x, alpha_y = line_deflection(x, y, **{name: numbers[name] for name in LINE})
            beta_x, beta_y = beta_x - alpha_x, beta_y - alpha_y
        return beta_x, beta_y


@lru_cache(maxsize=256)
def _image_model(lens: Names, source: Names, lens_light: Names, detector: Detector) -> ImageModel:
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
        lens_model_class=_LensModelWithLines(lens),
        source_model_class=LightModel(list(source)),
        lens_light_model_class=LightModel(list(lens_light)),
        kwargs_numerics={
            "supersampling_factor": detector.supersampling,
            "supersampling_convolution": detector.psf_on_fine_grid,
            # else lenstronomy applies the outer part of a kernel on the coarse grid
            "supersampling_kernel_size": None,
            # scipy's transform; that of the default calls numpy in a way that numpy is about to drop
            "convolution_type": "fft",
        },
    )


class _ExactKernel(PSF):  # type: ignore[misc]
    """A kernel at its own sampling, as it is given: lenstronomy also bins it, and fails for some sizes."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        super().__init__(
            psf_type="PIXEL", kernel_point_source=values, kernel_point_source_normalisation=False
        )

    def kernel_point_source_supersampled(self, *_: Any, **__: Any) -> NDArray[np.float64]:
        """Asked for when it is applied on the fine grid, which then is the grid it is given on."""
        return np.asarray(self.kernel_point_source)


def _psf(detector: Detector) -> PSF:
    psf = detector.psf
    if isinstance(psf, GaussianPSF):
        return PSF(
            psf_type="GAUSSIAN",
            fwhm=psf.fwhm_arcsec,
            truncation=psf.truncate,
            pixel_size=detector.pixel_scale_arcsec,
        )
    if isinstance(psf, KernelPSF):
        return _ExactKernel(np.array(psf.values))
    return PSF(psf_type="NONE")
