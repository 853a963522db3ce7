"""A picture of a store: a row of images per class, each with the parameters that matter."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ColumnSpec
from schemas.errors import PlaceError
from schemas.store import ClassSpec, StorePlan
from storage.files.durable import write_result
from storage.files.place import Root, local
from storage.pictures.stretch import COLOURS, Limits, coloured, grey, limits_of
from storage.reader import Store, open_store

# Rows looked through for examples of each class: classes take turns, so a few suffice.
LOOKED_THROUGH = 4096


def show(root: str | Root, out: str | Path, split: str | None = None, columns: int = 6) -> Path:
    """Draw `columns` images of each class of a split (the first by default) into a PNG file."""
    from matplotlib.figure import Figure

    out = local(out)
    if out.suffix != ".png":
        raise PlaceError(
            f"cannot write the picture {out}", expected="a path ending in .png", advice="choose another --out"
        )
    store = open_store(root)
    split = split or store.plan.splits[0].name
    figure = Figure(figsize=(1.75 * columns + 0.6, 2.2 * len(store.plan.classes) + 0.5), layout="constrained")
    axes = figure.subplots(len(store.plan.classes), columns, squeeze=False)
    labels = store.read(split, "label", slice(0, LOOKED_THROUGH))
    params = store.read(split, "params", slice(0, LOOKED_THROUGH))
    limits = limits_of(store.read(split, "image", slice(0, min(len(labels), 64))))
    for row, one in zip(axes, store.plan.classes, strict=True):
        found = np.flatnonzero(labels == one.label)
        captions = _captions(store, one, params[found])
        _draw_class(row, store, split, list(zip(found, captions, strict=True))[:columns], limits)
        row[0].text(
            -0.08, 0.5, one.name, rotation=90, va="center", ha="right", fontsize=9, transform=row[0].transAxes
        )
    figure.suptitle(_title(store, split), fontsize=9)
    into = io.BytesIO()
    figure.savefig(into, format="png", dpi=130)
    return write_result(out, into.getvalue(), "the picture")


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


def _draw_class(row: Any, store: Store, split: str, found: list[tuple[np.intp, str]], limits: Limits) -> None:
    for axis in row:
        axis.set_axis_off()
    for axis, (at, caption) in zip(row, found, strict=False):
        image = store.read(split, "image", slice(at, at + 1))
        if image.shape[1] == COLOURS:
            axis.imshow(coloured(image[0], limits), origin="lower", interpolation="nearest")
        else:
            shown = grey(image[0], limits)
            axis.imshow(shown, cmap="gray", origin="lower", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(caption, fontsize=6)


def _captions(store: Store, one: ClassSpec, params: NDArray[Any]) -> list[str]:
    """Headline parameters of each row as text."""
    chosen = [(at, store.plan.columns[at]) for at in headlines(store.plan, one, params)]
    return ["\n".join(_labelled(column, float(row[at])) for at, column in chosen) for row in params]


def headlines(plan: StorePlan, one: ClassSpec, params: NDArray[Any]) -> list[int]:
    """Positions of the headline columns that differ between these rows of a class, the class's own first."""
    told = [
        (len(column.labels), position)
        for position, column in enumerate(plan.columns)
        if column.headline and one.label in column.labels and np.ptp(params[:, position]) > 0
    ]
    return [position for _, position in sorted(told)[:3]]


def _labelled(column: ColumnSpec, value: float) -> str:
    unit = "" if column.unit == "1" else f" {column.unit}"
    return f"{column.name} {value:.3g}{unit}"
