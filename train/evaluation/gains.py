"""How much better one output is than another, paired over the same samples."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.metrics import Interval
from train.evaluation.measured import Measured
from train.models.autoencoders import SCORE
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.scores import Ranking, intervals, mean_of

Array = NDArray[np.float64]
# From weights of samples, by resample, to what grows with how good an output is; and the samples' strata.
Goodness = tuple[Callable[[Array], Array], NDArray[Any]]


def gains(measured: Measured, other: Array) -> dict[str, Interval]:
    """By the names of scores, what the model has over the other output; positive: it is better."""
    mine, theirs = goodness(measured, measured.output), goodness(measured, other)
    return {name: _gain(mine[name], theirs[name]) for name in mine}


def _gain(mine: Goodness, theirs: Goodness) -> Interval:
    (good, strata), (beside, _) = mine, theirs
    return intervals(lambda weights: {"gain": good(weights) - beside(weights)}, strata)["gain"]


def goodness(measured: Measured, output: Array) -> dict[str, Goodness]:
    """By the names of scores: the score as the objective has it, errors with a minus."""
    objective, label = measured.run.objective, measured.samples.label
    if isinstance(objective, ClassificationObjective):
        true = objective.positions(label)
        return {"auc_macro": (_macro(objective.probabilities(output), true), true)}
    if isinstance(objective, AnomalyObjective):
        unusual = ~np.isin(label, objective.head.trained_on)
        ranking = Ranking(output[:, SCORE], unusual)
        return {"auc_all": (lambda weights: ranking.drawn(weights).area, label)}
    if isinstance(objective, RegressionObjective):
        errors = np.abs(objective.errors(measured.store, measured.samples, output))
        names = [f"mae.{one.target.name}" for one in objective.head.targets]
        return {name: _minus_mean(error) for name, error in zip(names, errors.T, strict=True)}
    return {}


def _macro(probability: Array, true: NDArray[np.int64]) -> Callable[[Array], Array]:
    each = [Ranking(probability[:, k], true == k) for k in range(probability.shape[1])]
    return lambda weights: np.mean([one.drawn(weights).area for one in each], axis=0)


def _minus_mean(error: Array) -> Goodness:
    error = error[np.isfinite(error)]
    return lambda weights: -mean_of(weights, error), np.zeros(len(error), dtype=np.int64)
