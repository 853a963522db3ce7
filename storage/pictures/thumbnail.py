"""A gallery small enough to be sent inside of a text: a row of images per class, in milliseconds."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from storage.files.place import Root
from storage.pictures.stretch import COLOURS, Limits, coloured, grey, limits_of
from storage.reader import Store, open_store

# Rows looked through for examples of each class: classes take turns, so a few suffice.
LOOKED_THROUGH = 1024
LIMITED_BY = 64
# images of each class and pixels of each; the first that is small enough is taken
SMALLER = ((6, 112), (5, 96), (4, 80), (3, 64), (2, 48))
MARGIN, LABEL_HEIGHT = 4, 14


def thumbnail(root: str | Root, most_bytes: int) -> bytes:
    """A gallery of the first split as a PNG file of so many bytes at most; b"" if it cannot be so small."""
    store = open_store(root)
    for columns, side in SMALLER:
        into = io.BytesIO()
        _draw(store, columns, side).quantize(64, dither=Image.Dither.NONE).save(into, "png", optimize=True)
        if into.tell() <= most_bytes:
            return into.getvalue()
    return b""


def _draw(store: Store, columns: int, side: int) -> Image.Image:
    split, classes = store.plan.splits[0].name, store.plan.classes
    labels = store.read(split, "label", slice(0, LOOKED_THROUGH))
    limits = limits_of(store.read(split, "image", slice(0, min(len(labels), LIMITED_BY))))
    row_height = side + LABEL_HEIGHT + MARGIN
    whole = Image.new("RGB", (columns * (side + MARGIN) + MARGIN, row_height * len(classes)), "white")
    pen = ImageDraw.Draw(whole)
    for row, one in enumerate(classes):
        pen.text((MARGIN, row * row_height), one.name, fill="black")
        for column, at in enumerate(np.flatnonzero(labels == one.label)[:columns]):
            image = store.read(split, "image", slice(at, at + 1))[0]
            picture = Image.fromarray(_pixels(image, limits)).resize((side, side), Image.Resampling.NEAREST)
            whole.paste(picture, (MARGIN + column * (side + MARGIN), row * row_height + LABEL_HEIGHT))
    return whole


def _pixels(image: NDArray[np.float32], limits: Limits) -> NDArray[np.uint8]:
    """Grey or in colours, north up."""
    shown = coloured(image, limits) if len(image) == COLOURS else grey(image, limits)
    return np.flipud(np.asarray(255 * np.clip(shown, 0, 1), dtype=np.uint8))
