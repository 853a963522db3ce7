"""Pixels, point spread function and noise: what a recipe says of the telescope.

A recipe names a preset or gives the numbers. Presets are replaced by their numbers before anything else
looks at a recipe (`simulate.instruments.resolve`), so a digest never depends on what a preset means today.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from schemas.frozen import Frozen
from schemas.priors import Prior
from schemas.quantity import Quantity

Pixels = Annotated[int, Field(ge=8, le=4096, description="pixels along each side")]
# with the largest, a stored recipe can still be read back: schemas.reading stops at 100,000 values
LARGEST_KERNEL = 301
KERNEL_SUM_TOLERANCE = 1e-6
SAMPLING = Field(
    default=1,
    ge=1,
    le=5,
    description="kernel pixels per pixel and axis: 1, or the supersampling of the instrument",
)


class NoPSF(Frozen):
    """Perfect seeing."""

    kind: Literal["none"] = "none"


class GaussianPSF(Frozen):
    """A Gaussian, cut at `truncate` sigma (rounded to whole pixels)."""

    kind: Literal["gaussian"] = "gaussian"
    fwhm_arcsec: float = Field(gt=0, le=10, description="full width at half maximum, arcsec")
    truncate: float = Field(default=5.0, ge=1, le=20, description="half-size of the kernel, sigma")


class KernelPSF(Frozen):
    """An image of a point source, centred on its middle pixel; light from beyond the image is not known."""

    kind: Literal["kernel"] = "kernel"
    # not strict: behind a validator that comes first, pydantic sees JSON's lists as Python's
    values: tuple[Annotated[tuple[float, ...], Field(strict=False)], ...] = Field(
        strict=False,
        description="rows of the kernel: square, an odd number a side, not negative, summing to 1",
    )
    sampling: int = SAMPLING

    def __hash__(self) -> int:
        # every look-up of a recipe in a cache would else hash a hundred thousand numbers
        return hash((self.sampling, self.values[len(self.values) // 2]))

    @field_validator("values")
    @classmethod
    def _an_image_of_a_point(cls, values: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        check_kernel(values)
        return values


class KernelFilePSF(Frozen):
    """A kernel in a file. Its values take its place before anything else looks at the recipe."""

    kind: Literal["kernel_file"] = "kernel_file"
    path: str = Field(
        min_length=1,
        max_length=4096,
        description=".npy or FITS, relative to the recipe; in an override, to the working directory",
    )
    sampling: int = SAMPLING


def check_kernel(values: Sequence[Sequence[float]]) -> None:
    """Refuse, with a ValueError, what is no kernel of a point spread function."""
    side = len(values)
    ragged = next((f"row {j} has {len(row)}" for j, row in enumerate(values) if len(row) != side), None)
    if ragged is not None:
        raise ValueError(f"the kernel has {side} rows and {ragged} values, but must be square")
    if side % 2 == 0 or side > LARGEST_KERNEL:
        raise ValueError(
            f"the kernel has {side} pixels a side, but must have an odd number, at most {LARGEST_KERNEL}:"
            " its point is in the middle"
        )
    for j, row in enumerate(values):
        for i, value in enumerate(row):
            if not 0 <= value < math.inf:
                raise ValueError(f"the kernel is {value} at row {j}, column {i}; it must be finite and >= 0")
    total = math.fsum(value for row in values for value in row)
    if abs(total - 1) > KERNEL_SUM_TOLERANCE:
        raise ValueError(f"the kernel sums to {total:.9g}, but must sum to 1: divide it by its sum")


PSF = Annotated[NoPSF | GaussianPSF | KernelPSF | KernelFilePSF, Field(discriminator="kind")]


class Detector(Frozen):
    """An instrument by its numbers. Images are in electrons per second and pixel."""

    kind: Literal["detector"] = "detector"
    num_pix: Pixels = 64
    pixel_scale_arcsec: float = Field(gt=0, le=10, description="side of a pixel, arcsec")
    psf: PSF
    supersampling: int = Field(
        default=1,
        ge=1,
        le=5,
        description="sub-pixels per pixel and axis; a Gaussian PSF is applied on the fine grid",
    )
    magnitude_zero_point: float = Field(
        default=25.0, ge=0, le=60, description="magnitude of a source of one electron per second, mag"
    )
    exposure_time_s: float = Field(default=1000.0, gt=0, description="length of one exposure, s")
    num_exposures: int = Field(default=1, ge=1, description="exposures added up")
    read_noise_e: float = Field(default=0.0, ge=0, description="read noise of one exposure, electrons rms")
    sky_brightness_mag_arcsec2: float = Field(
        default=30.0, ge=0, le=60, description="sky, magnitudes per square arcsecond"
    )

    @model_validator(mode="after")
    def _kernel_on_one_of_the_grids(self) -> Self:
        sampling = getattr(self.psf, "sampling", 1)
        if sampling not in (1, self.supersampling):
            finer = f", or set supersampling to {sampling}"
            raise ValueError(
                f"psf.sampling is {sampling}, but must be 1 or the supersampling, which is"
                f" {self.supersampling}: give the kernel at such a sampling{finer}"
            )
        return self

    @property
    def psf_on_fine_grid(self) -> bool:
        """Whether light is spread before the sub-pixels are averaged; a kernel says so by its sampling."""
        return self.supersampling > 1 and getattr(self.psf, "sampling", self.supersampling) > 1

    @property
    def total_exposure_s(self) -> float:
        """All exposures together."""
        return self.exposure_time_s * self.num_exposures


class Preset(Frozen):
    """An instrument by its name (`lensmill schema dataset` lists them)."""

    kind: Literal["preset"] = "preset"
    name: Literal[
        "euclid_vis", "hst_wfc3_f160w", "hst_acs_f814w", "jwst_nircam_f115w", "rubin_i", "roman_f129"
    ] = Field(description="name of the instrument and band")
    num_pix: Pixels = 64
    supersampling: int = Field(default=1, ge=1, le=5, description="sub-pixels per pixel and axis")


Instrument = Annotated[Detector | Preset, Field(discriminator="kind")]


class NoNoise(Frozen):
    """The model itself."""

    kind: Literal["none"] = "none"


class DetectorNoise(Frozen):
    """Read noise, sky and shot noise of the instrument, drawn once.

    Shot noise is Poisson below 50 expected electrons in a pixel and Gaussian of the same variance above.
    """

    kind: Literal["detector"] = "detector"


class ModelINoise(Frozen):
    """Noise as DeepLenseSim's Model I has it: shot noise twice, negative sky clipped, images in counts."""

    kind: Literal["model_i"] = "model_i"
    exposure_time_s: Annotated[Prior, Quantity("s", gt=0, le=1e8, headline=True)] = Field(
        description="exposure time of the image"
    )
    background_rms: float = Field(ge=0, description="rms of the background, counts per second and pixel")


Noise = Annotated[NoNoise | DetectorNoise | ModelINoise, Field(discriminator="kind")]
