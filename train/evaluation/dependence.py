"""Where a model works: its score against each physical column."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.detectability import ideal_auc
from schemas.metrics import Interval
from schemas.report import Bin, Dependence
from train.evaluation.bins import FEWEST_SAMPLES, auc_interval, ends_of, placements, quantile_bins, trend
from train.evaluation.columns import DETECTABILITY, Column, class_names, physical_columns, smooth_label
from train.evaluation.measured import Measured
from train.evaluation.questions import ACCURACY, Question, questions
from train.scores import bootstrap

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
# Beside those on detectability, which are always told.
MOST = 12


@dataclass(frozen=True)
class Found:
    """A score in the bins of a column, and how sure it is that it changes with it."""

    question: Question
    column: Column
    places: Numbers
    bins: Numbers
    against: tuple[Array, ...]
    explained: float
    chance: float


def dependences(measured: Measured) -> tuple[Dependence, ...]:
    """By column and class, the most telling first."""
    columns, asked = physical_columns(measured), questions(measured)
    found = [
        one
        for question in asked
        for column in columns
        if (one := _looked_at(measured, question, column)) is not None
    ]
    # so many tests find something by chance
    told = [replace(one, chance=min(1.0, one.chance * len(found))) for one in found]
    first = [one for one in told if one.column.is_detectability]
    others = [one for one in told if not one.column.is_detectability]
    chosen = sorted(first, key=_telling) + sorted(others, key=_telling)[:MOST]
    return tuple(_dependence(measured, one) for one in chosen)


def _telling(one: Found) -> tuple[bool, float]:
    """What is likely chance comes last, whatever it seems to explain."""
    return one.chance > 0.05, -one.explained


def _looked_at(measured: Measured, whole: Question, column: Column) -> Found | None:
    question = _narrowed(measured, whole, column)
    if question is None:
        return None
    places = np.flatnonzero(question.rows)
    bins = quantile_bins(column.values[places])
    if bins is None:
        return None
    value = question.value[places]
    against = _against(measured, question, column, places, bins)
    if against:
        if min(map(len, against)) < FEWEST_SAMPLES:
            return None
        for k, others in enumerate(against):
            value[bins == k] = placements(value[bins == k], others)
    return Found(question, column, places, bins, against, *trend(value, bins))


def _narrowed(measured: Measured, whole: Question, column: Column) -> Question | None:
    """The question asked of the samples that the column says something of; None if another one asks it."""
    rows = whole.rows & np.isfinite(column.values)
    if column.is_detectability:
        # smooth lenses have nothing that could be detected
        rows &= measured.samples.label != smooth_label(measured)
    labels = np.unique(measured.samples.label[rows])
    if whole.class_name is not None or len(labels) != 1:
        return replace(whole, rows=rows)
    if whole.score == ACCURACY:
        return None
    several = len(np.unique(measured.samples.label)) > 1
    return replace(whole, rows=rows, class_name=class_names(measured)[int(labels[0])] if several else None)


def _against(
    measured: Measured, question: Question, column: Column, places: Numbers, bins: Numbers
) -> tuple[Array, ...]:
    """The scores of the others for each bin: those with like values, where they have the column at all."""
    if question.others is None:
        return ()
    count = int(bins.max()) + 1
    if column.is_detectability or not column.applies_to(measured.samples.label[question.others]):
        return (question.value[question.others],) * count
    others = np.flatnonzero(question.others & np.isfinite(column.values))
    edges = [low for low, _ in ends_of(column.values[places], bins)[1:]]
    own = np.searchsorted(edges, column.values[others], side="right")
    return tuple(question.value[others[own == one]] for one in range(count))


def _dependence(measured: Measured, one: Found) -> Dependence:
    values = one.column.values[one.places]
    ends = ends_of(values, one.bins)
    return Dependence(
        column=one.column.name,
        unit=one.column.unit,
        class_name=one.question.class_name,
        score=one.question.score,
        better=one.question.better,
        bins=tuple(
            Bin(low=low, high=high, samples=int((one.bins == k).sum()), score=_score(one, k))
            for k, (low, high) in enumerate(ends)
        ),
        ideal=_ideal(measured, one),
        trend=one.explained,
        p_value=one.chance,
    )


def _score(one: Found, k: int) -> Interval:
    value = one.question.value[one.places[one.bins == k]]
    if one.against:
        return auc_interval(value, one.against[k])
    return bootstrap(lambda rows: float(value[rows].mean()), len(value))


def _ideal(measured: Measured, one: Found) -> tuple[float | None, ...]:
    """The mean bound of the samples in each bin, where the store says how detectable they are."""
    names = [column.name for column in measured.store.plan.columns]
    if not one.question.has_ideal or DETECTABILITY not in names:
        return ()
    visible = measured.samples.params[one.places, names.index(DETECTABILITY)]
    if not np.isfinite(visible).all():
        return ()
    best = ideal_auc(visible)
    return tuple(float(best[one.bins == k].mean()) for k in range(int(one.bins.max()) + 1))
