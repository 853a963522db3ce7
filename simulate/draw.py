"""From a recipe and sample numbers to lens systems and the columns that describe them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.columns import columns_of, macro_priors, plane_priors
from schemas.dataset import DatasetRecipe
from schemas.galaxy_image import GalaxyImage
from schemas.planes import AnyPlane, Pair
from schemas.priors import AnyPrior, Choice
from simulate.batch import Deflectors, LensBatch, merge
from simulate.compensation import smooth_einstein_radius
from simulate.cosmology import deflection_scale
from simulate.light import with_light
from simulate.planes import PLANES
from simulate.quantiles import quantile
from simulate.sources import source_states
from simulate.streams import PARAMETERS, Streams
from simulate.substructure import KINDS, Surroundings

Array = NDArray[np.float64]
Columns = dict[str, Array]
ISOTHERMAL = 2.0
ELLIPSE = ("e1", "e2", "center_x", "center_y")


@dataclass(frozen=True)
class Drawn:
    """Lens systems with everything that is known of them: in the first band, and in those after it."""

    sample_id: NDArray[np.int64]
    label: NDArray[np.int32]
    columns: Columns
    systems: LensBatch
    # those of the systems' deflectors that are no part of the smooth lens
    substructure: tuple[Deflectors, ...]
    further: tuple[LensBatch, ...] = ()

    @property
    def bands(self) -> tuple[LensBatch, ...]:
        """The systems as each band sees them."""
        return (self.systems, *self.further)

    def params(self, names: Sequence[str]) -> Array:
        """The columns as a table."""
        return np.stack([self.columns[name] for name in names], axis=1)


def draw(recipe: DatasetRecipe, sample_id: NDArray[np.int64]) -> Drawn:
    """The systems of these samples. Each depends on the recipe, its seed and its own number alone."""
    streams = Streams(recipe.seed, PARAMETERS, sample_id)
    positions = recipe.class_positions(sample_id)
    columns = _macro_columns(recipe, streams)
    columns |= source_states(recipe, positions, streams)
    substructure, own_columns = _substructure(recipe, columns, positions, streams)
    if recipe.compensate_mass:
        own_columns["theta_E_smooth"] = smooth_einstein_radius(recipe, columns, substructure, sample_id)
    smooth = _smooth_lens(recipe, columns | own_columns)
    if recipe.deflection_convention is not None:
        scale = deflection_scale(recipe.deflection_convention, columns["z_lens"], columns["z_source"])
        smooth, substructure = (
            tuple(group.scaled(scale) for group in groups) for groups in (smooth, substructure)
        )
    columns = columns | own_columns
    systems = LensBatch(len(sample_id), (*smooth, *substructure), ())
    seen = [with_light(recipe, systems, columns, band) for band in range(recipe.channels)]
    labels = np.array([one.label for one in recipe.classes], dtype=np.int32)
    return Drawn(sample_id, labels[positions], columns, seen[0], substructure, tuple(seen[1:]))


@lru_cache(maxsize=16)
def _priors(recipe: DatasetRecipe) -> tuple[tuple[str, AnyPrior], ...]:
    """Of the parameters that every class draws, in draw order."""
    return tuple((name, prior) for name, prior, _, _ in macro_priors(recipe))


@lru_cache(maxsize=16)
def _planes(recipe: DatasetRecipe) -> tuple[tuple[str, str, AnyPlane, Pair], ...]:
    """Of the parameters that are drawn together."""
    return tuple(plane_priors(recipe))


def _macro_columns(recipe: DatasetRecipe, streams: Streams) -> Columns:
    priors = _priors(recipe)
    # one parameter's numbers side by side
    numbers = np.ascontiguousarray(streams.random(len(priors)).T)
    uniforms = {name: numbers[k] for k, (name, _) in enumerate(priors)}
    columns = {name: quantile(prior, uniforms[name]) for name, prior in priors}
    for first, second, plane, pair in _planes(recipe):
        # the main lens comes first, so that what lies around it finds it
        draw_plane = PLANES[plane.kind]
        columns[first], columns[second] = draw_plane(plane, uniforms[first], uniforms[second], pair, columns)
    if isinstance(recipe.source, GalaxyImage) and recipe.source.own_galaxies_per_split:
        columns["galaxy_index"] = _galaxies_of_splits(recipe, uniforms["galaxy_index"], streams.sample_id)
    return columns


def _galaxies_of_splits(recipe: DatasetRecipe, uniform: Array, sample_id: NDArray[np.int64]) -> Array:
    """A galaxy for each sample, from those of its split alone."""
    found = np.empty(len(uniform))
    splits = recipe.split_positions(sample_id)
    for split in np.unique(splits):
        own = Choice(values=tuple(map(float, recipe.galaxies_of_split(int(split)))))
        found[splits == split] = quantile(own, uniform[splits == split])
    return found


def _smooth_lens(recipe: DatasetRecipe, columns: Columns) -> tuple[Deflectors, ...]:
    everyone = np.arange(len(columns["theta_E"]))
    slope = ("gamma",) if recipe.main_lens.kind == "EPL" else ()
    lens = {name: columns[name] for name in ("theta_E", *slope, *ELLIPSE)}
    # the column theta_E keeps what was drawn, which has the same law in every class
    lens["theta_E"] = columns.get("theta_E_smooth", columns["theta_E"])
    shear = {name: columns[name] for name in ("gamma1", "gamma2")}
    found = [
        Deflectors(recipe.main_lens.kind, everyone, lens),
        Deflectors(recipe.shear.kind, everyone, shear),
    ]
    if recipe.multipole is not None:
        parameters = {
            "m": np.full(len(everyone), float(recipe.multipole.m)),
            **{name: columns[f"multipole_{name}"] for name in ("a_m", "phi_m")},
            **{name: columns[name] for name in ("center_x", "center_y")},
            # asked for by lenstronomy, used by it for m = 1 alone
            "r_E": np.ones(len(everyone)),
        }
        found.append(Deflectors(recipe.multipole.kind, everyone, parameters))
    return tuple(found)


def surroundings(recipe: DatasetRecipe, columns: Columns) -> Surroundings:
    """What substructure may know of systems with these columns."""
    return Surroundings(
        z_lens=columns["z_lens"],
        z_source=columns["z_source"],
        center_x=columns["center_x"],
        center_y=columns["center_y"],
        theta_E=columns["theta_E"],
        slope=columns.get("gamma", np.full(len(columns["theta_E"]), ISOTHERMAL)),
        ellipticity=np.hypot(columns["e1"], columns["e2"]),
        cosmology=recipe.cosmology,
        mass_conversion=recipe.mass_conversion,
    )


def _substructure(
    recipe: DatasetRecipe, columns: Columns, positions: NDArray[np.int64], streams: Streams
) -> tuple[tuple[Deflectors, ...], Columns]:
    own = {c.name: np.full(len(streams), np.nan) for c in columns_of(recipe) if c.name not in columns}
    parts = []
    for position, one in enumerate(recipe.classes):
        rows = np.flatnonzero(positions == position)
        if not len(rows):
            continue
        kind = one.substructure
        around = surroundings(recipe, {name: values[rows] for name, values in columns.items()})
        added = KINDS[kind.kind](kind, around, streams.subset(rows))
        parts += [(rows, group) for group in added.deflectors]
        for name, values in added.columns.items():
            own[name][rows] = values
    return merge(parts), own
