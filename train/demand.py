"""Ends a training that nobody waits for any more, between two batches. Its checkpoints stay."""

import time
from collections.abc import Callable
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from schemas.errors import RunError

ASK_SECONDS = 2.0


class Demand(Callback):
    """Asks now and then whether the training is still wanted."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        self.wanted = wanted
        self.asked = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        step: int,
    ) -> None:
        if time.monotonic() - self.asked < ASK_SECONDS:
            return
        self.asked = time.monotonic()
        if not self.wanted():
            raise RunError(
                f"the training was ended in epoch {trainer.current_epoch + 1}: nobody waits for it any more",
                expected="a flow that is not cancelled and that lives",
                advice="the same again goes on from its last checkpoint",
            )
