"""Galaxies from a user's file: looked at when a recipe is loaded, read where shards are rendered."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schemas.dataset import SPLITS, DatasetRecipe
from schemas.errors import RecipeError
from schemas.galaxy_image import MOST_GALAXIES, GalaxyChoice, GalaxyImage
from simulate.galaxies import Galaxies

if TYPE_CHECKING:
    from storage.importing.galaxy_file import GalaxyTable


def with_galaxies(recipe: DatasetRecipe, folder: Path) -> DatasetRecipe:
    """The recipe with what its file holds: where it is, its SHA-256 and the chosen galaxies."""
    source = recipe.source
    if not isinstance(source, GalaxyImage):
        return recipe
    # imported here: few recipes have such a file, and HDF5 takes its time
    from storage.importing.galaxy_file import check_same, look_at_galaxies, no_file

    if source.file is None:
        raise no_file(recipe.name)
    table = look_at_galaxies(folder / source.file)
    if source.sha256 is not None:
        check_same(table, source.sha256)
    galaxies = source.galaxies or _chosen(table, source.choose or GalaxyChoice())
    beyond = [one for one in galaxies if one >= table.count]
    if beyond:
        raise _refusal(table, f"has {table.count:,} galaxies, no galaxy {beyond[0]}", "source.galaxies")
    found = {"file": str(table.path), "sha256": table.sha256, "galaxies": galaxies}
    resolved = recipe.model_copy(update={"source": source.model_copy(update=found)})
    _check_splits(resolved)
    return resolved


def _chosen(table: "GalaxyTable", choice: GalaxyChoice) -> tuple[int, ...]:
    kept = np.ones(table.count, bool)
    for name, asked in (("ans", choice.classes), ("redshift", choice.redshift_below)):
        column = getattr(table, name)
        if asked is not None and column is None:
            raise _refusal(table, f"has no `{name}`, by which galaxies are to be chosen", "source.choose")
        if asked is not None:
            kept &= np.isin(column, asked) if name == "ans" else column < asked
    numbers = np.flatnonzero(kept).tolist()
    if not numbers:
        raise _refusal(table, f"has no such galaxy among its {table.count:,}", "source.choose")
    if choice.positions is None and len(numbers) > MOST_GALAXIES:
        what = f"has {len(numbers):,} such galaxies, more than the {MOST_GALAXIES:,} that a recipe can name"
        raise _refusal(table, what, "source.choose")
    if choice.positions is None:
        return tuple(numbers)
    if max(choice.positions) >= len(numbers):
        what = f"has {len(numbers):,} such galaxies, no position {max(choice.positions)}"
        raise _refusal(table, what, "source.choose.positions")
    return tuple(numbers[position] for position in choice.positions)


def _refusal(table: "GalaxyTable", what: str, where: str) -> RecipeError:
    return RecipeError(
        f"the file of galaxies {table.path} {what}",
        expected="the file that the recipe was written for, or another choice of galaxies",
        where=where,
        advice="change the choice: --set source.choose.positions=null takes all of a kind,"
        " --set source.choose=null all of the file",
    )


def _check_splits(recipe: DatasetRecipe) -> None:
    assert isinstance(recipe.source, GalaxyImage)
    if not recipe.source.own_galaxies_per_split:
        return
    for position, split in enumerate(SPLITS):
        if getattr(recipe.splits, split) and not recipe.galaxies_of_split(position):
            raise RecipeError(
                f"the {split} split gets none of {len(recipe.source.chosen)} galaxies",
                expected="a galaxy at least for each split",
                where="source.own_galaxies_per_split, splits",
                advice="choose more galaxies, or let splits share them",
            )


def galaxies_of(recipe: DatasetRecipe) -> Galaxies | None:
    """What finds the images of a recipe's galaxies; None for a recipe without."""
    source = recipe.source
    if not isinstance(source, GalaxyImage):
        return None
    assert source.file is not None
    assert source.sha256 is not None
    return _reader(source.file, source.sha256)


@lru_cache(maxsize=2)
def _reader(path: str, sha256: str) -> Galaxies:
    """One open file per process."""
    from storage.importing.galaxy_file import GalaxyFile

    return GalaxyFile(Path(path), sha256)
