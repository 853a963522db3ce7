"""What makes scores unbelievable."""

from collections.abc import Iterator

import numpy as np
from scipy.stats import norm

from schemas.metrics import Interval, Score
from schemas.numbers import score_words
from schemas.report import Baseline, Bound, Flag
from schemas.run import AnomalyHead, ClassifierHead
from train.evaluation.baselines import Beside
from train.evaluation.measured import Measured
from train.scores import LEVEL

# One false alarm in a thousand evaluations, not one in twenty.
ALARM = 0.001
WIDER = float(norm.isf(ALARM / 2) / norm.isf((1 - LEVEL) / 2))
# An interval as wide as a fifth of what knowing nothing scores, such as .1 of an area, says little.
TELLING = 0.2
# A best observer who is no further from chance leaves nothing to learn.
NEAR_CHANCE = 0.02


def flags(
    measured: Measured, scores: tuple[Score, ...], beside: Beside, best: tuple[Bound, ...]
) -> tuple[Flag, ...]:
    """Leaks first: better than the best observer, or something learned from shuffled labels."""
    found = [
        *_above_bounds(best),
        *_hardly_learned(best),
        *_from_shuffled(measured, beside.found),
        *_too_few(measured, scores),
    ]
    if measured.run.record.experiment.data.labels == "shuffled":
        found += _off_chance(measured, scores)
    else:
        found += _no_better(beside.found)
    if beside.missing is not None:
        found.append(_warning(f"There is no baseline of principal components: {beside.missing}."))
    return tuple(sorted(found, key=lambda one: one.severity != "leak"))


def _above_bounds(best: tuple[Bound, ...]) -> Iterator[Flag]:
    for one in best:
        if one.model.low <= one.ideal.high:
            continue
        told = (
            f"The AUC of {one.name} against {one.against}, {_said(one.model)}, is above what the best"
            f" observer of a lens that is not known beforehand could score, {_said(one.ideal)}"
        )
        if one.holds:
            yield _leak(f"{told}: something other than the substructure gives the class away.")
        else:
            yield _warning(
                f"{told}; in a replica, whose lens is the same in every image, that alone proves no leak."
            )


def _hardly_learned(best: tuple[Bound, ...]) -> Iterator[Flag]:
    """A mean over classes hides one that is not told from the smooth one."""
    for one in best:
        half = (0.5 + one.ideal.value) / 2
        if one.holds and one.ideal.low > 0.5 + NEAR_CHANCE and one.model.high < half:
            yield _warning(
                f"{one.name} is hardly told from {one.against}: the AUC is {_said(one.model)}, where the best"
                f" observer could score {_said(one.ideal)}."
            )


def _from_shuffled(measured: Measured, found: tuple[Baseline, ...]) -> Iterator[Flag]:
    for baseline in found:
        for score in baseline.scores if baseline.kind == "shuffled" else ():
            if off_chance(measured, score):
                yield _leak(
                    f"Principal components fitted to shuffled labels score {score_words(score.name)}"
                    f" {_said(score.value)} on shuffled labels, where chance is {score.chance:.4g}: the"
                    " scores of this evaluation measure something other than what the labels say."
                )


def _off_chance(measured: Measured, scores: tuple[Score, ...]) -> Iterator[Flag]:
    for score in scores:
        if off_chance(measured, score):
            yield _leak(
                f"With shuffled labels the model has {score_words(score.name)} {_said(score.value)}"
                f"{_unit(score)}, where chance is {score.chance:.4g}: it was measured on what it was"
                " trained on, or something beside the images tells the labels."
            )


def off_chance(measured: Measured, score: Score) -> bool:
    """Whether a score differs from what knowing nothing gives by more than chance does once in a thousand."""
    value = score.value
    if score.better == "lower":
        return value.value + WIDER * (value.high - value.value) < score.chance
    reach = max(
        WIDER * (value.high - value.low) / 2, float(norm.isf(ALARM / 2)) * _deviation_by_chance(measured)
    )
    return abs(value.value - score.chance) > reach


def _deviation_by_chance(measured: Measured) -> float:
    """Of an area when labels say nothing (Mann & Whitney 1947), the largest of all classes.

    Resampling knows little of that where samples are few: all may happen to stand in the right order.
    """
    label, head = measured.samples.label, measured.run.record.head
    one_sides = [label == one.label for one in head.classes] if isinstance(head, ClassifierHead) else []
    if isinstance(head, AnomalyHead):
        one_sides = [np.isin(label, head.trained_on)]
    sizes = [(int(one.sum()), int((~one).sum())) for one in one_sides]
    return max((((m + n + 1) / (12 * m * n)) ** 0.5 for m, n in sizes if m and n), default=0.0)


def _no_better(found: tuple[Baseline, ...]) -> Iterator[Flag]:
    """By score; where a constant is as good, only what is better than the model is told beside it."""
    told: set[str] = set()
    for baseline in sorted(found, key=lambda one: one.kind != "constant"):
        for name, gain in baseline.gain.items():
            if gain.low > 0 or (name in told and gain.high >= 0):
                continue
            told.add(name)
            beside = next(one for one in baseline.scores if one.name == name)
            than = "a constant" if baseline.kind == "constant" else baseline.what
            how = "worse than" if gain.high < 0 else "not shown to be better than"
            yield _warning(
                f"In {score_words(name)} the model is {how} {than} ({_said(beside.value)}): it gains"
                f" {_said(gain)}{_unit(beside)}."
            )


def _too_few(measured: Measured, scores: tuple[Score, ...]) -> Iterator[Flag]:
    for score in scores:
        width = score.value.high - score.value.low
        if width > TELLING * abs(score.chance):
            yield _warning(
                f"{len(measured.samples):,} samples leave {score_words(score.name)} open between"
                f" {score.value.low:.4g} and {score.value.high:.4g}{_unit(score)}: too few to tell"
                " how good the model is."
            )


def _leak(text: str) -> Flag:
    return Flag(severity="leak", text=text)


def _warning(text: str) -> Flag:
    return Flag(severity="warning", text=text)


def _unit(score: Score) -> str:
    return "" if score.unit in ("", "1") else f" {score.unit}"


def _said(one: Interval) -> str:
    return f"{one.value:.4g} [{one.low:.4g}, {one.high:.4g}]"
