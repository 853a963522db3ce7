"""The scores that may depend on a column: how good is each sample, and against which others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from train.evaluation.columns import class_names, smooth_label
from train.evaluation.measured import Measured
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Question:
    """A score that is the mean of `value` over `rows`, or tells them from `others` by it."""

    score: str
    class_name: str | None
    better: Literal["higher", "lower"]
    value: Array
    rows: Rows
    others: Rows | None = None
    has_ideal: bool = False


def questions(measured: Measured) -> list[Question]:
    """All scores of an objective that can be looked at sample by sample."""
    objective = measured.run.objective
    if isinstance(objective, ClassificationObjective):
        return [*_told_rightly(measured, objective), *_told_apart(measured, objective)]
    if isinstance(objective, RegressionObjective):
        return list(_errors(measured, objective))
    if isinstance(objective, AnomalyObjective):
        return list(_found(measured, objective))
    return []


def _told_rightly(measured: Measured, objective: ClassificationObjective) -> Iterator[Question]:
    true = objective.positions(measured.samples.label)
    right = (measured.output.argmax(axis=1) == true).astype(np.float64)
    yield Question(ACCURACY, None, "higher", right, np.ones(len(true), bool))
    for k, name in enumerate(objective.names):
        yield Question("recall", name, "higher", right, true == k)


def _told_apart(measured: Measured, objective: ClassificationObjective) -> Iterator[Question]:
    """Against the class without substructure by the ratio of probabilities; else against the rest."""
    label, output = measured.samples.label, measured.output
    smooth = smooth_label(measured)
    for k, one in enumerate(objective.head.classes):
        rows = label == one.label
        if smooth is None:
            # its probability against all others together, as log odds
            margin = output[:, k] - np.logaddexp.reduce(np.delete(output, k, axis=1), axis=1)
            yield Question("AUC against the rest", one.name, "higher", margin, rows, ~rows)
        elif one.label != smooth:
            beside = objective.labels.index(smooth)
            score = f"AUC against {objective.names[beside]}"
            margin = output[:, k] - output[:, beside]
            yield Question(score, one.name, "higher", margin, rows, label == smooth, has_ideal=True)


def _errors(measured: Measured, objective: RegressionObjective) -> Iterator[Question]:
    for fitted, error in zip(objective.head.targets, absolute_errors(measured, objective), strict=True):
        yield Question(f"MAE of {fitted.target.name}", None, "lower", error, np.isfinite(error))


def absolute_errors(measured: Measured, objective: RegressionObjective) -> list[Array]:
    """Of each target, in the unit that is learned; NaN where a class has no such target."""
    truth = objective.truth(measured.store, measured.samples)
    predicted = objective.predictions(measured.output)
    found = []
    for one in objective.head.targets:
        column = one.target.column
        true, said = truth[f"true_{column}"], predicted[f"predicted_{column}"]
        if one.target.transform == "log10":
            found.append(np.abs(np.log10(said) - np.log10(true)))
        elif one.period is not None:
            half = one.period / 2
            found.append(np.abs(np.mod(said - true + half, one.period) - half))
        else:
            found.append(np.abs(said - true))
    return found


def _found(measured: Measured, objective: AnomalyObjective) -> Iterator[Question]:
    label, score = measured.samples.label, objective.predictions(measured.output)["anomaly_score"]
    ordinary = np.isin(label, objective.trained_labels)
    has_ideal = objective.trained_labels == (smooth_label(measured),)
    against = " and ".join(objective.trained_names)
    names = class_names(measured)
    for one in sorted(set(label[~ordinary].tolist())):
        rows = label == one
        yield Question(f"AUC against {against}", names[one], "higher", score, rows, ordinary, has_ideal)
