"""The course of a training, epoch by epoch, as CSV while it lasts and as Parquet as well."""

import csv
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch.callbacks import Callback

from storage.files.durable import write_whole
from train.records.run_folder import HISTORY, HISTORY_TABLE

# Name and type of each column. Seconds are since the beginning, a killed run's own included.
COLUMNS = {
    "epoch": pa.int64(),
    "train_loss": pa.float64(),
    "val_loss": pa.float64(),
    "learning_rate": pa.float64(),
    "images_per_s": pa.float64(),
    "memory_bytes": pa.int64(),
    "seconds": pa.float64(),
}
# Is told the epochs done, a part of one counting as such, of how many, and the row of the last whole one.
Tell = Callable[[float, int, Mapping[str, Any]], None]


class History(Callback):
    """Losses, learning rate, images per second of training and the memory in use, by epoch."""

    def __init__(self, folder: Path | None, tell: Tell | None = None) -> None:
        self.folder = folder
        self.tell = tell
        self.rows: list[dict[str, Any]] = []
        self.before = 0.0
        self.started = time.perf_counter()
        self._begin_epoch()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.perf_counter() - self.started

    def _begin_epoch(self) -> None:
        self.loss, self.images, self.epoch_seconds = torch.zeros((), dtype=torch.float64), 0, 0.0
        self.epoch_started: float | None = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        step: int,
    ) -> None:
        self.loss = self.loss.to(outputs["shown"].device) + outputs["shown"].double() * outputs["count"]
        self.images += outputs["count"]
        if step + 1 < trainer.num_training_batches:
            self._tell(trainer, trainer.current_epoch + (step + 1) / trainer.num_training_batches)

    def _tell(self, trainer: lightning.Trainer, done: float) -> None:
        if self.tell is not None:
            self.tell(done, trainer.max_epochs or 0, self.rows[-1] if self.rows else {})

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._pause()

    def _pause(self) -> None:
        """Count the seconds of training; those of validation are not."""
        if self.epoch_started is not None:
            self.epoch_seconds += time.perf_counter() - self.epoch_started
            self.epoch_started = None

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epoch_started = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._pause()
        loss, images = self._of_all(trainer)
        val_loss = trainer.callback_metrics.get("val_loss")
        self.rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "train_loss": loss / images,
                "val_loss": None if val_loss is None else float(val_loss),
                "learning_rate": _rate(trainer),
                "images_per_s": round(images / max(self.epoch_seconds, 1e-9), 2),
                "memory_bytes": memory_bytes(),
                "seconds": round(self.seconds, 2),
            }
        )
        if self.folder is not None:
            write_whole(self.folder / HISTORY, _as_csv(self.rows))
            write_whole(self.folder / HISTORY_TABLE, _as_parquet(self.rows))
        if trainer.logger is not None:
            told = {key: one for key, one in self.rows[-1].items() if one is not None and key != "epoch"}
            trainer.logger.log_metrics(told, step=trainer.current_epoch + 1)
        self._tell(trainer, trainer.current_epoch + 1)
        self._begin_epoch()

    def _of_all(self, trainer: lightning.Trainer) -> tuple[float, int]:
        if trainer.world_size == 1:
            return float(self.loss), self.images
        device = trainer.strategy.root_device
        both = torch.stack([self.loss.to(device), torch.tensor(self.images, device=device).double()])
        loss, images = trainer.strategy.reduce(both, reduce_op="sum").tolist()
        return loss, round(images)

    def state_dict(self) -> dict[str, Any]:
        now = time.perf_counter()
        running = 0.0 if self.epoch_started is None else now - self.epoch_started
        return {
            "rows": self.rows,
            "loss": self.loss,
            "images": self.images,
            "epoch_seconds": self.epoch_seconds + running,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.loss, self.images = state_dict["rows"], state_dict["loss"], state_dict["images"]
        self.epoch_seconds, self.before = state_dict["epoch_seconds"], state_dict["seconds"]
        self.started = self.epoch_started = time.perf_counter()


def _rate(trainer: lightning.Trainer) -> float:
    """The largest learning rate of the epoch's end: layers may have rates of their own."""
    return max(float(group["lr"]) for one in trainer.optimizers for group in one.param_groups)


def memory_bytes() -> int:
    """The most that the GPU has held, or what the process holds on a CPU."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


def _as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(COLUMNS))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _as_parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(COLUMNS.items()))), buffer)
    return buffer.getvalue()
