"""Which samples a report shows: those that a model did best and worst on, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from train.evaluation.columns import class_names
from train.evaluation.measured import Measured
from train.evaluation.questions import absolute_errors
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective

Array = NDArray[np.float64]
# Of each class or target, and of all together: maps of more would take longer than the evaluation.
MOST_OF_GROUP = 4
MOST = 24


@dataclass(frozen=True)
class Chosen:
    """A sample at a place among those measured, why it was chosen, and which output explains it."""

    place: int
    kind: Literal["best", "worst"]
    group: str
    true: str
    said: str
    measure: float
    output: int


def chosen(measured: Measured) -> list[Chosen]:
    """The best and the worst samples of each class or target, the most extreme first."""
    objective = measured.run.objective
    if isinstance(objective, ClassificationObjective):
        return list(_of_classes(measured, objective))
    if isinstance(objective, RegressionObjective):
        return list(_of_targets(measured, objective))
    if isinstance(objective, AnomalyObjective):
        return list(_of_anomalies(measured, objective))
    return []


def _ends(
    goodness: Array, rows: NDArray[np.int64], groups: int, right: NDArray[np.bool_] | None = None
) -> Iterator[tuple[Literal["best", "worst"], int]]:
    """Places with the highest and the lowest goodness; none twice, and none best that is not right."""
    count = min(MOST_OF_GROUP, max(1, MOST // (2 * groups)), -(-len(rows) // 2))
    order = rows[np.argsort(-goodness[rows], kind="stable")]
    best = (order if right is None else order[right[order]])[:count]
    for place in best.tolist():
        yield "best", place
    for place in order[~np.isin(order, best)][::-1][:count].tolist():
        yield "worst", place


def _of_classes(measured: Measured, objective: ClassificationObjective) -> Iterator[Chosen]:
    probability = objective.probabilities(measured.output)
    true, names = objective.positions(measured.samples.label), objective.names
    own = probability[np.arange(len(true)), true]
    right = probability.argmax(axis=1) == true
    for k, name in enumerate(names):
        for kind, place in _ends(own, np.flatnonzero(true == k), len(names), right):
            taken = int(probability[place].argmax())
            said = f"{names[taken]} ({_percent(probability[place, taken])})"
            yield Chosen(place, kind, name, name, said, float(own[place]), taken)


def _percent(share: float) -> str:
    """Never 100% of what is not quite sure."""
    return f"{min(100 * share, 99.9):.1f}%" if share > 0.99 else f"{100 * share:.0f}%"


def _of_targets(measured: Measured, objective: RegressionObjective) -> Iterator[Chosen]:
    truth = objective.truth(measured.store, measured.samples)
    predicted = objective.predictions(measured.output)
    targets = objective.head.targets[: MOST // 2]
    units = {one.name: one.unit for one in measured.store.plan.columns}
    for k, (fitted, error) in enumerate(zip(targets, absolute_errors(measured, objective), strict=False)):
        column = fitted.target.column
        sigma = predicted.get(f"sigma_{column}")
        for kind, place in _ends(-error, np.flatnonzero(np.isfinite(error)), len(targets)):
            true = _valued(truth[f"true_{column}"][place], units[column])
            said = _valued(predicted[f"predicted_{column}"][place], units[column])
            if sigma is not None:
                said += f", sigma {sigma[place]:.2g}{_unit(fitted.unit)}"
            told = f"{column} {true}"
            yield Chosen(place, kind, fitted.target.name, told, said, float(error[place]), k)


def _valued(value: float, unit: str) -> str:
    return f"{value:.4g}".replace("e+", "e") + _unit(unit)


def _unit(unit: str) -> str:
    return "" if unit in ("", "1") else f" {unit}"


def _of_anomalies(measured: Measured, objective: AnomalyObjective) -> Iterator[Chosen]:
    """Ordinary images are done well with a low score, all others with a high one."""
    score, names = objective.predictions(measured.output)["anomaly_score"], class_names(measured)
    label = measured.samples.label
    present = np.unique(label).tolist()
    for one in present:
        goodness = -score if one in objective.trained_labels else score
        for kind, place in _ends(goodness, np.flatnonzero(label == one), len(present)):
            said = f"score {score[place]:.3g}"
            yield Chosen(place, kind, names[one], names[one], said, float(score[place]), 1)
