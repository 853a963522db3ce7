"""A picture of one sample: image, image without noise, convergence of its substructure, deflection."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.sample import SampleSheet

Array = NDArray[Any]
# decades of convergence that are told apart
DECADES = 4
SIZE, DPI = (9.2, 8.0), 110


def portrait(sheet: SampleSheet, arrays: Mapping[str, Array], normalised: bool = False) -> bytes:
    """PNG of a sample's arrays, each (components, y, x); of an image with several channels the first.

    Image and `noise_free` share a scale, unless normalising left the image without a unit.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    figure.suptitle(f"{sheet.recipe}, sample {sheet.sample_id}: {sheet.class_name}", fontsize=11)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    step, image, sharp = sheet.pixel_scale_arcsec, arrays["image"][0], arrays["noise_free"][0]
    shared, own = _stretch(sharp), "of the brightest pixel, asinh" if normalised else "as stored, asinh"
    _show(panels[0, 0], image, step, "image", own, norm=_stretch(image) if normalised else shared)
    _show(panels[0, 1], sharp, step, "before noise", "as stored, asinh", norm=shared)
    _show_convergence(panels[1, 0], arrays["convergence"][0], step)
    _show_deflection(panels[1, 1], arrays["deflection"].astype(np.float64), step)
    for axis in panels[1]:
        axis.set_xlabel("x, arcsec", fontsize=8)
    for axis in panels[:, 0]:
        axis.set_ylabel("y, arcsec", fontsize=8)
    into = io.BytesIO()
    figure.savefig(into, format="png", dpi=DPI)
    return into.getvalue()


def _stretch(values: Array) -> Any:
    """From black at the faintest, or at 0, to white at all but the brightest."""
    from matplotlib.colors import AsinhNorm

    faint, bright = min(float(values.min()), 0.0), float(np.percentile(values, 99.9))
    return AsinhNorm(max(bright / 20, 1e-12), faint, max(bright, faint + 1e-12))


def _show(axis: Any, values: Array, step: float, title: str, unit: str, **how: Any) -> None:
    half = values.shape[0] * step / 2
    extent = (-half, half, -half, half)
    how = {"cmap": "gray", "origin": "lower", "interpolation": "nearest", "extent": extent} | how
    bar = axis.figure.colorbar(axis.imshow(values, **how), ax=axis, shrink=0.9)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=8)


def _show_convergence(axis: Any, values: Array, step: float) -> None:
    from matplotlib.colors import LogNorm

    top = float(values.max())
    unit = "1, mean over the pixel"
    if top <= 0:
        _show(axis, values, step, "no substructure", unit, vmin=0, vmax=1)
        return
    axis.set_facecolor("black")
    norm = LogNorm(top * 10.0**-DECADES, top)
    shown = np.ma.masked_less_equal(values, 0)
    _show(axis, shown, step, "convergence of the substructure", unit, cmap="inferno", norm=norm)


def _show_deflection(axis: Any, alpha: Array, step: float) -> None:
    """Its size, with the longest critical curve and the caustic of that."""
    size = np.hypot(*alpha)
    # a point mass deflects without bound
    how = {"cmap": "viridis", "vmax": np.percentile(size, 99.8)}
    _show(axis, size, step, "deflection; largest critical curve and its caustic (dashed)", "arcsec", **how)
    # x, y = columns, rows
    (xy, xx), (yy, yx) = (np.gradient(one, step) for one in alpha)
    determinant = (1 - xx) * (1 - yy) - xy * yx
    if determinant.min() > 0 or determinant.max() < 0:
        return
    position = (np.arange(len(size)) - (len(size) - 1) / 2) * step
    curves = axis.contour(position, position, determinant, [0.0], alpha=0).allsegs[0]
    # differences of neighbouring pixels also find circles around points and cusps, of the size of pixels
    curve = max(curves, key=lambda one: float(np.hypot(*np.diff(one, axis=0).T).sum()))
    caustic = curve - np.stack([_between(one, curve, step) for one in alpha], axis=1)
    axis.plot(*curve.T, color="white", linewidth=0.9)
    axis.plot(*caustic.T, color="white", linewidth=0.8, linestyle="--")
    half = len(size) * step / 2
    axis.set(xlim=(-half, half), ylim=(-half, half))


def _between(values: Array, places: Array, step: float) -> Array:
    """Bilinear, at places (x, y) inside the field."""
    side = values.shape[0]
    x, y = np.clip(places.T / step + (side - 1) / 2, 0, side - 1 - 1e-9)
    i, j = x.astype(int), y.astype(int)
    u, v = x - i, y - j
    below = (1 - u) * values[j, i] + u * values[j, i + 1]
    above = (1 - u) * values[j + 1, i] + u * values[j + 1, i + 1]
    return np.asarray((1 - v) * below + v * above)
