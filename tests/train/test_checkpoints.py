"""A training that is killed goes on as if nothing had been: the same weights, bit by bit."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flows.generate import Order
from schemas.errors import DataError, RunError
from schemas.experiment import ExperimentRecipe
from train.fit import fit
from train.module import LensModule
from train.records.checkpoints import CheckpointFolder, Checkpoints
from train.records.history import COLUMNS
from train.records.run_folder import load_run

MakeExperiment = Callable[..., ExperimentRecipe]
Kill = Callable[..., None]
MEASURED = {"images_per_s", "memory_bytes", "seconds"}
TURNED = {"quarter_turns": True, "flips": True, "rotation_degrees": 5}
# three batches to an epoch
LONG = {"epochs": 4, "batch_size": 12, "precision": "float32"}
OFTEN = {**LONG, "checkpoint_minutes": 0}


class _KilledError(BaseException):
    """As if the process had ended here: what it left stays."""


@pytest.fixture
def kill() -> Kill:
    """Ends one training before a step."""

    def at(epoch: int, step: int) -> None:
        real = LensModule.augmented

        def broken(self: LensModule, batch: Any) -> Any:
            loop = self.trainer.fit_loop.epoch_loop
            if (self.current_epoch, loop.batch_idx) == (epoch, step):
                patch.undo()
                raise _KilledError
            return real(self, batch)

        patch = pytest.MonkeyPatch()
        patch.setattr(LensModule, "augmented", broken)

    return at


def _killed(experiment: ExperimentRecipe, store: Order, out: Path) -> Path:
    with pytest.raises(_KilledError):
        fit(experiment, store.root, out, quiet=True)
    assert not out.exists()
    return out.with_name(f".{out.name}.partial")


def _same_runs(one: Path, other: Path) -> None:
    """Weights, best epoch and the history are the same; only what was measured differs."""
    first, second = load_run(one).record, load_run(other).record
    assert first.weights_sha256 == second.weights_sha256
    assert (first.best_epoch, first.epochs, first.val_loss) == (
        second.best_epoch,
        second.epochs,
        second.val_loss,
    )
    assert _losses(one) == _losses(other)
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}


def _losses(run: Path) -> list[list[str]]:
    rows = [line.split(",") for line in (run / "history.csv").read_text().splitlines()]
    kept = [k for k, name in enumerate(COLUMNS) if name not in MEASURED]
    return [[row[k] for k in kept] for row in rows]


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": ("classification", {}),
    "with an average, by layer": (
        "classification",
        {"optimiser": {"layer_decay": 0.7}, "model": {"name": "test_vit"}},
    ),
    "regression": ("regression", {}),
    "variational": ("anomaly", {"method": "variational"}),
    "adversarial": ("anomaly", {"method": "adversarial"}),
}


@pytest.mark.parametrize("place", [(2, 0), (2, 2)], ids=["at an epoch", "within one"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_has_the_same_weights(
    experiment: MakeExperiment,
    examples: dict[str, dict[str, Any]],
    sound_store: Order,
    tmp_path: Path,
    kill: Kill,
    variant: str,
    place: tuple[int, int],
) -> None:
    kind, changes = VARIANTS[variant]
    if "method" in changes:
        changes = {"objective": {**examples["anomaly"], **changes}}
    average = {"average": 0.9} if "average" in variant else {}
    turned = experiment(kind, augmentation=TURNED, training={**OFTEN, **average}, **changes)
    fit(turned, sound_store.root, tmp_path / "whole", quiet=True)
    kill(*place)
    _killed(turned, sound_store, tmp_path / "resumed")
    # the new process has drawn other numbers
    torch.rand(3)
    np.random.seed(1)  # noqa: NPY002
    fit(turned, sound_store.root, tmp_path / "resumed", quiet=True)
    _same_runs(tmp_path / "whole", tmp_path / "resumed")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "resumed"}


def test_a_resumed_run_does_only_what_is_left(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    kill: Kill,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = experiment(training=OFTEN)
    kill(2, 1)
    _killed(trial, sound_store, tmp_path / "run")
    steps = []
    real = LensModule.augmented

    def counted(self: LensModule, batch: Any) -> Any:
        steps.append((self.current_epoch, self.trainer.fit_loop.epoch_loop.batch_idx))
        return real(self, batch)

    monkeypatch.setattr(LensModule, "augmented", counted)
    fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    assert steps == [(2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]


def test_a_run_killed_twice_and_stopped_by_patience(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, kill: Kill
) -> None:
    wild = experiment(
        training={"epochs": 40, "batch_size": 16, "patience": 2}, optimiser={"learning_rate": 0.05}
    )
    whole = fit(wild, sound_store.root, tmp_path / "whole", quiet=True)
    assert whole.epochs < 40, "the trial does not stop early"
    for epoch in (1, whole.epochs - 1):
        kill(epoch, 1)
        _killed(wild, sound_store, tmp_path / "resumed")
    fit(wild, sound_store.root, tmp_path / "resumed", quiet=True)
    _same_runs(tmp_path / "whole", tmp_path / "resumed")


def test_a_run_killed_after_its_last_epoch_trains_no_more(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise _KilledError

    trial = experiment()
    whole = fit(trial, sound_store.root, tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr("train.fit.save_samples", stop)
        _killed(trial, sound_store, tmp_path / "resumed")
    monkeypatch.setattr(LensModule, "training_step", stop)
    assert fit(trial, sound_store.root, tmp_path / "resumed", quiet=True).epochs == whole.epochs == 2
    _same_runs(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_and_a_full_disk_keep_what_is_done(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    real = LensModule.training_step

    def broken(self: LensModule, batch: Any, step: int) -> Any:
        if self.current_epoch == 1:
            raise error("midway")
        return real(self, batch, step)

    trial = experiment()
    with monkeypatch.context() as patch:
        patch.setattr(LensModule, "training_step", broken)
        with pytest.raises(error):
            fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    # Lightning ignores Ctrl-C once it has met it
    signal.signal(signal.SIGINT, handler)
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]
    fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _ending_with(error: Exception, epoch: int) -> Callable[..., Any]:
    real = LensModule.training_step

    def broken(self: LensModule, batch: Any, step: int) -> Any:
        if self.current_epoch == epoch:
            raise error
        return real(self, batch, step)

    return broken


def test_an_error_of_a_driver_keeps_what_is_done(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, error = experiment(), RuntimeError("CUDA error: unspecified launch failure\nand more")
    with monkeypatch.context() as patch:
        patch.setattr(LensModule, "training_step", _ending_with(error, 1))
        with pytest.raises(
            RunError, match=r"ended with RuntimeError: CUDA error: unspec[a-z ]+\n  where"
        ) as caught:
            fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    assert "same command" in caught.value.advice
    assert "in broken" in Path(caught.value.where.split(" has ")[0]).read_text()
    fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    fit(trial, sound_store.root, tmp_path.parent / f"{tmp_path.name}-whole", quiet=True)
    _same_runs(tmp_path.parent / f"{tmp_path.name}-whole", tmp_path / "run")


@pytest.mark.parametrize(("error", "epoch"), [(RuntimeError("early"), 0), (DataError("no number"), 1)])
def test_what_would_only_happen_again_leaves_nothing(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    epoch: int,
) -> None:
    monkeypatch.setattr(LensModule, "training_step", _ending_with(error, epoch))
    with pytest.raises(type(error), match=str(error)):
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert not list(tmp_path.iterdir())


# -- what an unfinished run refuses


@pytest.fixture
def unfinished(experiment: MakeExperiment, sound_store: Order, tmp_path: Path, kill: Kill) -> Path:
    """The folder of a killed run of which two epochs are done."""
    kill(2, 0)
    return _killed(experiment(training=LONG), sound_store, tmp_path / "run")


def test_another_experiment_or_other_data_are_refused(
    unfinished: Path,
    experiment: MakeExperiment,
    sound_store: Order,
    another_store: Callable[..., Path],
    tmp_path: Path,
) -> None:
    before = sorted(path.name for path in unfinished.rglob("*"))
    with pytest.raises(RunError, match="is an unfinished run: experiment") as caught:
        fit(experiment(training=LONG, seed=9), sound_store.root, tmp_path / "run", quiet=True)
    assert experiment(training=LONG, seed=9).digest[:12] in caught.value.expected
    with pytest.raises(RunError, match="is an unfinished run: experiment"):
        fit(experiment(training=LONG), another_store("seed=77"), tmp_path / "run", quiet=True)
    assert sorted(path.name for path in unfinished.rglob("*")) == before
    # how often it is saved may change
    fit(experiment(training=OFTEN), sound_store.root, tmp_path / "run", quiet=True)


def test_two_processes_do_not_train_in_one_folder(
    unfinished: Path, experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    import fcntl

    with (unfinished / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process is training"):
            fit(experiment(training=LONG), sound_store.root, tmp_path / "run", quiet=True)
    assert any((unfinished / "checkpoints").iterdir())


@pytest.mark.parametrize("fault", ["cut", "altered", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    unfinished: Path,
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    _, newest = CheckpointFolder(unfinished / "checkpoints").paths()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": content[:-50], "altered": content, "empty": b""}[fault])
    with caplog.at_level(logging.WARNING):
        fit(experiment(training=LONG), sound_store.root, tmp_path / "run", quiet=True)
    assert "is damaged" in caplog.text
    fit(experiment(training=LONG), sound_store.root, tmp_path / "whole", quiet=True)
    _same_runs(tmp_path / "whole", tmp_path / "run")


def test_without_a_sound_checkpoint_it_says_what_to_do(
    unfinished: Path, experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    for path in CheckpointFolder(unfinished / "checkpoints").paths():
        path.write_bytes(b"")
    with pytest.raises(RunError, match="none of the 2 checkpoints can be read") as caught:
        fit(experiment(training=LONG), sound_store.root, tmp_path / "run", quiet=True)
    assert str(unfinished) in caught.value.advice


def test_a_checkpoint_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.write({"epoch": 1, "path": Path("x")})
    with pytest.raises(Exception, match=r"(weights_only|Unsupported)"):
        folder.newest()


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.newest() is None
    for epoch in range(5):
        folder.write({"epoch": epoch, "tensor": torch.arange(epoch)})
    assert len(folder.paths()) == 2
    assert folder.newest() == {"epoch": 4, "tensor": pytest.approx(torch.arange(4))}


def test_a_checkpoint_is_due_after_so_many_minutes(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, int]] = []
    real = Checkpoints._write

    def noted(self: Checkpoints, trainer: Any, module: Any, epoch: int, batch: int) -> None:
        written.append((epoch, batch))
        real(self, trainer, module, epoch, batch)

    monkeypatch.setattr(Checkpoints, "_write", noted)
    short = {**LONG, "epochs": 2}
    fit(experiment(training=short), sound_store.root, tmp_path / "seldom", quiet=True)
    assert written == [(1, 0), (2, 0)]
    written.clear()
    often = {**short, "checkpoint_minutes": 0}
    fit(experiment(training=often), sound_store.root, tmp_path / "often", quiet=True)
    assert written == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]


# -- a process that is really killed


def _command(recipe: Path, store: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "flows.cli", "train", str(recipe)),
        *("--data", str(store), "--out", str(out), "--quiet"),
    ]


@pytest.mark.slow
def test_a_killed_process_resumes(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> None:
    trial = experiment(training={"epochs": 60, "batch_size": 16, "precision": "float32"})
    recipe = tmp_path / "trial.yaml"
    recipe.write_text(json.dumps(trial.model_dump(mode="json")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    partial = tmp_path / ".run.partial"
    process = subprocess.Popen(_command(recipe, sound_store.root, tmp_path / "run"), env=environment)
    try:
        while len(list((partial / "checkpoints").glob("*.pt"))) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "run").exists()
    epochs = len((partial / "history.csv").read_text().splitlines()) - 1
    assert 0 < epochs < 60
    done = subprocess.run(
        _command(recipe, sound_store.root, tmp_path / "run"),
        env=environment,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    fit(trial, sound_store.root, tmp_path / "whole", quiet=True)
    _same_runs(tmp_path / "whole", tmp_path / "run")
