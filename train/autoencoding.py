"""Lightning modules that train autoencoders: plain, variational, adversarial."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.experiment import ExperimentRecipe
from schemas.objective import Adversarial, Variational
from train.feeding import LensBatch
from train.models.autoencoders import Autoencoder, discriminator, divergence
from train.module import LensModule
from train.objectives import Objective
from train.objectives.anomaly import AnomalyObjective
from train.target_motion import TargetMotion

# Perfect reconstructions have no logarithm.
SMALLEST_VARIANCE = 1e-8


class AutoencoderModule(LensModule):
    """One optimiser. The history shows the mean squared residual, which validation has as well."""

    network: Autoencoder
    objective: AnomalyObjective

    def costs(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        stretched = self.stretch(images)
        mean, log_variance = self.network.encode(stretched)
        latent = mean
        if log_variance is not None:
            latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        squared = _squared(self.network.decode(latent), stretched)
        method = self.objective.head.method
        if not isinstance(method, Variational):
            return squared, squared.detach()
        # the likelihood of a pixel with its variance at the optimum, so that the bound needs no scale
        likelihood = 0.5 * torch.log(squared + SMALLEST_VARIANCE)
        pixels = stretched[0].numel()
        return likelihood + method.beta * divergence(mean, log_variance).mean() / pixels, squared.detach()

    def finish(self, images: Iterable[Tensor]) -> None:
        """The residual of each pixel over the training images becomes the unit of the score."""
        self.eval()
        count, total = 0, torch.zeros_like(self.network.variance, dtype=torch.float64)
        with torch.no_grad():
            for some in images:
                stretched = self.stretch(some)
                count += len(some)
                residual = self.network.reconstruct(stretched).double() - stretched
                total += (residual**2).sum(dim=0)
        self.network.calibrate((total / count).float())


class AdversarialModule(AutoencoderModule):
    """Encoder, decoder and discriminator with an optimiser each, in turn on every batch."""

    def __init__(
        self,
        network: nn.Module,
        stretch: nn.Module,
        objective: Objective,
        experiment: ExperimentRecipe,
        target_motion: TargetMotion | None = None,
    ):
        super().__init__(network, stretch, objective, experiment, target_motion)
        self.discriminator = discriminator(self.network.latent)

    def training_step(self, batch: LensBatch, step: int) -> dict[str, Any]:
        self.sample_ids = batch.sample_ids
        images = self.augmented(batch)[0]
        of_encoder, of_decoder, of_discriminator = self.optimizers()  # type: ignore[attr-defined]
        squared, latent = self.portions[0].over(
            len(images), lambda parts: self._reproduce(images, parts, step)
        )
        self.descend([of_encoder, of_decoder], [self.network])
        # the encoder's step left gradients here
        of_discriminator.zero_grad()
        told = _taken_for(self.discriminator(latent), 0.0) + _taken_for(
            self.discriminator(torch.randn_like(latent)), 1.0
        )
        self.manual_backward(told)
        self.descend([of_discriminator], [self.discriminator])
        self.follow_schedules()
        return {"shown": squared, "count": len(images)}

    def _reproduce(self, images: Tensor, parts: list[slice], step: int) -> tuple[Tensor, Tensor]:
        """Leave the gradients of encoder and decoder; the mean squared residual and the latent values."""
        method = self.objective.head.method
        assert isinstance(method, Adversarial)
        self.forget_gradients(self.optimizers()[:2])  # type: ignore[index]
        total, latents = torch.zeros((), device=images.device), []
        for part in parts:
            stretched = self.stretch(images[part])
            share = len(stretched) / len(images)
            latent, _ = self.network.encode(stretched)
            squared = _squared(self.network.decode(latent), stretched)
            loss = squared + method.weight * _taken_for(self.discriminator(latent), 1.0)
            self.check(loss, step, images)
            self.manual_backward(loss * share)
            total = total + squared.detach() * share
            latents.append(latent.detach())
        return total, torch.cat(latents)

    def configure_optimizers(self) -> Any:
        parts = (self.network.encoder, self.network.decoder, self.discriminator)
        made = [self.optimiser_of(part) for part in parts]
        return [one["optimizer"] for one in made], [one["lr_scheduler"] for one in made]


def _squared(found: Tensor, wanted: Tensor) -> Tensor:
    return ((found.float() - wanted.float()) ** 2).mean()


def _taken_for(logit: Tensor, what: float) -> Tensor:
    """Cross entropy of being taken for a draw of the prior (1) or for an image (0)."""
    return functional.binary_cross_entropy_with_logits(logit.float(), torch.full_like(logit.float(), what))


def module_of(
    network: nn.Module,
    stretch: nn.Module,
    objective: Objective,
    experiment: ExperimentRecipe,
    target_motion: TargetMotion | None = None,
) -> LensModule:
    """The module that trains a network for an objective."""
    kind: type[LensModule] = LensModule
    if isinstance(objective, AnomalyObjective):
        kind = AdversarialModule if isinstance(objective.head.method, Adversarial) else AutoencoderModule
    return kind(network, stretch, objective, experiment, target_motion)
