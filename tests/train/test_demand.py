"""A training that nobody waits for ends between two batches, and the same again goes on from there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.generate import Order
from schemas.errors import RunError
from schemas.experiment import ExperimentRecipe
from train import demand
from train.fit import fit
from train.records.run_folder import load_run

SHORT = {"epochs": 3, "batch_size": 16}


def test_it_ends_and_is_gone_on_with(
    experiment: Callable[..., ExperimentRecipe],
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial, out, asked = experiment(training=SHORT), tmp_path / "run", []

    def wanted() -> bool:
        asked.append(1)
        # after each of the two batches of an epoch
        return len(asked) < 3

    fit(trial, sound_store.root, tmp_path / "whole", quiet=True)
    monkeypatch.setattr(demand, "ASK_SECONDS", 0.0)
    with pytest.raises(RunError, match="ended in epoch 2: nobody waits"):
        fit(trial, sound_store.root, out, quiet=True, wanted=wanted)
    assert not out.exists()
    assert list(out.with_name(".run.partial").rglob("*.pt"))
    fit(trial, sound_store.root, out, quiet=True, wanted=lambda: True)
    both: list[Any] = [load_run(one).record for one in (out, tmp_path / "whole")]
    assert both[0].weights_sha256 == both[1].weights_sha256
    assert both[0].epochs == 3


def test_it_is_not_asked_at_every_batch(
    experiment: Callable[..., ExperimentRecipe], sound_store: Order, tmp_path: Path
) -> None:
    asked: list[int] = []

    def wanted() -> bool:
        asked.append(1)
        return True

    one = demand.Demand(wanted)
    for _ in range(3):
        one.on_train_batch_end(None, None, None, None, 0)  # type: ignore[arg-type]
    assert not asked
    one.asked -= demand.ASK_SECONDS
    for _ in range(3):
        one.on_train_batch_end(None, None, None, None, 0)  # type: ignore[arg-type]
    assert len(asked) == 1
