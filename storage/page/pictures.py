"""Pictures of samples as PNG in data URIs, as large as a page's budget allows."""

import base64
import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.store import StorePlan
from storage.pictures.stretch import COLOURS, coloured, grey, limits_of
from storage.reader import Store

# Bytes of all pictures before base64 makes them a third larger; noise does not compress.
BUDGET = 1_750_000
MOST_SIDE, MOST_SAMPLES, FEWEST_SAMPLES = 128, 144, 48
# Samples from which the stretch is taken.
JUDGED = 48
# decades of convergence that are told apart
DECADES = 4
# of a PNG file beside its pixels, and of the palette of a coloured map
PNG_BYTES, PALETTE_BYTES = 200, 800
Maps = NDArray[np.float32]


class Size(NamedTuple):
    """How many samples are pictured, and how many pixels are averaged into one along a side."""

    samples: int
    binned: int


def size_of(plan: StorePlan, groups: int, strip: int) -> Size:
    """As many and as sharp pictures as fit, at least one for each of `groups`; `strip` images come twice."""
    channels, _, side = plan.array("image").tail
    planes = 3 if channels == COLOURS else 1
    wanted = min(max(FEWEST_SAMPLES, groups), MOST_SAMPLES)
    binned = math.ceil(side / MOST_SIDE)
    while True:
        pixels = (side // binned) ** 2
        image = planes * pixels + PNG_BYTES
        sample = image
        sample += image if "noise_free" in plan_products(plan) else 0
        sample += pixels + PALETTE_BYTES if "convergence" in plan_products(plan) else 0
        fit = (BUDGET - strip * image) // sample
        if fit >= wanted or pixels <= 16**2:
            return Size(int(np.clip(fit, 1, MOST_SAMPLES)), binned)
        binned += 1


def plan_products(plan: StorePlan) -> list[str]:
    """Maps that are pictured beside the image."""
    return [name for name in ("noise_free", "convergence") if any(one.name == name for one in plan.arrays)]


class Row(NamedTuple):
    """Where a sample is."""

    split: str
    row: int


def draw_pictures(store: Store, array: str, rows: list[Row], binned: int) -> list[str]:
    """A data URI for each row of an array, all in one stretch."""
    maps = [_binned(store.read(one.split, array, slice(one.row, one.row + 1))[0], binned) for one in rows]
    if not maps:
        return []
    draw = _convergence(maps) if array == "convergence" else _image(maps)
    return [draw(one) for one in maps]


def _binned(values: Maps, binned: int) -> Maps:
    """Means of `binned` x `binned` pixels; what is left over at the far edges is cut off."""
    if binned == 1:
        return values
    channels, side = values.shape[0], values.shape[-1] // binned
    kept = values[:, : side * binned, : side * binned]
    return np.asarray(kept.reshape(channels, side, binned, side, binned).mean(axis=(2, 4)))


def _image(maps: list[Maps]) -> Callable[[Maps], str]:
    step = max(len(maps) // JUDGED, 1)
    limits = limits_of(np.stack(maps[::step]))
    if len(maps[0]) == COLOURS:
        return lambda image: _uri(coloured(image, limits))
    return lambda image: _uri(grey(image, limits))


def _convergence(maps: list[Maps]) -> Callable[[Maps], str]:
    """Logarithmic below the brightest pixel of all, as the portrait of a sample is; none is black."""
    from matplotlib import colormaps

    top = max(float(one.max()) for one in maps)
    palette = (colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    # what has no mass at all differs from what has little
    palette[0] = 0

    def draw(values: Maps) -> str:
        if top <= 0:
            return _uri(np.zeros(values.shape[1:]), palette)
        with np.errstate(divide="ignore"):
            decades = np.log10(values[0] / top) / DECADES + 1
        return _uri(np.where(values[0] > 0, decades.clip(1 / 255, 1), 0), palette)

    return draw


def _uri(values: NDArray[Any], palette: NDArray[np.uint8] | None = None) -> str:
    """A PNG of values from 0 to 1, whose row 0 is at the bottom."""
    pixels = np.ascontiguousarray((values * 255).round().astype(np.uint8)[::-1])
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette.tobytes())
    into = io.BytesIO()
    picture.save(into, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(into.getvalue()).decode()
