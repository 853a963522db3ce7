"""What an objective is, and the registry of objectives."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.calibration import Calibration
from schemas.experiment import ExperimentRecipe, ModelOptions
from schemas.metrics import Metrics
from schemas.registry import Registry
from schemas.run import Head, NetworkInput
from storage.reader import Store
from train.data import Samples
from train.models.assembly import Assembled
from train.models.registry import Shape

Predictions = dict[str, NDArray[Any]]


class Objective(Protocol):
    """A goal with everything fitted: it can be rebuilt from its head and its calibration, if it has one."""

    head: Any

    @classmethod
    def fit(cls, experiment: ExperimentRecipe, store: Store) -> Head:
        """What the outputs are to mean, checked against the store and fitted on its training split."""
        ...

    def __init__(self, head: Any, calibration: Calibration | None = None) -> None: ...

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""
        ...

    @property
    def labels(self) -> tuple[int, ...]:
        """Classes whose samples take part."""
        ...

    @property
    def trained_labels(self) -> tuple[int, ...]:
        """Those of them that are trained on."""
        ...

    def build(self, model: ModelOptions, shape: Shape) -> Assembled:
        """A network that gives such outputs, fresh or with trained weights."""
        ...

    def rebuild(self, model: ModelOptions, shape: Shape, way: NetworkInput | None) -> nn.Module:
        """The network that a run describes, without its weights."""
        ...

    def phase(self, epoch: int) -> int:
        """Which loss an epoch has; losses of different phases cannot be compared."""
        ...

    def encode(self, store: Store, samples: Samples) -> Tensor:
        """What the network is to learn, one row per sample."""
        ...

    def loss(self, output: Tensor, target: Tensor, epoch: int | None = None) -> Tensor:
        """What decides which epoch is kept, as it is in an epoch; in the last one when that is left out."""
        ...

    def weight(self, target: Tensor) -> Tensor | float:
        """What samples count together in the mean that a loss is, so that parts of a batch can be added."""
        ...

    def training_loss(self, output: Tensor, target: Tensor, epoch: int) -> Tensor:
        """What training makes small."""
        ...

    def predictions(self, output: NDArray[np.float64]) -> Predictions:
        """Outputs in physical terms and calibrated, as columns of a table."""
        ...

    def truth(self, store: Store, samples: Samples) -> Predictions:
        """The true values, as columns of the same table."""
        ...

    def measure(self, store: Store, samples: Samples, output: NDArray[np.float64]) -> Metrics:
        """How well the outputs meet the truth."""
        ...

    def calibrate(self, store: Store, samples: Samples, output: NDArray[np.float64]) -> Calibration | None:
        """What makes the outputs honest, fitted on samples that training has not seen; None of too few."""
        ...

    def headline(self, metrics: Any) -> str:
        """The one line that sums it up."""
        ...


OBJECTIVES: Registry[type[Objective]] = Registry("objective")


def fit_head(experiment: ExperimentRecipe, store: Store) -> Head:
    """What the outputs of an experiment's model mean on this store."""
    return OBJECTIVES[experiment.objective.kind].fit(experiment, store)


def objective_of(head: Head, calibration: Calibration | None = None) -> Objective:
    """The objective behind a head."""
    return OBJECTIVES[head.kind](head, calibration)
