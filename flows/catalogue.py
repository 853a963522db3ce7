"""The recipes that come with lensmill, and how a name or a path becomes a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from schemas.dataset import DatasetRecipe
from schemas.reading import read_recipe
from schemas.registry import unknown_name
from simulate.instruments import resolve


@dataclass(frozen=True)
class RecipeCard:
    """What a list of recipes shows of each."""

    name: str
    family: str
    images: int
    description: str


def shipped() -> dict[str, Path]:
    """Shipped recipes by name."""
    folder = Path(str(resources.files("flows") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipes() -> list[RecipeCard]:
    """The shipped data-set recipes, with what they make."""
    cards = []
    for name in shipped():
        recipe = load_recipe(name)
        cards.append(RecipeCard(name, recipe.family, recipe.sample_count, recipe.description.strip()))
    return cards


def load_recipe(recipe: str, overrides: Sequence[str] = ()) -> DatasetRecipe:
    """The recipe of a shipped name or a YAML file, with its instrument by numbers."""
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml") and path.name == recipe:
        known = shipped()
        if recipe not in known:
            raise unknown_name(
                "recipe", recipe, known, advice="name a shipped recipe, or give the path of a .yaml file"
            )
        path = known[recipe]
    return resolve(read_recipe(path, DatasetRecipe, overrides))
