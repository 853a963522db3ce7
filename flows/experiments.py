"""What a pipeline is to train, and on what, before any of it is done."""

from collections.abc import Sequence
from pathlib import Path

from flows.catalogue import AnyExperiment, AnyRecipe, load_experiment, load_recipe
from flows.extras import need_training
from schemas.errors import RecipeError
from schemas.experiment import ExperimentRecipe
from schemas.placement import Here, Placement
from storage.files.place import Root, place

DEFAULT_RECIPE = "tiny"
DEFAULT_EXPERIMENTS = ("classify_tiny", "regress_tiny")


def check_experiments(
    experiments: Sequence[AnyExperiment], placement: Placement | None = None
) -> list[ExperimentRecipe]:
    """Refuse what could not be trained by one flow, before any data are made for it.

    Where all are placed elsewhere, this process needs no packages for training.
    """
    loaded = [load_experiment(one) for one in experiments]
    if any(isinstance(placement or one.placement, Here) for one in loaded):
        need_training()
    names = [one.name for one in loaded]
    if len(set(names)) < len(names):
        raise RecipeError(f"two experiments have the same name: {', '.join(names)}", advice="rename one")
    return loaded


def store_path(recipe: ExperimentRecipe, data: str | Root | None) -> Root:
    """The store that an experiment is to use."""
    chosen = data or recipe.data.store
    if chosen is None:
        raise RecipeError(
            f"experiment {recipe.name!r} names no store",
            expected="--data STORE, or data.store in the recipe",
            advice="simulate one: lensmill simulate tiny --out tiny.zarr",
        )
    return place(chosen)


def data_path(folder: Path, recipe: AnyRecipe) -> Path:
    """Where the data set of a pipeline is."""
    return folder / f"{load_recipe(recipe).name}.zarr"
