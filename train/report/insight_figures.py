"""Pictures of single samples and of what a network looks at."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]
Array = NDArray[np.float64]
# Small images are enlarged by a whole number, so that their pixels stay square.
SMALLEST_SIDE = 192
# vermilion, as in the other figures: on grey it is seen by everybody
OVERLAY = np.array([213, 94, 0])
DIMMED = 0.8
PANELS_A_ROW = 3
# The file of mean maps, beside those of samples.
MEAN_MAPS = "mean_maps.png"


def shown(image: Pixels) -> Array:
    """A stretched image (channels, y, x) between 0 and 1, all channels together, the first row at the top."""
    flat = image.astype(np.float64).mean(axis=0)[::-1]
    low, high = np.percentile(flat, [1, 99.8])
    return np.clip((flat - low) / max(high - low, 1e-12), 0, 1)


def draw_sample(image: Pixels) -> Image.Image:
    """A stretched image as a picture."""
    coloured = colormaps["magma"](shown(image))[..., :3]
    return _enlarged(np.round(255 * coloured).astype(np.uint8))


def draw_map(image: Pixels, weights: Array) -> Image.Image:
    """A map (y, x) laid over its image in grey."""
    grey = 255 * DIMMED * shown(image)[..., None]
    share = strength(weights)[..., None]
    return _enlarged(np.round(grey * (1 - share) + OVERLAY * share).astype(np.uint8))


def strength(weights: Array) -> Array:
    """How strongly a map (y, x) is drawn, 0 to 0.85; what is below the average is not drawn."""
    mean, most = float(weights.mean()), float(np.percentile(weights, 99.5))
    return 0.85 * np.clip((weights[::-1] - mean) / max(most - mean, 1e-300), 0, 1)


def _enlarged(pixels: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(pixels)
    factor = -(-SMALLEST_SIDE // picture.width)
    return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)


@dataclass(frozen=True)
class MeanMaps:
    """The mean image of some samples, and their mean map by each method."""

    name: str
    samples: int
    image: Pixels
    maps: dict[str, Array]


def draw_mean_maps(rows: list[MeanMaps]) -> Figure:
    """A row for each class: mean image, then mean maps."""
    methods = list(rows[0].maps)
    titles = ["mean image", *methods][:PANELS_A_ROW]
    figure = Figure(figsize=(2 * len(titles) + 0.4, 2.1 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, one in enumerate(rows):
        panels = [(shown(one.image), "magma"), *((one.maps[name][::-1], "cividis") for name in methods)]
        for axis, title, (values, colours) in zip(axes[row], titles, panels, strict=False):
            axis.imshow(values, cmap=colours, vmin=0)
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(title, fontsize=10)
        axes[row, 0].set_ylabel(f"{one.name}, {one.samples} images", fontsize=8)
    return figure
