"""From a recipe and sample numbers to lens systems and the columns that describe them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from schemas.columns import columns_of, macro_priors
from schemas.dataset import DatasetRecipe
from simulate.batch import Deflectors, LensBatch, Light, merge
from simulate.cosmology import deflection_scale
from simulate.photometry import sersic_amplitude
from simulate.quantiles import quantile
from simulate.streams import PARAMETERS, stream
from simulate.substructure import KINDS, Surroundings

Array = NDArray[np.float64]
Columns = dict[str, Array]


@dataclass(frozen=True)
class Drawn:
    """Lens systems with everything that is known of them."""

    sample_id: NDArray[np.int64]
    label: NDArray[np.int32]
    columns: Columns
    systems: LensBatch

    def params(self, names: Sequence[str]) -> Array:
        """The columns as a table."""
        return np.stack([self.columns[name] for name in names], axis=1)


def draw(recipe: DatasetRecipe, sample_id: NDArray[np.int64]) -> Drawn:
    """The systems of these samples. Each depends on the recipe, its seed and its own number alone."""
    streams = [stream(recipe.seed, PARAMETERS, int(one)) for one in sample_id]
    columns = _macro_columns(recipe, streams)
    positions = recipe.class_positions(sample_id)
    substructure, own_columns = _substructure(recipe, columns, positions, streams)
    scale = deflection_scale(recipe.deflection_convention, columns["z_lens"], columns["z_source"])
    deflectors = tuple(group.scaled(scale) for group in (*_smooth_lens(recipe, columns), *substructure))
    labels = np.array([one.label for one in recipe.classes], dtype=np.int32)
    return Drawn(
        sample_id=sample_id,
        label=labels[positions],
        columns=columns | own_columns,
        systems=LensBatch(len(sample_id), deflectors, _source(recipe, columns)),
    )


def _macro_columns(recipe: DatasetRecipe, streams: Sequence[Generator]) -> Columns:
    priors = list(macro_priors(recipe))
    uniforms = np.array([one.random(len(priors)) for one in streams]).reshape(-1, len(priors))
    return {name: quantile(prior, uniforms[:, k]) for k, (name, prior, _, _) in enumerate(priors)}


def _smooth_lens(recipe: DatasetRecipe, columns: Columns) -> tuple[Deflectors, ...]:
    everyone = np.arange(len(columns["theta_E"]))
    lens = {name: columns[name] for name in ("theta_E", "e1", "e2", "center_x", "center_y")}
    shear = {name: columns[name] for name in ("gamma1", "gamma2")}
    return (
        Deflectors(recipe.main_lens.kind, everyone, lens),
        Deflectors(recipe.shear.kind, everyone, shear),
    )


def _source(recipe: DatasetRecipe, columns: Columns) -> Light:
    names = ("R_sersic", "n_sersic", "e1", "e2", "center_x", "center_y")
    parameters = {name: columns[f"source_{name}"] for name in names}
    if recipe.source.amp is not None:
        amp = columns["source_amp"]
    else:
        zero_point = recipe.detector.magnitude_zero_point
        amp = sersic_amplitude(
            columns["source_magnitude"], zero_point, parameters["R_sersic"], parameters["n_sersic"]
        )
    return Light(recipe.source.kind, {"amp": amp, **parameters})


def _substructure(
    recipe: DatasetRecipe, columns: Columns, positions: NDArray[np.int64], streams: Sequence[Generator]
) -> tuple[tuple[Deflectors, ...], Columns]:
    macro = set(columns)
    own = {c.name: np.full(len(streams), np.nan) for c in columns_of(recipe) if c.name not in macro}
    parts = []
    for position, one in enumerate(recipe.classes):
        rows = np.flatnonzero(positions == position)
        if not len(rows):
            continue
        around = Surroundings(
            columns["z_lens"][rows],
            columns["z_source"][rows],
            columns["center_x"][rows],
            columns["center_y"][rows],
            recipe.cosmology,
            recipe.mass_conversion,
        )
        kind = one.substructure
        added = KINDS[kind.kind](kind, around, [streams[int(row)] for row in rows])
        parts += [(rows, group) for group in added.deflectors]
        for name, values in added.columns.items():
            own[name][rows] = values
    return merge(parts), own
