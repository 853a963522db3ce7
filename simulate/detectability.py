"""How visible substructure is: the signal that is left of it after the smooth lens is refitted.

The difference between a noise-free image and that of the smooth lens alone, with the noise of each pixel as
its weight, is projected onto what changes of the smooth lens cannot make (Fisher information; the derivatives
are finite differences). The smooth lens is then moved to the best fit and the difference taken anew.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import SPLITS, DatasetRecipe
from schemas.instrument import ModelINoise
from simulate.batch import LensBatch
from simulate.draw import Drawn
from simulate.engines import ENGINES
from simulate.noise import background_rms
from simulate.smooth_model import Move, brightness_moves, moved, shape_moves, smooth_part

Array = NDArray[np.float64]
Engine = Callable[[LensBatch], Array]

# of a finite difference, in arcsec, as a share of a size, or a pure number. One-sided: 1e-4 of the result.
STEP = 1e-6
# times that the smooth lens is moved to where the last fit says; strong signals are not linear
REFITS = 2
# pixels of the systems that are refitted together: their derivatives should stay in cache
PIXELS_TOGETHER = 1 << 18
# of parameters that change nothing, or the same as others; the derivatives have length 1
RIDGE = 1e-12


def with_detectability(recipe: DatasetRecipe, drawn: Drawn, images: Array) -> Drawn:
    """The same systems with the column that tells it: NaN outside the splits that the recipe asks for."""
    splits = recipe.detectability or ()
    asked = np.isin(recipe.split_positions(drawn.sample_id), [SPLITS.index(split) for split in splits])
    values = np.full(len(images), np.nan)
    values[asked] = detectability(recipe, drawn, images, np.flatnonzero(asked))
    return replace(drawn, columns=drawn.columns | {"detectability": values})


def detectability(
    recipe: DatasetRecipe, drawn: Drawn, images: Array, rows: NDArray[np.int64], refits: int = REFITS
) -> Array:
    """Signal-to-noise ratio of what the smooth lens cannot imitate, for some rows; 0 without substructure.

    `images` are the noise-free ones of all drawn systems.
    """
    (detector,) = recipe.detectors

    def engine(systems: LensBatch) -> Array:
        return ENGINES[recipe.engine](systems, detector)

    smooth = smooth_part(recipe, drawn)
    with_substructure = np.isin(rows, _owners(drawn.systems, smooth))
    together = max(1, PIXELS_TOGETHER // detector.num_pix**2)
    found = np.zeros(len(rows))
    for start in range(0, len(rows), together):
        block = np.flatnonzero(with_substructure[start : start + together]) + start
        if len(block):
            some = rows[block]
            deviates = np.sqrt(noise_variance(recipe, drawn, images, some))
            found[block] = _unexplained(smooth.subset(some), images[some], deviates, engine, refits)
    return found


def noise_variance(recipe: DatasetRecipe, drawn: Drawn, images: Array, rows: NDArray[np.int64]) -> Array:
    """Of each pixel, by the recipe's noise: background and the image's own light, (electrons / s)^2."""
    light = np.maximum(images[rows], 0)
    if isinstance(recipe.noise, ModelINoise):
        # counts over exposure time; shot noise twice
        times = drawn.columns["exposure_time_s"][rows, None, None]
        return np.asarray(recipe.noise.background_rms**2 + 2 * light / times)
    (detector,) = recipe.detectors
    return np.asarray(background_rms(detector) ** 2 + light / detector.total_exposure_s)


def _owners(systems: LensBatch, smooth: LensBatch) -> NDArray[np.int64]:
    """Which systems have anything beside the smooth lens."""
    kept = {group.profile for group in smooth.deflectors}
    added = [group.owner for group in systems.deflectors if group.profile not in kept]
    return np.unique(np.concatenate([np.empty(0, np.int64), *added]))


def _unexplained(smooth: LensBatch, images: Array, deviates: Array, engine: Engine, refits: int) -> Array:
    """Length of the difference from the best smooth lens, in standard deviations of the noise."""
    shapes = shape_moves(smooth)
    moves = (*shapes, *brightness_moves(smooth))
    model = engine(smooth)
    basis = _derivatives(smooth, shapes, model, engine)
    basis /= deviates[:, None]
    basis = basis.reshape(*basis.shape[:2], -1)
    fit = _Fit(basis)
    found, least = np.full(smooth.rows, np.nan), np.full(smooth.rows, np.inf)
    fitted = step = np.zeros((smooth.rows, len(moves)))
    for refit in range(refits + 1):
        if refit:
            model = engine(moved(smooth, moves, fitted + step))
        difference = ((images - model) / deviates).reshape(smooth.rows, -1)
        left, further = fit(difference)
        # where a step led astray, a shorter one follows
        better = _length(difference) < least
        found[better], least[better] = left[better], _length(difference)[better]
        fitted = np.where(better[:, None], fitted + step, fitted)
        step = np.where(better[:, None], further, step / 4)
    return found


def _derivatives(smooth: LensBatch, shapes: tuple[Move, ...], model: Array, engine: Engine) -> Array:
    """Images per unit of each parameter, (systems, parameters, y, x); the image is linear in brightness."""
    ahead = np.full(smooth.rows, STEP)
    lights = [model]
    if smooth.lens_light:
        unlensed = engine(replace(smooth, deflectors=(), source=()))
        lights = [model - unlensed, unlensed]
    found = np.empty((smooth.rows, len(shapes) + len(lights), *model.shape[1:]))
    for k, move in enumerate(shapes):
        found[:, k] = engine(move(smooth, ahead))
        found[:, k] -= model
        found[:, k] /= STEP
    for k, light in enumerate(lights, start=len(shapes)):
        found[:, k] = light
    return found


class _Fit:
    """Least squares of many systems: what is left of a difference, and the step that takes the rest away.

    Projections are numpy's own sums: those of BLAS, matrix times vector, depend on its number of threads.
    """

    def __init__(self, basis: Array) -> None:
        """(systems, parameters, pixels)."""
        self.basis = basis
        gram = basis @ basis.transpose(0, 2, 1)
        lengths = np.sqrt(np.einsum("skk->sk", gram))
        lengths[lengths == 0] = 1
        self.lengths = lengths
        self.gram = gram / (lengths[:, :, None] * lengths[:, None]) + RIDGE * np.eye(basis.shape[1])

    def __call__(self, difference: Array) -> tuple[Array, Array]:
        along = np.einsum("skp,sp->sk", self.basis, difference) / self.lengths
        step = np.linalg.solve(self.gram, along[:, :, None])[:, :, 0] / self.lengths
        return _length(difference - np.einsum("skp,sk->sp", self.basis, step)), step


def _length(values: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("sp,sp->s", values, values)))
