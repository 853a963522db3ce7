"""Keeps the best epoch."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from schemas.errors import DataError
from train.averaging import Averaging
from train.module import LensModule


class BestWeights(Callback):
    """Keeps the weights of the epoch with the lowest validation loss; their average where that is on."""

    def __init__(self, averaging: Averaging | None = None) -> None:
        self.averaging = averaging
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.epochs = 0
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, LensModule)
        self.epochs = trainer.current_epoch + 1
        # without a validation split the last epoch is as good as any
        loss = float(trainer.callback_metrics.get("val_loss", self.best_loss))
        if loss <= self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epochs
            state = self.averaging.weights() if self.averaging else pl_module.network.state_dict()
            self.weights = {name: value.detach().clone() for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "weights": self.weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss, self.best_epoch = state_dict["best_loss"], state_dict["best_epoch"]
        self.epochs, self.weights = state_dict["epochs"], state_dict["weights"]

    def restore(self, module: LensModule) -> None:
        """Put the kept weights back."""
        if not self.weights:
            raise DataError(
                "the validation loss was nan in every epoch",
                expected="a finite loss",
                advice="lower optimiser.learning_rate, and check the store: lensmill verify STORE",
            )
        module.network.load_state_dict(self.weights)
