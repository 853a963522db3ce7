"""Images as brightness and colour, in one stretch for all that are compared."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# as many bands make a coloured picture
COLOURS = 3
Limits = tuple[float, float, float]


def brightness(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is stretched of images (n, channels, y, x): of colours the brightest, else all bands together."""
    return np.asarray(images.max(axis=1) if images.shape[1] == COLOURS else images.sum(axis=1))


def limits_of(images: NDArray[Any]) -> Limits:
    """Softening, black and white of one stretch for all these images, so that they can be compared."""
    faint, bright = np.percentile(brightness(images), [25.0, 99.9])
    softening = max(float(bright - faint) / 20, 1e-12)
    return softening, float(np.arcsinh(faint / softening)), float(np.arcsinh(bright / softening))


def grey(image: NDArray[np.float32], limits: Limits) -> NDArray[np.float32]:
    """One image (channels, y, x) from 0, black, to 1, white."""
    softening, black, white = limits
    stretched = np.arcsinh(brightness(image[None])[0] / softening)
    return np.asarray(((stretched - black) / max(white - black, 1e-12)).clip(0, 1))


def coloured(image: NDArray[np.float32], limits: Limits) -> NDArray[np.float32]:
    """Three bands, blue to red, as a picture whose brightness is stretched and whose colours are true.

    All bands of a pixel are multiplied alike (Lupton et al. 2004), so that none is cut off before the others.
    """
    softening, _, white = limits
    brightest = np.maximum(image.max(axis=0), np.finfo(np.float32).tiny)
    stretch = np.arcsinh(brightest / softening) / max(white, 1e-12) / brightest
    picture = (image * np.minimum(stretch, 1 / brightest))[::-1]
    return np.asarray(picture.clip(0, 1).transpose(1, 2, 0))
