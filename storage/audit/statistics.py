"""Simple numbers of an image, the kind that a person would look at first."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FLUX = "flux"
# Pixels this many noise deviations above the sky are light; the noise is taken from the pixels themselves.
LIGHT = 3.0
MAD_TO_SIGMA = 1.4826


def image_statistics(images: NDArray[np.float32]) -> dict[str, Array]:
    """Of images (n, channels, y, x): total fluxes first, then of the sum of all channels."""
    images = images.astype(np.float64)
    fluxes = images.sum(axis=(2, 3))
    found = {FLUX: fluxes.sum(axis=1)}
    if images.shape[1] > 1:
        found |= {f"{FLUX}_{channel}": fluxes[:, channel] for channel in range(images.shape[1])}
    return found | _brightness(images.sum(axis=1)) | _shape(images.sum(axis=1))


def _brightness(image: Array) -> dict[str, Array]:
    pixels = image.reshape(len(image), -1)
    central, border = _regions(image.shape[1], image.shape[2])
    return {
        "maximum": pixels.max(axis=1),
        "minimum": pixels.min(axis=1),
        "median": np.median(pixels, axis=1),
        "quantile_99": np.quantile(pixels, 0.99, axis=1),
        "rms": pixels.std(axis=1),
        "central_flux": image[:, central].sum(axis=1),
        "border_flux": image[:, border].sum(axis=1),
        "gradient_energy": (np.diff(image, axis=1) ** 2).mean(axis=(1, 2))
        + (np.diff(image, axis=2) ** 2).mean(axis=(1, 2)),
    }


def _regions(height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The middle quarter of each side, and a frame an eighth of a side wide."""
    away_y = np.abs(np.arange(height) - (height - 1) / 2)[:, None] / height
    away_x = np.abs(np.arange(width) - (width - 1) / 2)[None, :] / width
    away = np.maximum(away_y, away_x)
    return away <= 1 / 8, away >= 3 / 8


def _shape(image: Array) -> dict[str, Array]:
    """Centroid, size and ellipticity of the light, in pixels; NaN where there is none."""
    median = np.median(image, axis=(1, 2), keepdims=True)
    above = image - median
    noise = MAD_TO_SIGMA * np.median(np.abs(above), axis=(1, 2), keepdims=True)
    light = np.where(above > LIGHT * noise, above, 0.0)
    y = np.arange(image.shape[1]) - (image.shape[1] - 1) / 2
    x = np.arange(image.shape[2]) - (image.shape[2] - 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        light = light / light.sum(axis=(1, 2), keepdims=True)
        along_x, along_y = light.sum(axis=1), light.sum(axis=2)
        centre_x, centre_y = along_x @ x, along_y @ y
        xx = along_x @ x**2 - centre_x**2
        yy = along_y @ y**2 - centre_y**2
        xy = np.einsum("nyx,y,x->n", light, y, x) - centre_x * centre_y
        return {
            "centroid_x": centre_x,
            "centroid_y": centre_y,
            "radius": np.sqrt(np.maximum(xx + yy, 0.0)),
            "ellipticity_1": (xx - yy) / (xx + yy),
            "ellipticity_2": 2 * xy / (xx + yy),
        }
