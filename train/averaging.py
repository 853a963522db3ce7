"""An exponential average of the weights over steps: smoother than the last ones, and often better."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Some = tuple[Tensor, ...] | list[Tensor]


class Averaging(Callback):
    """Averages the weights after each step; validation sees the average, and so does what is kept.

    Early on the average is over few steps, so the decay rises to its value as (1 + n) / (10 + n).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        def follow(average: Some, weights: Some, count: Tensor | int) -> None:
            now = min(decay, (1 + int(count)) / (10 + int(count)))
            for old, new in zip(average, weights, strict=True):
                if old.is_floating_point():
                    old.lerp_(new.to(old.dtype), 1 - now)
                else:
                    old.copy_(new)

        self.network = network
        self.average = AveragedModel(network, multi_avg_fn=follow, use_buffers=True)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.average.to(pl_module.device)

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        step: int,
    ) -> None:
        self.average.update_parameters(self.network)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._exchange()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        own, averaged = self.network.state_dict(), self.weights()
        for name, value in own.items():
            kept = value.clone()
            value.copy_(averaged[name])
            averaged[name].copy_(kept)

    def weights(self) -> dict[str, Tensor]:
        """The average, by the names of the network's weights."""
        state: dict[str, Tensor] = self.average.module.state_dict()
        return state

    def state_dict(self) -> dict[str, Any]:
        return {"count": int(self.average.n_averaged), "weights": self.weights()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average.n_averaged.fill_(state_dict["count"])
        self.average.module.load_state_dict(state_dict["weights"])
