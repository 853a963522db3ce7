"""What the best observer could score, where the store carries detectabilities."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from schemas.detectability import DetectabilityColumns, ideal_auc
from schemas.metrics import Interval
from schemas.report import Bound
from schemas.run import AnomalyHead, ClassifierHead
from schemas.store import ClassSpec
from train.evaluation.measured import Measured
from train.models.autoencoders import SCORE
from train.scores import Ranking, intervals, mean_of

Array = NDArray[np.float64]
(DETECTABILITY,) = DetectabilityColumns.model_fields


def bounds(measured: Measured) -> tuple[Bound, ...]:
    """For each class against the one without substructure; nothing where no detectability is known."""
    head, origin = measured.run.record.head, measured.store.origin
    names = [column.name for column in measured.store.plan.columns]
    if DETECTABILITY not in names or not isinstance(origin, DatasetRecipe) or head.kind == "regression":
        return ()
    without = [one.label for one in origin.classes if one.substructure.kind == "none"]
    smooth = [one for one in head.classes if one.label in without]
    if not smooth:
        return ()
    seen = measured.samples.params[:, names.index(DETECTABILITY)].copy()
    holds = origin.family != "replica"
    seen[np.isin(measured.samples.label, without)] = np.nan
    return tuple(_bounds(measured, head, seen, smooth[0], holds))


def _bounds(
    measured: Measured, head: ClassifierHead | AnomalyHead, seen: Array, smooth: ClassSpec, holds: bool
) -> Iterator[Bound]:
    label, output = measured.samples.label, measured.output
    against = label == smooth.label
    for k, one in enumerate(head.classes):
        own = (label == one.label) & np.isfinite(seen)
        if not own.any() or not against.any():
            continue
        score = output[:, SCORE]
        if isinstance(head, ClassifierHead):
            # the difference of the outputs is the logarithm of the ratio of the probabilities
            score = output[:, k] - output[:, head.classes.index(smooth)]
        yield Bound(
            name=one.name,
            against=smooth.name,
            ideal=_mean(ideal_auc(seen[own])),
            model=_area(score, own, against),
            holds=holds,
        )


def _mean(values: Array) -> Interval:
    alike = np.zeros(len(values), dtype=np.int64)
    return intervals(lambda weights: {"mean": mean_of(weights, values)}, alike)["mean"]


def _area(score: Array, own: NDArray[np.bool_], against: NDArray[np.bool_]) -> Interval:
    both = own | against
    ranking = Ranking(score[both], own[both])
    return intervals(lambda weights: {"area": ranking.drawn(weights).area}, own[both])["area"]
