"""Network, objective and optimiser as one Lightning module."""

import math
from collections.abc import Iterable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe
from train.augment import draw_motion, moved
from train.feeding import LensBatch
from train.layer_rates import parameter_groups
from train.objectives import Objective
from train.portions import Portions
from train.target_motion import TargetMotion

# Sets the stream of augmentation apart from that of the order of samples, which has the bare seed.
AUGMENTATION_STREAM = 1 << 40
# How many samples of a batch an error names.
NAMED_SAMPLES = 5


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
        # so that a batch can be worked on in portions
        self.automatic_optimization = False
        self.portions = [Portions("training"), Portions("validation")]
        # those of the batch that is being worked on
        self.sample_ids: Tensor | None = None
        self.stream = torch.Generator().manual_seed(experiment.seed + AUGMENTATION_STREAM)

    def set_apart(self, rank: int, world: int) -> None:
        """Make this one of several processes: each draws its own numbers, and fits what the others fit."""
        if world == 1:
            return
        torch.manual_seed(self.experiment.seed + rank)
        self.stream.manual_seed(self.experiment.seed + AUGMENTATION_STREAM * (1 + rank))
        for one in self.portions:
            one.may_halve = False

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.network(self.stretch(images))
        return output

    def training_step(self, batch: LensBatch, step: int) -> dict[str, Any]:
        self.sample_ids = batch.sample_ids
        images, target = self.augmented(batch)
        shown = self.portions[0].over(len(target), lambda parts: self.gradients(images, target, parts, step))
        self.descend(every(self.optimizers()), [self.network])
        self.follow_schedules()
        return {"shown": shown, "count": len(target)}

    def gradients(self, images: Tensor, target: Tensor, parts: list[slice], step: int) -> Tensor:
        """Leave the gradients of the mean loss of a batch, and give what the history shows of it."""
        self.forget_gradients(self.optimizers())
        whole, total = self.weight_of_process(target), torch.zeros((), device=images.device)
        for part in parts:
            share = self.objective.weight(target[part]) / whole
            loss, shown = self.costs(images[part], target[part])
            self.check(loss, step, images)
            self.manual_backward(loss * share)
            total = total + shown.detach() * share
        return total

    def weight_of_process(self, target: Tensor) -> Tensor | float:
        """What gradients are divided by, so that their mean over processes is that of the whole batch."""
        own = self.objective.weight(target)
        if self.trainer.world_size == 1:
            return own
        mean = torch.as_tensor(own, dtype=torch.float32, device=self.device).clone()
        return self.trainer.strategy.reduce(mean, reduce_op="mean")

    def forget_gradients(self, optimisers: Any) -> None:
        """Begin a step."""
        for one in every(optimisers):
            one.zero_grad()

    def descend(self, optimisers: list[Any], networks: list[nn.Module]) -> None:
        """One step of each optimiser with clipped gradients."""
        for network in networks:
            nn.utils.clip_grad_norm_(network.parameters(), self.experiment.optimiser.clip)
        for one in optimisers:
            one.step()

    def follow_schedules(self) -> None:
        """Learning rates of the next step."""
        for one in every(self.lr_schedulers()):
            one.step()

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

    def check(self, loss: Tensor, step: int, images: Tensor) -> None:
        """End with a clear word where training has come apart."""
        if torch.isfinite(loss):
            return
        strange = int((~torch.isfinite(images)).flatten(1).any(1).sum())
        raise DataError(
            f"the loss became {float(loss.detach())} in step {step} of epoch {self.current_epoch}"
            + (f"; {strange} of {len(images)} images hold no finite numbers" if strange else ""),
            expected="a finite loss",
            where=f"batch {step} of epoch {self.current_epoch}, both from 0{self._samples()}",
            advice="lower optimiser.learning_rate, and check the store: lensmill verify STORE",
        )

    def _samples(self) -> str:
        if self.sample_ids is None:
            return ""
        ids = self.sample_ids.tolist()
        more = f" and {len(ids) - NAMED_SAMPLES} more" if len(ids) > NAMED_SAMPLES else ""
        return f": samples {', '.join(str(one) for one in ids[:NAMED_SAMPLES])}{more}"

    def validation_step(self, batch: LensBatch, step: int) -> None:
        images, target, _ = batch
        loss = self.portions[1].over(len(target), lambda parts: self.validation_loss(images, target, parts))
        # the history tells loggers
        self.log(
            "val_loss",
            loss,
            prog_bar=True,
            logger=False,
            batch_size=len(target),
            sync_dist=self.trainer.world_size > 1,
        )

    def validation_loss(self, images: Tensor, target: Tensor, parts: list[slice]) -> Tensor:
        """The mean loss of a batch."""
        whole, total = self.objective.weight(target), torch.zeros((), device=images.device)
        for part in parts:
            loss = self.objective.loss(self(images[part]).float(), target[part], self.current_epoch)
            total = total + loss * (self.objective.weight(target[part]) / whole)
        return total

    def finish(self, images: Iterable[Tensor]) -> None:
        """What is fitted on the training images once the weights to keep are there; nothing here."""

    def configure_optimizers(self) -> Any:
        return self.optimiser_of(self.network)

    def optimiser_of(self, network: nn.Module) -> dict[str, Any]:
        """AdamW with its schedule for the parameters of a network, as Lightning takes it."""
        options = self.experiment.optimiser
        optimiser = torch.optim.AdamW(parameter_groups(network, options), lr=options.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: _rate(step, steps, options.warmup)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def every(one_or_more: Any) -> list[Any]:
    """Lightning gives one thing bare and several as a list."""
    return list(one_or_more) if isinstance(one_or_more, list | tuple) else [one_or_more]


def _rate(step: int, steps: int, warmup: float) -> float:
    """Part of the learning rate at a step: linear warm-up, then a cosine to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))
