"""How each column of a recipe follows when an image is moved.

Taken from the recipe and not from the stored column table, so stores that were made before this was asked
are read like new ones, and the table of a store stays as it is.
"""

import re

from schemas.columns import CompensationColumns, macro_priors
from schemas.dataset import DatasetRecipe
from schemas.detectability import DetectabilityColumns
from schemas.frozen import Frozen
from schemas.quantity import Law, quantities_of
from schemas.shares import SourceColumns

# a source is seen through the lens: its place moves otherwise than what is in the plane of the image
_OF_SOURCES: dict[Law | None, Law] = {"x": "source_x", "y": "source_y"}
# the second component and all later ones count from the first
_OF_LATER: dict[Law | None, Law] = {"x": "offset_x", "y": "offset_y"}
_LATER = re.compile(r"(source|lens_light)_\d+_")


def laws_of(recipe: DatasetRecipe) -> dict[str, Law]:
    """The law of each column that has one."""
    laws: dict[str, Law | None] = {}
    for name, _, quantity, _ in macro_priors(recipe):
        special = _OF_LATER if _LATER.match(name) else _OF_SOURCES if name.startswith("source_") else {}
        laws[name] = special.get(quantity.law, quantity.law)
    models: list[type[Frozen]] = [CompensationColumns, SourceColumns, DetectabilityColumns]
    models += [one.substructure.Columns for one in recipe.classes]
    for model in models:
        laws |= {name: quantity.law for name, (quantity, _) in quantities_of(model).items()}
    return {name: law for name, law in laws.items() if law is not None}
