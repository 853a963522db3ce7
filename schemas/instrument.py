"""Pixels, point spread function and noise: what a recipe says of the telescope.

A recipe names a preset or gives the numbers. Presets are replaced by their numbers before anything else
looks at a recipe (`simulate.instruments.resolve`), so a digest never depends on what a preset means today.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.frozen import Frozen
from schemas.priors import Prior
from schemas.quantity import Quantity

Pixels = Annotated[int, Field(ge=8, le=4096, description="pixels along each side")]


class NoPSF(Frozen):
    """Perfect seeing."""

    kind: Literal["none"] = "none"


class GaussianPSF(Frozen):
    """A Gaussian, cut at `truncate` sigma (rounded to whole pixels)."""

    kind: Literal["gaussian"] = "gaussian"
    fwhm_arcsec: float = Field(gt=0, le=10, description="full width at half maximum, arcsec")
    truncate: float = Field(default=5.0, ge=1, le=20, description="half-size of the kernel, sigma")


PSF = Annotated[NoPSF | GaussianPSF, Field(discriminator="kind")]


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
        description="sub-pixels per pixel and axis; the PSF is applied on the fine grid",
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

    @property
    def total_exposure_s(self) -> float:
        """All exposures together."""
        return self.exposure_time_s * self.num_exposures


class Preset(Frozen):
    """An instrument by its name (`lensmill schema dataset` lists them)."""

    kind: Literal["preset"] = "preset"
    name: Literal["euclid_vis", "hst_wfc3_f160w"] = Field(description="name of the instrument and band")
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
