"""Two processes on one training: each has half of every batch, and one writes."""

import io
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flows.generate import Order
from schemas.errors import ResourceError, RunError
from schemas.experiment import ExperimentRecipe
from train import other_process, processes
from train.fit import fit
from train.module import LensModule
from train.records.run_folder import load_run

MakeExperiment = Callable[..., ExperimentRecipe]
# no batch normalisation, whose statistics each process takes of its own samples
PLAIN = {"model": {"name": "test_vit"}}
TWO = {"epochs": 2, "batch_size": 16, "precision": "float32", "devices": 2}
ONE = {**TWO, "devices": 1}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_two_processes_end_where_one_does(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    alone = fit(experiment(training=ONE, **PLAIN), sound_store.root, tmp_path / "one", quiet=True)
    both = fit(experiment(training=TWO, **PLAIN), sound_store.root, tmp_path / "two", quiet=True)
    # the mean over halves is that over the whole, up to the last places of single precision
    assert both.val_loss == pytest.approx(alone.val_loss, rel=1e-3)
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        path.name for path in (tmp_path / "one").iterdir()
    }
    assert not list(tmp_path.glob(".*"))
    rows = [(tmp_path / name / "history.csv").read_text().splitlines() for name in ("one", "two")]
    losses = [[float(line.split(",")[1]) for line in lines[1:]] for lines in rows]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    load_run(tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["variational", "adversarial"])
def test_two_processes_go_on_after_a_kill(
    experiment: MakeExperiment,
    examples: dict[str, dict[str, Any]],
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    turned = experiment(
        "anomaly",
        objective={**examples["anomaly"], "method": method},
        augmentation={"quarter_turns": True, "flips": True},
        training={**TWO, "checkpoint_minutes": 0},
    )
    whole = fit(turned, sound_store.root, tmp_path / "whole", quiet=True)
    real = LensModule.augmented

    def broken(self: LensModule, batch: Any) -> Any:
        if (self.current_epoch, self.trainer.fit_loop.epoch_loop.batch_idx) == (1, 1):
            raise KeyboardInterrupt
        return real(self, batch)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(LensModule, "augmented", broken)
        with pytest.raises(KeyboardInterrupt):
            fit(turned, sound_store.root, tmp_path / "resumed", quiet=True)
    signal.signal(signal.SIGINT, handler)
    resumed = fit(turned, sound_store.root, tmp_path / "resumed", quiet=True)
    assert resumed.weights_sha256 == whole.weights_sha256


@pytest.mark.slow
def test_the_last_word_of_another_process_is_told(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = processes._started

    def elsewhere(trial: ExperimentRecipe, data: str, *more: Any) -> Any:
        return real(trial, str(tmp_path / "nothing.zarr"), *more)

    monkeypatch.setattr(processes, "_started", elsewhere)
    with pytest.raises(RunError, match=r"process 1 of 2 ended with 1: (?s:.*)nothing.zarr") as caught:
        fit(experiment(training=TWO), sound_store.root, tmp_path / "run", quiet=True)
    assert "same command" in caught.value.advice


def test_more_gpus_than_there_are_is_refused(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ResourceError, match="2 devices are asked for, and there is 1"):
        fit(experiment(training=TWO), sound_store.root, tmp_path / "run", quiet=True)
    assert not list(tmp_path.iterdir())


def test_what_another_process_is_told_is_json(
    experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    monkeypatch.setattr("train.other_process.take_part", lambda *told: found.extend(told[:-1]))
    work = {
        "experiment": experiment(training=TWO).model_dump(mode="json"),
        "data": "x.zarr",
        "folder": str(tmp_path),
        "ranks": [1, 2, 5000],
    }
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(work)))
    other_process.main()
    assert found == [experiment(training=TWO), "x.zarr", tmp_path, processes.Ranks(1, 2, 5000)]
