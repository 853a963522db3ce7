"""Places of trainings in recipes."""

from typing import Any

import pytest

from flows.catalogue import load_experiment
from schemas.cluster import ExistingScheduler
from schemas.errors import RecipeError
from schemas.experiment import ExperimentRecipe
from schemas.placement import Here, OnDask, OnWorkPool


@pytest.mark.parametrize(
    ("said", "placement"),
    [
        ("{kind: here}", Here()),
        ("{kind: pool, pool: gpu}", OnWorkPool(pool="gpu")),
        (
            "{kind: dask, scheduler: {address: 'tcp://127.0.0.1:8786'}, amount: 2}",
            OnDask(scheduler=ExistingScheduler(address="tcp://127.0.0.1:8786"), amount=2),
        ),
    ],
)
def test_a_place_is_no_part_of_an_experiments_identity(said: str, placement: Any) -> None:
    plain = load_experiment("classify_tiny")
    placed = load_experiment("classify_tiny", [f"placement={said}"])
    assert placed.placement == placement
    assert placed.digest == plain.digest
    assert ExperimentRecipe.model_validate_json(placed.to_json()) == placed
    assert "placement" not in plain.to_json(), "recipes from before stay as they were"


@pytest.mark.parametrize("said", ["{kind: moon}", "{kind: pool}", "{kind: pool, pool: ../x}", "{kind: dask}"])
def test_places_that_are_none(said: str) -> None:
    with pytest.raises(RecipeError, match="placement"):
        load_experiment("classify_tiny", [f"placement={said}"])
