"""The errors that regression knows, element by element, and the variance of the Gaussian one."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from schemas.objective import AbsoluteError, GaussianLikelihood, Huber, NumberLoss

# Natural logarithm of the largest and, negative, of the smallest variance, in spreads squared of the target:
# standard deviations from .007 to 150 spreads. A tanh keeps a gradient on the way there.
LARGEST_LOG_VARIANCE = 10.0
ErrorOf = Callable[[NumberLoss, Tensor, Tensor], Tensor]


def error_of(loss: NumberLoss, output: Tensor, target: Tensor) -> Tensor:
    """What each target of each sample costs; the targets are finite."""
    if isinstance(loss, GaussianLikelihood):
        return _gaussian(output, target)
    if isinstance(loss, AbsoluteError):
        return functional.l1_loss(output, target, reduction="none")
    if isinstance(loss, Huber):
        return functional.huber_loss(output, target, reduction="none", delta=loss.delta)
    return functional.mse_loss(output, target, reduction="none")


def training_error_of(loss: NumberLoss, output: Tensor, target: Tensor) -> Tensor:
    """The same as training sees it: the Gaussian one times the variance to the power beta.

    Without that power a sample that was given a large variance early on pulls its mean no more
    (Seitzer et al. 2022, arXiv:2203.09168).
    """
    each = error_of(loss, output, target)
    if isinstance(loss, GaussianLikelihood) and loss.beta:
        _, log_variance = variance_of(output)
        each = each * torch.exp(loss.beta * log_variance).detach()
    return each


def variance_of(output: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log variances from outputs, the latter within bounds and zero where the output is."""
    mean, free = output.chunk(2, dim=1)
    return mean, LARGEST_LOG_VARIANCE * torch.tanh(free / LARGEST_LOG_VARIANCE)


def _gaussian(output: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood but for a constant."""
    mean, log_variance = variance_of(output)
    return 0.5 * (log_variance + (target - mean) ** 2 * torch.exp(-log_variance))
