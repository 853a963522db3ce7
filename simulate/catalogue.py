"""Every point mass, halo and line of drawn systems, as rows of a table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.products import CATALOGUE
from simulate.batch import Array, Deflectors
from simulate.cosmology import deflection_scale
from simulate.draw import Drawn, surroundings
from simulate.masses import TOTALS, total

Table = dict[str, NDArray[Any]]
NUMPY = {"int64": np.int64, "int32": np.int32, "float64": np.float64, "str": object}


def catalogue(recipe: DatasetRecipe, drawn: Drawn) -> Table:
    """One sample after the other, in each the profiles one after the other, in each as they were drawn."""
    unit = _unit_mass(recipe, drawn)
    parts = [_table(group, drawn, unit) for group in drawn.substructure]
    owner = np.concatenate([np.empty(0, np.int64), *(group.owner for group in drawn.substructure)])
    return {name: values[np.argsort(owner, kind="stable")] for name, values in joined(parts).items()}


def joined(parts: list[Table]) -> Table:
    """Tables below each other; without parts one without rows."""
    empty = {column.name: np.empty(0, NUMPY[column.dtype]) for column in CATALOGUE}
    return {name: np.concatenate([none, *(part[name] for part in parts)]) for name, none in empty.items()}


def _unit_mass(recipe: DatasetRecipe, drawn: Drawn) -> Array:
    """Of each system the square of the Einstein radius of one solar mass, as its rays are deflected."""
    unit = surroundings(recipe, drawn.columns).unit_einstein_radius ** 2
    if recipe.deflection_convention is None:
        return np.asarray(unit)
    redshifts = drawn.columns["z_lens"], drawn.columns["z_source"]
    return np.asarray(unit * deflection_scale(recipe.deflection_convention, *redshifts))


def _table(group: Deflectors, drawn: Drawn, unit: Array) -> Table:
    rows = len(group.owner)
    names = [column.name for column in CATALOGUE]
    unknown = group.parameters.keys() - set(names)
    if unknown:
        raise RecipeError(
            f"the catalogue has no column for {' and '.join(sorted(unknown))} of the profile {group.profile}",
            where="schemas/products.py",
            advice="add it to CATALOGUE, or leave subhalos out of products",
        )
    bound = total(group) / unit[group.owner] if group.profile in TOTALS else np.full(rows, np.nan)
    table: Table = {
        "sample_id": drawn.sample_id[group.owner],
        "label": drawn.label[group.owner],
        "profile": np.full(rows, group.profile, dtype=object),
        "mass_msun": bound if group.mass_msun is None else group.mass_msun,
        "bound_mass_msun": bound,
    }
    absent = np.full(rows, np.nan)
    return table | {name: group.parameters.get(name, absent) for name in names if name not in table}
