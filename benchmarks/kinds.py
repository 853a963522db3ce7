"""The pictures of docs/kinds.md: each kind of substructure in one and the same lens.

    python -m benchmarks.kinds --out docs/pictures

Beside its convergence, averaged over pixels: the image with noise, and the difference that the substructure
makes to the noise-free image of the smooth lens.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from lenstronomy.LensModel.lens_model import LensModel
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from simulate.batch import Deflectors
from simulate.draw import draw
from simulate.engines import ENGINES
from simulate.engines.line import line_deflection, split_lines
from simulate.render import finish, noise_free
from simulate.smooth_model import smooth_part

Array = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]
# a lens of the recipe `hst` whose ring is whole, so that substructure anywhere shows
SAMPLE = 22
# places along a pixel at which a convergence is taken
FINE = 5
FAINTEST, BRIGHTEST = 3e-3, 3.0

_MASSES = "mass_msun: {kind: power_law, slope: -0.9, low: 1e6, high: 1e10}"
EXAMPLES = {
    "none": "",
    "subhalos": f", count: 25, {_MASSES}, radius_arcsec: {{kind: uniform, low: 0.25, high: 2}}",
    "cold": ", f_sub: 0.05",
    "warm": ", f_sub: 0.05, half_mode_mass_msun: 1e9",
    "self_interacting": ", f_sub: 0.05, cross_section_cm2_g: 20",
    "vortex": ", points: 100, mass_msun: 3e10, axion_mass_ev: 3e-24, half_length_at_1e22_arcsec: 0.03",
    "vortices": ", mass_msun: 1e10, half_length_theta_E: 0.7",
}


def recipe_of(kind: str) -> DatasetRecipe:
    """`hst` with one class of this kind."""
    one = f"{{name: example, label: 10, substructure: {{kind: {kind}{EXAMPLES[kind]}}}}}"
    with warnings.catch_warnings():
        # the field is as long as the vortex of the replicas may be
        warnings.simplefilter("ignore", UserWarning)
        return load_recipe("hst", ["detectability=null", f"classes=[{one}]"])


def convergence(groups: Sequence[Deflectors], recipe: DatasetRecipe) -> Array:
    """Half the divergence of the deflection, averaged over each pixel."""
    count, step = recipe.detector.num_pix * FINE, recipe.detector.pixel_scale_arcsec / FINE
    edges = (np.arange(count + 1) - count / 2) * step
    middles = (edges[1:] + edges[:-1]) / 2
    across = np.diff(_deflection(groups, *np.meshgrid(edges, middles))[0], axis=1)
    along = np.diff(_deflection(groups, *np.meshgrid(middles, edges))[1], axis=0)
    fine = (across + along) / (2 * step)
    side = recipe.detector.num_pix
    return np.asarray(fine.reshape(side, FINE, side, FINE).mean(axis=(1, 3)))


def _deflection(groups: Sequence[Deflectors], x: Array, y: Array) -> tuple[Array, Array]:
    found_x, found_y = np.zeros(x.shape), np.zeros(x.shape)
    parts = [
        part for group in groups for part in (split_lines(group) if group.profile == "LINE" else [group])
    ]
    for part in parts:
        for member in range(len(part.owner)):
            numbers = {name: float(values[member]) for name, values in part.parameters.items()}
            if part.profile == "LINE":
                numbers.pop("points")
                one = line_deflection(x, y, **numbers)
            else:
                one = LensModel([part.profile]).alpha(x.ravel(), y.ravel(), [numbers])
            found_x += np.reshape(one[0], x.shape)
            found_y += np.reshape(one[1], x.shape)
    return found_x, found_y


def draw_kind(kind: str, path: Path) -> None:
    """One picture: convergence, image, difference."""
    recipe = recipe_of(kind)
    drawn = draw(recipe, np.array([SAMPLE]))
    smooth = smooth_part(recipe, drawn)
    kept = {group.profile for group in smooth.deflectors}
    added = [group for group in drawn.systems.deflectors if group.profile not in kept]
    sharp = noise_free(recipe, drawn)
    difference = sharp[0] - ENGINES[recipe.engine](smooth, recipe.detector)[0]
    figure = Figure(figsize=(10.2, 3.1), layout="constrained")
    panels = figure.subplots(1, 3)
    _show_convergence(panels[0], figure, convergence(added, recipe), recipe)
    _show_image(panels[1], finish(recipe, drawn, sharp)[0], recipe)
    _show_difference(panels[2], figure, 100 * difference / sharp.max(), recipe)
    figure.savefig(path, dpi=100)


def _show(axes: Axes, values: Array, recipe: DatasetRecipe, title: str, **how: Any) -> Any:
    half = recipe.detector.num_pix * recipe.detector.pixel_scale_arcsec / 2
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("arcsec", fontsize=7)
    return axes.imshow(
        values, origin="lower", extent=(-half, half, -half, half), interpolation="nearest", **how
    )


def _show_convergence(axes: Axes, figure: Figure, values: Array, recipe: DatasetRecipe) -> None:
    norm = LogNorm(FAINTEST, BRIGHTEST)
    shown = _show(
        axes,
        np.clip(values, FAINTEST, None),
        recipe,
        "convergence of the substructure",
        cmap="magma",
        norm=norm,
    )
    figure.colorbar(shown, ax=axes).ax.tick_params(labelsize=7)


def _show_image(axes: Axes, image: NDArray[np.float32], recipe: DatasetRecipe) -> None:
    softening = float(image.max()) / 20
    _show(axes, np.arcsinh(image / softening), recipe, "image, asinh grey scale", cmap="gray", vmin=0)


def _show_difference(axes: Axes, figure: Figure, percent: Array, recipe: DatasetRecipe) -> None:
    # a single pixel would make all others pale
    most = max(float(np.percentile(np.abs(percent), 99.7)), 1e-3)
    title = "difference, percent of the peak"
    shown = _show(axes, percent, recipe, title, cmap="RdBu_r", vmin=-most, vmax=most)
    figure.colorbar(shown, ax=axes, extend="both").ax.tick_params(labelsize=7)


def main(arguments: list[str] | None = None) -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kinds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures", help="folder of the pictures")
    parser.add_argument("--only", nargs="+", choices=sorted(EXAMPLES), metavar="KIND", help="some kinds")
    options = parser.parse_args(arguments)
    for kind in options.only or EXAMPLES:
        path = options.out / f"kind_{kind}.png"
        draw_kind(kind, path)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
