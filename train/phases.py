"""Where the loss changes in the middle of a training, what was best before means nothing."""

from typing import Protocol

import lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping

from train.objectives import Objective


class Forgetful(Protocol):
    """Keeps the best epoch, and can be told to start afresh."""

    best_loss: float


class NewPhase(Callback):
    """At a change of the loss, the search for the best epoch and the patience start anew."""

    def __init__(self, objective: Objective, keeper: Forgetful) -> None:
        self.objective = objective
        self.keeper = keeper

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epoch = trainer.current_epoch
        if not epoch or self.objective.phase(epoch) == self.objective.phase(epoch - 1):
            return
        self.keeper.best_loss = float("inf")
        for stopping in trainer.early_stopping_callbacks:
            assert isinstance(stopping, EarlyStopping)
            stopping.best_score.fill_(float("inf"))
            stopping.wait_count = 0
