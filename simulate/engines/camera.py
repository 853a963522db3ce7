"""Where the rays of an image start, and how light is gathered and spread: detectors as loops need them."""

from functools import lru_cache

import numpy as np
from scipy import fft

from schemas.instrument import Detector, GaussianPSF, KernelPSF
from simulate.batch import Array
from simulate.kernels.images import Camera


@lru_cache(maxsize=32)
def cameras(detectors: tuple[Detector, ...]) -> Camera:
    """Bands share the grid. A kernel on the fine grid is applied later: then its pixels are the image."""
    detector = detectors[0]
    factor = detector.supersampling
    step = detector.pixel_scale_arcsec / factor
    size = detector.num_pix * factor
    positions = np.asarray((np.arange(size) - (size - 1) / 2) * step)
    if isinstance(detector.psf, KernelPSF) and detector.psf_on_fine_grid:
        factor = 1
    weights = [_weights(one, factor, step) for one in detectors]
    reaches = np.array([(len(one) - factor) // 2 for one in weights])
    longest = max(len(one) for one in weights)
    in_fours = np.stack([np.pad(one, (0, longest - len(one) + -longest % 4)) for one in weights])
    return Camera(positions, factor, in_fours, reaches, detector.pixel_scale_arcsec**2)


def _weights(detector: Detector, factor: int, step: float) -> Array:
    weights = np.ones(factor) / factor
    if isinstance(detector.psf, GaussianPSF):
        weights = np.convolve(weights, _gaussian(detector.psf, step))
    return weights


def _gaussian(psf: GaussianPSF, step: float) -> Array:
    """scipy's `gaussian_filter` as weights."""
    sigma = psf.fwhm_arcsec / (2 * np.sqrt(2 * np.log(2))) / step
    reach = int(psf.truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum())


class KernelSpread:
    """Convolution with a kernel by Fourier transform; it is dark beyond the edge."""

    def __init__(self, detector: Detector) -> None:
        assert isinstance(detector.psf, KernelPSF)
        values = np.array(detector.psf.values)
        self.factor = detector.supersampling if detector.psf_on_fine_grid else 1
        self.size = detector.num_pix * self.factor
        self.reach = len(values) // 2
        self.padded = fft.next_fast_len(self.size + 2 * self.reach, real=True)
        self.transform = fft.rfft2(values, (self.padded, self.padded))

    def __call__(self, sharp: Array) -> Array:
        shape = (self.padded, self.padded)
        full = fft.irfft2(fft.rfft2(sharp, shape) * self.transform, shape)
        inside = slice(self.reach, self.reach + self.size)
        spread = full[:, inside, inside]
        side = self.size // self.factor
        return np.asarray(spread.reshape(-1, side, self.factor, side, self.factor).mean(axis=(2, 4)))
