"""Mass compensation: what the substructure weighs is taken off the main lens.

Otherwise classes with substructure would have larger Einstein rings, and a network would learn the ring.
Point masses and lines are weighed exactly, extended halos as a few rings.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from simulate.batch import Array, Deflectors
from simulate.masses import inside_circle, power_law_inside


def smooth_einstein_radius(
    recipe: DatasetRecipe,
    columns: dict[str, Array],
    substructure: tuple[Deflectors, ...],
    sample_id: NDArray[np.int64],
) -> Array:
    """Einstein radius with which main lens and substructure weigh as much inside theta_E as the lens alone.

    The mass of a power law inside a given circle grows as theta_E^(slope - 1).
    """
    theta_E = columns["theta_E"]
    slope = columns.get("gamma", np.full(theta_E.shape, 2.0))
    lens = power_law_inside(theta_E, slope, np.hypot(columns["e1"], columns["e2"]), theta_E)
    share = substructure_inside(columns, substructure) / lens
    if (share >= 1).any():
        raise _too_heavy(recipe, share, sample_id)
    return np.asarray(theta_E * (1 - share) ** (1 / (slope - 1)))


def substructure_inside(columns: dict[str, Array], substructure: tuple[Deflectors, ...]) -> Array:
    """Mass of the substructure in the disc of theta_E around the lens centre, arcsec^2."""
    theta_E = columns["theta_E"]
    found = np.zeros(len(theta_E))
    for group in substructure:
        circle = (columns[name][group.owner] for name in ("center_x", "center_y", "theta_E"))
        found += np.bincount(group.owner, inside_circle(group, *circle), minlength=len(theta_E))
    return found


def _too_heavy(recipe: DatasetRecipe, share: Array, sample_id: NDArray[np.int64]) -> RecipeError:
    row = int(np.argmax(share))
    name = recipe.classes[int(recipe.class_positions(sample_id[row : row + 1])[0])].name
    return RecipeError(
        f"sample {sample_id[row]} (class {name!r}): its substructure weighs {share[row]:.3g} times as much"
        " as the main lens inside theta_E, and nothing is left of the lens",
        expected="less than the main lens, where compensate_mass is true",
        where=f"compensate_mass, classes.{name}.substructure of the recipe {recipe.name!r}",
        advice="lower the masses, raise main_lens.theta_E or redshifts.z_lens,"
        " or set compensate_mass to false",
    )
