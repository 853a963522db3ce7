"""What the outputs of a network mean, as a part of the network: for those who have no lensmill."""

import torch
from torch import Tensor, nn

from schemas.calibration import Conformal, Temperature
from schemas.objective import GaussianLikelihood
from schemas.run import AnomalyHead, ClassifierHead, RegressorHead, RunRecord
from train.objectives.calibration import ONE_SIGMA, width_at
from train.objectives.likelihood import variance_of


class Answers(nn.Module):
    """Images as the data set has them to the network's outputs and what they mean."""

    def __init__(self, network: nn.Module, meaning: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.meaning = meaning

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images).float()
        return (output, *self.meaning(output))


class Probability(nn.Module):
    """Of each class, calibrated where the run is."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, output: Tensor) -> tuple[Tensor]:
        return (torch.softmax(output / self.temperature, dim=1),)


class Physical(nn.Module):
    """Targets in their units; standard deviations beside them if they are learned, in dex of a logarithm."""

    mean: Tensor
    spread: Tensor
    widened: Tensor

    def __init__(self, head: RegressorHead, widened: list[float]) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("mean", torch.tensor([one.mean for one in head.targets]))
        self.register_buffer("spread", torch.tensor([one.spread for one in head.targets]))
        self.register_buffer("widened", torch.tensor(widened))

    def forward(self, output: Tensor) -> tuple[Tensor, ...]:
        learned = output[:, : len(self.head.targets)] * self.spread + self.mean
        columns = [self._physical(k, learned[:, k]) for k in range(len(self.head.targets))]
        predicted = torch.stack(columns, dim=1)
        if not isinstance(self.head.loss, GaussianLikelihood):
            return (predicted,)
        return predicted, torch.exp(0.5 * variance_of(output)[1]) * self.spread * self.widened

    def _physical(self, k: int, learned: Tensor) -> Tensor:
        one = self.head.targets[k]
        value = torch.pow(10.0, learned) if one.target.transform == "log10" else learned
        return value if one.period is None else torch.remainder(value, one.period)


class Nothing(nn.Module):
    """Outputs that mean what they are called."""

    def forward(self, output: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002
        return ()


def meaning_of(record: RunRecord) -> tuple[nn.Module, dict[str, tuple[str, ...]]]:
    """The module behind the network, and the columns of each output."""
    head = record.head
    if isinstance(head, ClassifierHead):
        names = tuple(one.name for one in head.classes)
        fitted = record.calibration
        temperature = fitted.temperature if isinstance(fitted, Temperature) else 1.0
        return Probability(temperature), {"output": names, "probability": names}
    if isinstance(head, AnomalyHead):
        return Nothing(), {"output": ("squared_residual", "anomaly_score", "divergence")}
    names = tuple(one.target.column for one in head.targets)
    physical = Physical(head, _widened(record, head))
    if isinstance(head.loss, GaussianLikelihood):
        both = (*names, *(f"log_variance_{name}" for name in names))
        return physical, {"output": both, "predicted": names, "sigma": names}
    return physical, {"output": names, "predicted": names}


def _widened(record: RunRecord, head: RegressorHead) -> list[float]:
    """What makes 68.3% of the errors lie within sigma, by target; 1 for what is not calibrated."""
    fitted = record.calibration.targets if isinstance(record.calibration, Conformal) else ()
    known = {one.target: one for one in fitted}
    found = [known.get(one.target.name) for one in head.targets]
    return [1.0 if one is None else width_at(one, ONE_SIGMA) for one in found]
