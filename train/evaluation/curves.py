"""The points of ROC and precision-recall curves, as a table beside the report."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from train.evaluation.measured import Measured
from train.models.autoencoders import SCORE
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.scores import precision_recall, roc

Array = NDArray[np.float64]
# Points of a curve: on a page one is less than a pixel from the next.
POINTS = 500


class Cases(NamedTuple):
    """Scores of cases, and which of them are of the class that is looked for; no class: all together."""

    name: str | None
    place: int | None
    score: Array
    positive: NDArray[np.bool_]


def cases_of_classes(
    objective: ClassificationObjective, label: NDArray[np.int32], output: Array
) -> tuple[Cases, ...]:
    """Each class against the rest, and every class of every sample as a case of its own."""
    probability = objective.probabilities(output)
    positive = np.arange(objective.outputs)[None, :] == objective.positions(label)[:, None]
    each = [Cases(name, k, probability[:, k], positive[:, k]) for k, name in enumerate(objective.names)]
    return (*each, Cases(None, None, probability.ravel(), positive.ravel()))


def cases_of_anomalies(
    objective: AnomalyObjective, label: NDArray[np.int32], score: Array
) -> tuple[Cases, ...]:
    """Each other class against those that were trained on, and all others together."""
    ordinary = np.isin(label, objective.trained_labels)
    found = []
    for k, one in enumerate(objective.head.classes):
        if one.label not in objective.trained_labels:
            rows = ordinary | (label == one.label)
            found.append(Cases(one.name, k, score[rows], label[rows] == one.label))
    return (*found, Cases(None, None, score, ~ordinary))


def curves(measured: Measured) -> pa.Table | None:
    """A row for each point: curve, class (null: all together), x, y and the score that it is at.

    None of numbers that are predicted.
    """
    objective, label, output = measured.run.objective, measured.samples.label, measured.output
    if isinstance(objective, ClassificationObjective):
        cases = cases_of_classes(objective, label, output)
    elif isinstance(objective, AnomalyObjective):
        cases = cases_of_anomalies(objective, label, output[:, SCORE])
    else:
        return None
    return pa.concat_tables(list(_tables(cases)))


def _tables(cases: tuple[Cases, ...]) -> Iterator[pa.Table]:
    for one in cases:
        at = np.unique(one.score)[::-1]
        false, true = roc(one.score, one.positive)
        # above the highest score there is nothing
        yield _table("roc", one.name, false, true, np.append(np.nan, at))
        yield _table("precision_recall", one.name, *precision_recall(one.score, one.positive), at)


def _table(curve: str, name: str | None, x: Array, y: Array, score: Array) -> pa.Table:
    kept = thinned(x, y)
    count = len(kept)
    return pa.table(
        {
            "curve": [curve] * count,
            "class": pa.array([name] * count, pa.string()),
            "x": x[kept],
            "y": y[kept],
            "score": pa.array(score[kept], from_pandas=True),
        }
    )


def thinned(x: Array, y: Array, most: int = POINTS) -> NDArray[np.int64]:
    """Points to keep, both ends among them, about as far from each other along the curve."""
    if len(x) <= most:
        return np.arange(len(x))
    way = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    kept = np.searchsorted(way, np.linspace(0, way[-1], most))
    return np.unique(np.append(0, np.append(kept, len(x) - 1)))
