"""All that a training needs to go on after a kill as if nothing had been: written whole, read without pickle.

A checkpoint holds tensors and plain numbers alone. Its name ends with its SHA-256, so that a damaged one is
known, and the one before it is taken. What matters of the data is an epoch and the batch that comes next.
"""

import hashlib
import io
import logging
import random
import time
from pathlib import Path
from typing import Any, Protocol

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from schemas.errors import RunError
from storage.files.durable import write_whole
from train.module import LensModule

LOG = logging.getLogger(__name__)
State = dict[str, Any]
KEPT = 2


class Restartable(Protocol):
    """A source of batches that can begin anywhere, since their order depends on seed and epoch alone."""

    def begin(self, epoch: int, batch: int) -> None:
        """What the next iteration is to be: this epoch, from this batch on."""
        ...


class CheckpointFolder:
    """The last checkpoints of one training."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def paths(self) -> list[Path]:
        """All checkpoints, the newest last."""
        return sorted(self.root.glob("*.pt"))

    def write(self, state: State) -> None:
        """Add a checkpoint, and remove all but the one before it."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        before = self.paths()
        number = int(before[-1].name.split("-")[0]) + 1 if before else 1
        write_whole(self.root / f"{number:08d}-{hashlib.sha256(content).hexdigest()}.pt", content)
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)

    def newest(self) -> State | None:
        """The last checkpoint that is whole; None if there is none at all."""
        paths = self.paths()
        for path in reversed(paths):
            content = path.read_bytes()
            if path.stem.endswith(hashlib.sha256(content).hexdigest()):
                state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                return state
            LOG.warning("%s is damaged; training goes on from the checkpoint before it", path)
        if paths:
            raise RunError(
                f"none of the {len(paths)} checkpoints can be read",
                expected="at least one that holds what was written",
                where=str(self.root),
                advice=f"remove {self.root.parent} to begin anew",
            )
        return None


class Checkpoints(Callback):
    """Writes checkpoints at the end of epochs and every so many minutes, and goes on from the last one."""

    def __init__(self, folder: CheckpointFolder, order: Restartable, writes: bool, minutes: float) -> None:
        self.folder, self.order, self.writes, self.minutes = folder, order, writes, minutes
        self.first_batch = 0
        self.written = time.monotonic()
        self.resumed_from: int | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, LensModule)
        state = self.folder.newest()
        if state is None:
            return
        restore(trainer, pl_module, state)
        self.first_batch, self.resumed_from = state["batch"], state["epoch"]
        _set_position(trainer, state["epoch"], state["batch"])
        LOG.info("goes on from epoch %d, batch %d", state["epoch"] + 1, state["batch"])

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.order.begin(trainer.current_epoch, self.first_batch)
        self.first_batch = 0

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        step: int,
    ) -> None:
        last = step + 1 >= trainer.num_training_batches
        if not last and self._due(trainer):
            self._write(trainer, pl_module, trainer.current_epoch, step + 1)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._write(trainer, pl_module, trainer.current_epoch + 1, 0)

    def _due(self, trainer: lightning.Trainer) -> bool:
        due = time.monotonic() - self.written >= 60 * self.minutes
        # all processes or none, or they would wait for each other
        return (
            bool(trainer.strategy.reduce_boolean_decision(due, all=False)) if trainer.world_size > 1 else due
        )

    def _write(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, epoch: int, batch: int
    ) -> None:
        assert isinstance(pl_module, LensModule)
        state = captured(trainer, pl_module) | {"epoch": epoch, "batch": batch}
        if self.writes:
            self.folder.write(state)
        self.written = time.monotonic()


def captured(trainer: lightning.Trainer, module: LensModule) -> State:
    """The whole state of a training, the place in the data apart."""
    return {
        "stopped": trainer.should_stop,
        "module": module.state_dict(),
        "optimisers": [one.state_dict() for one in trainer.optimizers],
        "schedules": [one.scheduler.state_dict() for one in trainer.lr_scheduler_configs],
        "callbacks": {
            type(one).__name__: state for one in _callbacks(trainer) if (state := one.state_dict())
        },
        "portions": {one.what: one.most for one in module.portions},
        "streams": _streams(trainer, module),
    }


def restore(trainer: lightning.Trainer, module: LensModule, state: State) -> None:
    """Put back what `captured` took."""
    module.load_state_dict(state["module"])
    for optimiser, one in zip(trainer.optimizers, state["optimisers"], strict=True):
        optimiser.load_state_dict(one)
    for schedule, one in zip(trainer.lr_scheduler_configs, state["schedules"], strict=True):
        schedule.scheduler.load_state_dict(one)
    for callback in _callbacks(trainer):
        if type(callback).__name__ in state["callbacks"]:
            callback.load_state_dict(state["callbacks"][type(callback).__name__])
    for portion in module.portions:
        portion.most = state["portions"][portion.what]
    trainer.should_stop = state["stopped"]
    _set_streams(trainer, module, state["streams"])


def _callbacks(trainer: lightning.Trainer) -> list[Any]:
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def _set_position(trainer: lightning.Trainer, epoch: int, batch: int) -> None:
    """Tell Lightning's loops where they are; they take care of the rest as after their own restarts."""
    loop = trainer.fit_loop
    for name in ("ready", "started", "processed", "completed"):
        setattr(loop.epoch_progress.current, name, epoch)
        setattr(loop.epoch_progress.total, name, epoch)
        setattr(loop.epoch_loop.batch_progress.current, name, batch)
    loop.epoch_loop.restarting = batch > 0


def _streams(trainer: lightning.Trainer, module: LensModule) -> State:
    """Random streams: torch's and those of augmentation of each process, the others of the first."""
    own = {"torch": torch.get_rng_state(), "augmentation": module.stream.get_state()}
    if module.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(module.device)
    name, keys, *place = np.random.get_state(legacy=True)  # noqa: NPY002 - what libraries may draw from
    version, numbers, gauss = random.getstate()
    return {
        "own": {key: _of_all(trainer, one) for key, one in own.items()},
        "numpy": [name, [int(one) for one in keys], *place],
        "python": [version, list(numbers), gauss],
    }


def _of_all(trainer: lightning.Trainer, state: Tensor) -> list[Tensor]:
    if trainer.world_size == 1:
        return [state]
    here = state.to(trainer.strategy.root_device)
    gathered = [torch.empty_like(here) for _ in range(trainer.world_size)]
    torch.distributed.all_gather(gathered, here)
    return [one.cpu() for one in gathered]


def _set_streams(trainer: lightning.Trainer, module: LensModule, streams: State) -> None:
    own = {key: each[trainer.global_rank] for key, each in streams["own"].items()}
    torch.set_rng_state(own["torch"])
    module.stream.set_state(own["augmentation"])
    if "cuda" in own and module.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda"], module.device)
    name, keys, *place = streams["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *place))  # noqa: NPY002
    version, numbers, gauss = streams["python"]
    random.setstate((version, tuple(numbers), gauss))
