"""Network, objective and optimiser as one Lightning module."""

import math
from collections.abc import Iterable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe, Optimiser
from train.augment import draw_motion, moved
from train.feeding import LensBatch
from train.objectives import Objective
from train.target_motion import TargetMotion

# Sets the stream of augmentation apart from that of the order of samples, which has the bare seed.
AUGMENTATION_STREAM = 1 << 40
STREAM = "augmentation_stream"


class LensModule(lightning.LightningModule):
    """Stretch, network and loss; validation loss decides which epoch is kept."""

    def __init__(
        self,
        network: nn.Module,
        stretch: nn.Module,
        objective: Objective,
        experiment: ExperimentRecipe,
        target_motion: TargetMotion | None = None,
    ):
        super().__init__()
        self.network = network
        self.stretch = stretch
        self.objective = objective
        self.experiment = experiment
        self.target_motion = target_motion
        self.stream = torch.Generator().manual_seed(experiment.seed + AUGMENTATION_STREAM)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.network(self.stretch(images))
        return output

    def training_step(self, batch: LensBatch, step: int) -> Tensor | None:
        images, target = self.augmented(batch)
        loss, shown = self.costs(images, target)
        self.check(loss, step)
        self.log("train_loss", shown, on_step=False, on_epoch=True, batch_size=len(target))
        return loss

    def costs(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What training makes small, and what the history shows of it."""
        loss = self.objective.training_loss(self(images).float(), target, self.current_epoch)
        return loss, loss

    def augmented(self, batch: LensBatch) -> tuple[Tensor, Tensor]:
        """Images after motions of their own, and the targets that follow them."""
        images, target, _ = batch
        options = self.experiment.augmentation
        if not (options.turns or options.interpolates):
            return images, target
        motion = draw_motion(len(images), options, self.stream)
        if self.target_motion is not None:
            target = self.target_motion(target, motion)
        return moved(images, motion, options.interpolates), target

    def check(self, loss: Tensor, step: int) -> None:
        """End with a clear word where training has come apart."""
        if not torch.isfinite(loss):
            raise DataError(
                f"the loss became {float(loss.detach())} in step {step} of epoch {self.current_epoch}",
                expected="a finite loss",
                advice="lower optimiser.learning_rate, and check the store: lensmill verify STORE",
            )

    def validation_step(self, batch: LensBatch, step: int) -> None:
        images, target, _ = batch
        loss = self.objective.loss(self(images).float(), target, self.current_epoch)
        self.log("val_loss", loss, prog_bar=True, batch_size=len(target))

    def finish(self, images: Iterable[Tensor]) -> None:
        """What is fitted on the training images once the weights to keep are there; nothing here."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[STREAM] = self.stream.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.stream.set_state(checkpoint[STREAM].cpu())

    def configure_optimizers(self) -> Any:
        return self.optimiser_of(self.network)

    def optimiser_of(self, network: nn.Module) -> dict[str, Any]:
        """AdamW with its schedule for the parameters of a network, as Lightning takes it."""
        options = self.experiment.optimiser
        optimiser = torch.optim.AdamW(_parameter_groups(network, options), lr=options.learning_rate)
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
