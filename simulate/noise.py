"""Detector, sky and shot noise, drawn once per image from the sample's own streams."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.instrument import Detector, DetectorNoise, ModelINoise, Noise, NoNoise
from schemas.registry import Registry
from simulate.kernels import noise as kernels
from simulate.photometry import magnitude_to_flux
from simulate.streams import COUNTS, NOISE, SECOND_NOISE, SHOT

Array = NDArray[np.float64]
Images = NDArray[np.float32]
PURPOSES = np.array([NOISE, SHOT, COUNTS, SECOND_NOISE], dtype=np.uint64)

# Between the purposes of one band and those of the next: bands after the first have streams of their own.
BAND = np.uint64(16)


class NoiseModel(Protocol):
    """Noise-free images (rows, y, x) of one band to finished ones, times `factor`."""

    def __call__(
        self,
        images: Array,
        noise: Any,
        detector: Detector,
        columns: dict[str, Array],
        seed: int,
        sample_id: NDArray[np.int64],
        factor: float,
        band: int = 0,
    ) -> Images:
        """Noise from each sample's own streams."""


NOISES: Registry[NoiseModel] = Registry("noise")


def purposes_of(band: int) -> NDArray[np.uint64]:
    """The streams of one band."""
    return PURPOSES + BAND * np.uint64(band)


def background_rms(detector: Detector) -> float:
    """Read noise and sky of one pixel over all exposures, electrons per second.

    variance = N read^2 / t^2 + sky d^2 / t with t = N t_exp, as lenstronomy's `SimAPI.background_noise`.
    """
    time = detector.total_exposure_s
    sky = magnitude_to_flux(np.asarray(detector.sky_brightness_mag_arcsec2), detector.magnitude_zero_point)
    read = detector.num_exposures * detector.read_noise_e**2 / time**2
    return float(np.sqrt(read + sky * detector.pixel_scale_arcsec**2 / time))


def without_noise(
    images: Array, noise: Noise, detector: Detector, columns: dict[str, Array], factor: float
) -> Images:
    """Noise-free images (rows, bands, y, x) in the unit that the noise leaves them in, times the factor.

    That is electrons per second; counts, which is seconds times that, with the noise of Model I.
    """
    if isinstance(noise, ModelINoise):
        images = images * columns["exposure_time_s"][:, None, None, None]
    return _none(images, NoNoise(), detector, columns, 0, np.empty(0, np.int64), factor)


@NOISES.register("none")
def _none(
    images: Array,
    noise: NoNoise,
    detector: Detector,
    columns: dict[str, Array],
    seed: int,
    sample_id: NDArray[np.int64],
    factor: float,
    band: int = 0,
) -> Images:
    finished = np.empty(images.shape, dtype=np.float32)
    kernels.copy(images, factor, finished)
    return finished


@NOISES.register("detector")
def _detector(
    images: Array,
    noise: DetectorNoise,
    detector: Detector,
    columns: dict[str, Array],
    seed: int,
    sample_id: NDArray[np.int64],
    factor: float,
    band: int = 0,
) -> Images:
    """One normal deviate per pixel for the background and bright pixels, Poisson deviates for faint ones."""
    finished = np.empty(images.shape, dtype=np.float32)
    time, background = detector.total_exposure_s, background_rms(detector)
    ids = sample_id.astype(np.uint64)
    kernels.detector(images, np.uint64(seed), purposes_of(band), ids, time, background, factor, finished)
    return finished


@NOISES.register("model_i")
def _model_i(
    images: Array,
    noise: ModelINoise,
    detector: Detector,
    columns: dict[str, Array],
    seed: int,
    sample_id: NDArray[np.int64],
    factor: float,
    band: int = 0,
) -> Images:
    """Counts = Poisson(clip(t (I + gauss(0, sqrt(I / t)) + gauss(0, rms)), 0)): shot noise twice."""
    finished = np.empty(images.shape, dtype=np.float32)
    ids, times = sample_id.astype(np.uint64), np.ascontiguousarray(columns["exposure_time_s"])
    kernels.model_i(
        images, np.uint64(seed), purposes_of(band), ids, times, noise.background_rms, factor, finished
    )
    return finished
