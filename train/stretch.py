"""Brings faint sky and bright arc onto one scale. Fitted on training images, kept with the run."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.errors import DataError
from schemas.preparation import AnyStretch, AsinhStretch, LogStretch, MaximumStretch
from schemas.run import AnyFittedStretch, FittedLog, FittedMaximum, FittedNone, FittedStretch

# Images looked at for the fit: enough for three numbers, little enough to be quick.
LOOKED_AT = 2048
# Softening of noise-free images, in parts of their brightest percent. On Model II a thousandth gave
# a macro AUC of .9979 after five epochs, a hundredth .9965.
SOFTENING_OF_PEAK = 0.001
# An image without any light has no largest pixel to be divided by.
SMALLEST_MAXIMUM = 1e-30


def fit_stretch(options: AnyStretch, images: NDArray[np.float32]) -> AnyFittedStretch:
    """Softening from the noise of the images (or given), then mean and spread of the stretched pixels."""
    some = images[:: max(1, len(images) // LOOKED_AT)].astype(np.float64)
    if not np.ptp(some) > 0:
        raise DataError(
            "all training images are the same constant", advice="look at them: lensmill show STORE"
        )
    if isinstance(options, AsinhStretch):
        softening = options.softening or _softening(some)
        mean, spread = _standard(np.arcsinh(some / softening))
        return FittedStretch(softening=softening, mean=mean, spread=spread)
    if isinstance(options, LogStretch):
        softening = options.softening or _softening(some)
        mean, spread = _standard(np.sign(some) * np.log1p(np.abs(some) / softening))
        return FittedLog(softening=softening, mean=mean, spread=spread)
    if isinstance(options, MaximumStretch):
        largest = np.abs(some).max(axis=(1, 2, 3), keepdims=True)
        mean, spread = _standard(some / np.maximum(largest, SMALLEST_MAXIMUM))
        return FittedMaximum(mean=mean, spread=spread)
    mean, spread = _standard(some)
    return FittedNone(mean=mean, spread=spread)


def _standard(pixels: NDArray[np.float64]) -> tuple[float, float]:
    return float(pixels.mean()), float(pixels.std())


def _softening(images: NDArray[np.float64]) -> float:
    """Twice the pixel noise, but not below a thousandth of the bright pixels.

    The noise is read off differences of neighbours in the outermost rows, where there is mostly sky.
    """
    edge = images[:, :, [0, -1], :]
    noise = 1.4826 * float(np.median(np.abs(np.diff(edge, axis=-1)))) / np.sqrt(2)
    bright = float(np.percentile(images, 99.0))
    return max(2 * noise, SOFTENING_OF_PEAK * bright, 1e-12)


class Stretch(nn.Module):
    """The fitted stretch as the first layer of a network; nothing in it is trained."""

    def __init__(self, fitted: AnyFittedStretch) -> None:
        super().__init__()
        self.fitted = fitted

    def forward(self, images: Tensor) -> Tensor:
        return (self._bent(images) - self.fitted.mean) / self.fitted.spread

    def _bent(self, images: Tensor) -> Tensor:
        fitted = self.fitted
        if isinstance(fitted, FittedLog):
            return images.sign() * torch.log1p(images.abs() / fitted.softening)
        if isinstance(fitted, FittedStretch):
            return torch.asinh(images / fitted.softening)
        if isinstance(fitted, FittedMaximum):
            return images / images.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=SMALLEST_MAXIMUM)
        return images
