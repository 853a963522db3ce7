"""How much better one output is than another, paired over the same samples."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from schemas.metrics import Interval
from schemas.run import FittedTarget
from train.evaluation.measured import Measured
from train.models.autoencoders import SCORE
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.objectives.target_errors import transformed
from train.scores import auc, bootstrap

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
# Of rows among those that count, what grows with how good an output is.
Goodness = Callable[[Rows], float]


def gains(measured: Measured, other: Array) -> dict[str, Interval]:
    """By the names of scores, what the model has over the other output; positive: it is better."""
    mine, theirs = goodness(measured, measured.output), goodness(measured, other)
    found = {}
    for name, (good, samples) in mine.items():
        beside = theirs[name][0]

        def gained(rows: Rows, good: Goodness = good, beside: Goodness = beside) -> float:
            return good(rows) - beside(rows)

        found[name] = bootstrap(gained, samples)
    return found


def goodness(measured: Measured, output: Array) -> dict[str, tuple[Goodness, int]]:
    """By the names of scores: the score of rows, errors with a minus, and how many rows there are."""
    objective, label = measured.run.objective, measured.samples.label
    if isinstance(objective, ClassificationObjective):
        probability, true = softmax(output, axis=1), objective.positions(label)
        return {"auc_macro": (_macro(probability, true), len(label))}
    if isinstance(objective, AnomalyObjective):
        unusual = ~np.isin(label, objective.head.trained_on)
        score = output[:, SCORE]
        return {"auc_all": (lambda rows: auc(score[rows], unusual[rows]), len(label))}
    if isinstance(objective, RegressionObjective):
        return _errors(objective, measured, output)
    return {}


def _macro(probability: Array, true: Rows) -> Goodness:
    def mean_area(rows: Rows) -> float:
        own = true[rows]
        return float(np.mean([auc(probability[rows, k], own == k) for k in range(probability.shape[1])]))

    return mean_area


def _errors(
    objective: RegressionObjective, measured: Measured, output: Array
) -> dict[str, tuple[Goodness, int]]:
    true, given = objective.truth(measured.store, measured.samples), objective.predictions(output)
    found: dict[str, tuple[Goodness, int]] = {}
    for one in objective.head.targets:
        name = one.target.column
        error = _error(one, given[f"predicted_{name}"], true[f"true_{name}"])
        error = error[np.isfinite(error)]

        def minus_mean(rows: Rows, error: Array = error) -> float:
            return -float(error[rows].mean())

        found[f"mae.{one.target.name}"] = (minus_mean, len(error))
    return found


def _error(one: FittedTarget, given: Array, true: Array) -> Array:
    """In the unit that is learned; of directions, the shorter way round."""
    off = transformed(one.target, given) - transformed(one.target, true)
    if one.period is not None and one.target.transform == "none":
        off = np.mod(off + one.period / 2, one.period) - one.period / 2
    return np.abs(off)
