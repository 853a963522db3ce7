"""Small experiments, stores and finished runs, made once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from flows.generate import Order
from schemas.experiment import ExperimentRecipe
from storage.reader import Store, open_store
from train.fit import fit

MakeExperiment = Callable[..., ExperimentRecipe]

# one thread: sums in the same order, and no quarrel between test processes
torch.set_num_threads(1)

# What each registered objective is tried with; a new one without an entry fails the tests.
EXAMPLES: dict[str, dict[str, Any]] = {
    "classification": {"kind": "classification"},
    "regression": {
        "kind": "regression",
        "targets": [
            {"column": "theta_E"},
            {"column": "source_R_sersic", "transform": "log10"},
        ],
    },
    # all classes, so that it sees the same samples as the others
    "anomaly": {"kind": "anomaly", "trained_on": ["no_sub", "cdm", "vortex"]},
}


@pytest.fixture(scope="session", autouse=True)
def _one_round_is_enough() -> Iterator[None]:
    """How long a prediction takes is told in each report, and no test asks how long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluation.speed.ROUNDS", 1)
        yield


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without page and pictures, which take longer than all the rest of a small evaluation."""
    monkeypatch.setattr("train.evaluate.examples", lambda *_: ())
    monkeypatch.setattr("train.evaluate.write_page", lambda *_: None)


@pytest.fixture(scope="session")
def examples() -> dict[str, dict[str, Any]]:
    """An objective of each kind."""
    return EXAMPLES


@pytest.fixture(scope="session")
def experiment() -> MakeExperiment:
    """An experiment of two epochs with any part changed; `kind` chooses the objective."""

    def make(kind: str = "classification", **changes: Any) -> ExperimentRecipe:
        plain = {
            "name": "trial",
            "objective": EXAMPLES[kind],
            **({"model": {"name": "lensmill_autoencoder"}} if kind == "anomaly" else {}),
            "training": {"epochs": 2, "batch_size": 16, "precision": "float32"},
        }
        return ExperimentRecipe.model_validate_json(json.dumps(plain | changes))

    return make


@pytest.fixture(scope="session")
def sound(sound_store: Order) -> Store:
    """The finished small store, open."""
    return open_store(sound_store.root)


@pytest.fixture(scope="session")
def another_store(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """A small store with overrides, made once for each."""
    made: dict[tuple[str, ...], Path] = {}

    def make(*overrides: str) -> Path:
        if overrides not in made:
            order = order_small(tmp_path_factory.mktemp("another") / "other.zarr", *overrides)
            make_store(order)
            made[overrides] = order.root
        return made[overrides]

    return make


@pytest.fixture(scope="session")
def classifier(
    experiment: MakeExperiment, sound_store: Order, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run folder of a classifier. Not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "classifier"
    fit(experiment(), sound_store.root, out, quiet=True)
    return out


@pytest.fixture(scope="session")
def regressor(
    experiment: MakeExperiment, sound_store: Order, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run folder of a regressor. Not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "regressor"
    fit(experiment("regression"), sound_store.root, out, quiet=True)
    return out
