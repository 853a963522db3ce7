"""A picture of a store: a row of images per class, each with the parameters that matter."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ColumnSpec
from schemas.errors import WriteError
from schemas.store import ClassSpec
from storage.place import Root
from storage.reader import Store, open_store

# Rows looked through for examples of each class: classes take turns, so a few suffice.
LOOKED_THROUGH = 4096
# as many bands make a coloured picture
COLOURS = 3
Limits = tuple[float, float, float]


def show(root: Root, out: Path, split: str | None = None, columns: int = 6) -> Path:
    """Draw `columns` images of each class of a split (the first by default) into a PNG file."""
    from matplotlib.figure import Figure

    if out.suffix != ".png":
        raise WriteError(f"cannot write the picture {out}", expected="a path ending in .png")
    store = open_store(root)
    split = split or store.plan.splits[0].name
    figure = Figure(figsize=(1.75 * columns + 0.6, 2.2 * len(store.plan.classes) + 0.5), layout="constrained")
    axes = figure.subplots(len(store.plan.classes), columns, squeeze=False)
    labels = store.read(split, "label", slice(0, LOOKED_THROUGH))
    params = store.read(split, "params", slice(0, LOOKED_THROUGH))
    limits = _limits(store, split, labels)
    for row, one in zip(axes, store.plan.classes, strict=True):
        found = np.flatnonzero(labels == one.label)
        captions = _captions(store, one, params[found])
        _draw_class(row, store, split, list(zip(found, captions, strict=True))[:columns], limits)
        row[0].text(
            -0.08, 0.5, one.name, rotation=90, va="center", ha="right", fontsize=9, transform=row[0].transAxes
        )
    figure.suptitle(_title(store, split), fontsize=9)
    try:
        figure.savefig(out, dpi=130)
    except (OSError, ValueError) as error:
        raise WriteError(
            f"cannot write the picture {out}: {error}", expected="a path that can be written"
        ) from error
    return out


def _title(store: Store, split: str) -> str:
    channels, _, side = store.plan.array("image").tail
    pixel = store.pixel_scale_arcsec
    size = f"{side} pixels" if pixel is None else f"{side * pixel:.1f} arcsec"
    scale = "asinh grey scale"
    if channels == COLOURS:
        blue_to_red = store.origin.band_names or ("first", "second", "third")
        scale = f"red {blue_to_red[2]}, green {blue_to_red[1]}, blue {blue_to_red[0]}, asinh scale"
    elif channels > 1:
        scale += f", sum of {channels} bands"
    return f"{store.origin.name} · {split} · {size} a side · {scale}"


def _brightness(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is stretched of images (n, channels, y, x): of colours the brightest, else all bands together."""
    return np.asarray(images.max(axis=1) if images.shape[1] == COLOURS else images.sum(axis=1))


def _limits(store: Store, split: str, labels: NDArray[Any]) -> Limits:
    """Softening, black and white of one stretch for the whole picture, so that images can be compared."""
    images = _brightness(store.read(split, "image", slice(0, min(len(labels), 64))))
    faint, bright = np.percentile(images, [25.0, 99.9])
    softening = max(float(bright - faint) / 20, 1e-12)
    return softening, float(np.arcsinh(faint / softening)), float(np.arcsinh(bright / softening))


def _coloured(image: NDArray[np.float32], limits: Limits) -> NDArray[np.float32]:
    """Three bands, blue to red, as a picture whose brightness is stretched and whose colours are true.

    All bands of a pixel are multiplied alike (Lupton et al. 2004), so that none is cut off before the others.
    """
    softening, _, white = limits
    brightest = np.maximum(image.max(axis=0), np.finfo(np.float32).tiny)
    stretch = np.arcsinh(brightest / softening) / max(white, 1e-12) / brightest
    picture = (image * np.minimum(stretch, 1 / brightest))[::-1]
    return np.asarray(picture.clip(0, 1).transpose(1, 2, 0))


def _draw_class(row: Any, store: Store, split: str, found: list[tuple[np.intp, str]], limits: Limits) -> None:
    softening, black, white = limits
    for axis in row:
        axis.set_axis_off()
    for axis, (at, caption) in zip(row, found, strict=False):
        image = store.read(split, "image", slice(at, at + 1))
        if image.shape[1] == COLOURS:
            axis.imshow(_coloured(image[0], limits), origin="lower", interpolation="nearest")
        else:
            grey = np.arcsinh(_brightness(image)[0] / softening)
            axis.imshow(grey, cmap="gray", origin="lower", vmin=black, vmax=white, interpolation="nearest")
        axis.set_title(caption, fontsize=6)


def _captions(store: Store, one: ClassSpec, params: NDArray[Any]) -> list[str]:
    """Headline parameters that differ between samples, the class's own first."""
    told = [
        (len(column.labels), position, column)
        for position, column in enumerate(store.plan.columns)
        if column.headline and one.label in column.labels and np.ptp(params[:, position]) > 0
    ]
    chosen = sorted(told)[:3]
    return ["\n".join(_labelled(column, float(row[at])) for _, at, column in chosen) for row in params]


def _labelled(column: ColumnSpec, value: float) -> str:
    unit = "" if column.unit == "1" else f" {column.unit}"
    return f"{column.name} {value:.3g}{unit}"
