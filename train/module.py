"""Network, objective and optimiser as one Lightning module."""

import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe, Optimiser
from train.augment import augmented
from train.objectives import Objective


class LensModule(lightning.LightningModule):
    """Stretch, network and loss; validation loss decides which epoch is kept."""

    def __init__(
        self, network: nn.Module, stretch: nn.Module, objective: Objective, experiment: ExperimentRecipe
    ):
        super().__init__()
        self.network = network
        self.stretch = stretch
        self.objective = objective
        self.experiment = experiment

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.network(self.stretch(images))
        return output

    def training_step(self, batch: tuple[Tensor, Tensor], step: int) -> Tensor:
        images, target = batch
        output = self(augmented(images, self.experiment.augmentation))
        loss = self.objective.loss(output.float(), target)
        if not torch.isfinite(loss):
            raise DataError(
                f"the loss became {float(loss.detach())} in step {step} of epoch {self.current_epoch}",
                expected="a finite loss",
                advice="lower optimiser.learning_rate, and check the store: lensmill verify STORE",
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(target))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], step: int) -> None:
        images, target = batch
        loss = self.objective.loss(self(images).float(), target)
        self.log("val_loss", loss, prog_bar=True, batch_size=len(target))

    def configure_optimizers(self) -> Any:
        options = self.experiment.optimiser
        optimiser = torch.optim.AdamW(_parameter_groups(self.network, options), lr=options.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: _rate(step, steps, options.warmup)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _parameter_groups(network: nn.Module, options: Optimiser) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and embeddings of one row do not."""
    parameters = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]


def _rate(step: int, steps: int, warmup: float) -> float:
    """Part of the learning rate at a step: linear warm-up, then a cosine to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))
