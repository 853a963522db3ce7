"""Detector, sky and shot noise, drawn once per image from the sample's own stream."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from schemas.instrument import Detector, DetectorNoise, ModelINoise, NoNoise
from schemas.registry import Registry
from simulate.photometry import magnitude_to_flux

Array = NDArray[np.float64]
# Above this many expected electrons a Poisson deviate is replaced by a normal one of the same variance.
GAUSSIAN_ABOVE_ELECTRONS = 50.0

# noise-free image, the recipe's noise, instrument, the sample's columns, its noise stream -> image
NoiseModel = Callable[[Array, Any, Detector, dict[str, float], Generator], Array]
NOISES: Registry[NoiseModel] = Registry("noise")


def background_rms(detector: Detector) -> float:
    """Read noise and sky of one pixel over all exposures, electrons per second.

    variance = N read^2 / t^2 + sky d^2 / t with t = N t_exp, as lenstronomy's `SimAPI.background_noise`.
    """
    time = detector.total_exposure_s
    sky = magnitude_to_flux(np.asarray(detector.sky_brightness_mag_arcsec2), detector.magnitude_zero_point)
    read = detector.num_exposures * detector.read_noise_e**2 / time**2
    return float(np.sqrt(read + sky * detector.pixel_scale_arcsec**2 / time))


@NOISES.register("none")
def _none(
    image: Array, noise: NoNoise, detector: Detector, columns: dict[str, float], rng: Generator
) -> Array:
    return image


@NOISES.register("detector")
def _detector(
    image: Array,
    noise: DetectorNoise,
    detector: Detector,
    columns: dict[str, float],
    rng: Generator,
) -> Array:
    """One normal deviate per pixel for the background and bright pixels, Poisson deviates for faint ones."""
    time = detector.total_exposure_s
    electrons = np.maximum(image, 0.0) * time
    bright = electrons > GAUSSIAN_ABOVE_ELECTRONS
    variance = background_rms(detector) ** 2 + np.where(bright, electrons, 0.0) / time**2
    noisy = image + rng.standard_normal(image.shape) * np.sqrt(variance)
    faint = electrons[~bright]
    noisy[~bright] += (rng.poisson(faint) - faint) / time
    return noisy


@NOISES.register("model_i")
def _model_i(
    image: Array,
    noise: ModelINoise,
    detector: Detector,
    columns: dict[str, float],
    rng: Generator,
) -> Array:
    """Counts = Poisson(clip(t (I + gauss(0, sqrt(I / t)) + gauss(0, rms)), 0)): shot noise twice."""
    time = columns["exposure_time_s"]
    shot = rng.standard_normal(image.shape) * np.sqrt(np.abs(image) / time)
    background = rng.standard_normal(image.shape) * noise.background_rms
    return rng.poisson(np.clip(time * (image + shot + background), 0.0, None)).astype(np.float64)
