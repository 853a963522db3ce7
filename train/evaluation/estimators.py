"""What needs no network: from numbers that describe an image to outputs in the network's own form.

Each estimator is fitted to what its objective encodes and gives what the objective measures, so that names,
units and intervals of scores are those of a model.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from train.evaluation.linear import Classes, Numbers
from train.models.autoencoders import SCORE, SQUARED
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.records.run_folder import Run

Array = NDArray[np.float64]
Arrays = dict[str, Array]


class Estimator(Protocol):
    """Fitted arrays are handed out and taken back, so that they can be kept in a file."""

    @property
    def what(self) -> str:
        """In words for a table."""
        ...

    def fit(self, features: Array, truth: Array, seed: int) -> Arrays:
        """What makes outputs of features; `truth` is what the objective encodes."""
        ...

    def outputs(self, fitted: Arrays, features: Array) -> Array:
        """In the form of the network's outputs."""
        ...


def estimator_of(run: Run) -> Estimator | None:
    """The one for a run's objective; None for an objective that nothing simple is known for."""
    objective = run.objective
    if isinstance(objective, ClassificationObjective):
        return Classes(objective.outputs)
    if isinstance(objective, RegressionObjective):
        return Numbers(objective.head.targets, objective.probabilistic)
    if isinstance(objective, AnomalyObjective):
        return Ordinary(math.prod(run.record.data.image_shape))
    return None


@dataclass(frozen=True)
class Ordinary:
    """How far an image is from ordinary ones: Mahalanobis distance, what is left over included.

    But for a constant that is the negative log density of probabilistic principal components (Tipping &
    Bishop 1999). In units of the number of pixels it is about 1 for ordinary images.
    """

    pixels: int
    what = "distance from ordinary images (Mahalanobis)"

    def fit(self, features: Array, truth: Array, seed: int) -> Arrays:
        del truth, seed
        scores, rest = features[:, :-1], np.exp(features[:, -1])
        dimensions = max(self.pixels - scores.shape[1], 1)
        noise = max(float(rest.mean()) / dimensions, np.finfo(np.float64).tiny)
        return {
            "centre": scores.mean(axis=0),
            "variance": np.maximum(scores.var(axis=0), noise),
            "noise": np.array([noise]),
        }

    def outputs(self, fitted: Arrays, features: Array) -> Array:
        scores, rest = features[:, :-1], np.exp(features[:, -1])
        distance = ((scores - fitted["centre"]) ** 2 / fitted["variance"]).sum(axis=1)
        found = np.zeros((len(features), max(SCORE, SQUARED) + 2))
        found[:, SCORE] = (distance + rest / fitted["noise"]) / self.pixels
        found[:, SQUARED] = rest / self.pixels
        return found
