"""Scores of several models on the same resampled rows, so that their differences can be judged.

Rows are resampled within their class, so that no class vanishes. What is drawn is how often each row counts,
so that the area under a ROC curve needs no new ranking.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from schemas.metrics import Interval
from train.scores import LEVEL

Array = NDArray[np.float64]
# How often each row counts, (rows, resamples), to the statistic of each resample. Rows come first because
# they are sorted by score: what is moved then are whole lines of memory.
Statistic = Callable[[Array], Array]

Key = TypeVar("Key")

RESAMPLES = 1000
# Rows times resamples that are held at once: 2 MB, which a core's cache has.
HELD = 1 << 18


def resampled(stratum: NDArray[np.int32], resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Array]:
    """How often each row counts, a block of resamples at a time; as many of each stratum as there are."""
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(stratum == one) for one in np.unique(stratum)]
    at_once = max(1, HELD // max(1, len(stratum)))
    for first in range(0, resamples, at_once):
        block = min(at_once, resamples - first)
        counts = np.empty((len(stratum), block))
        for rows in places:
            drawn = rng.integers(len(rows), size=(len(rows), block)) * block + np.arange(block)
            counts[rows] = np.bincount(drawn.ravel(), minlength=len(rows) * block).reshape(len(rows), block)
        yield counts


def draw(
    statistics: Mapping[Key, Statistic], stratum: NDArray[np.int32], resamples: int = RESAMPLES
) -> dict[Key, Array]:
    """Each statistic on the rows as they are, and then on each resample."""
    found = {name: [one(np.ones((len(stratum), 1)))] for name, one in statistics.items()}
    for counts in resampled(stratum, resamples):
        for name, one in statistics.items():
            found[name].append(one(counts))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def area(score: Array, positive: NDArray[np.bool_]) -> Statistic:
    """The area under a ROC curve, ties half."""
    order = np.argsort(score, kind="stable")
    hits = np.flatnonzero(positive[order])
    ranked = score[order]
    # rows that score less than a row, and those that score no more
    less = np.searchsorted(ranked, ranked[hits], side="left")
    no_more = np.searchsorted(ranked, ranked[hits], side="right")

    def statistic(counts: Array) -> Array:
        ordered = counts[order]
        above = ordered[hits]
        ordered[hits] = 0
        below = np.zeros((len(order) + 1, counts.shape[1]))
        np.cumsum(ordered, axis=0, out=below[1:])
        won = np.einsum("ij,ij->j", above, below[less] + below[no_more])
        return np.asarray(won / (2 * above.sum(axis=0) * below[-1]))

    return statistic


def mean_of(statistics: list[Statistic]) -> Statistic:
    """The mean of several."""
    return lambda counts: np.mean([one(counts) for one in statistics], axis=0)


def mean_where_known(value: Array) -> Statistic:
    """The mean over the rows that are no NaN."""
    known = np.isfinite(value)
    filled = np.where(known, value, 0.0)
    return lambda counts: np.asarray(filled @ counts / (known.astype(np.float64) @ counts))


def interval(drawn: Array) -> Interval:
    """The value and the percentiles of what was drawn."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn[1:], [tail, 100 - tail])
    return Interval(value=float(drawn[0]), low=float(low), high=float(high))


def p_value(difference: Array) -> float:
    """Two-sided, of no difference, by the spread of the resamples: their ranks would end at 1/1000."""
    spread = float(np.std(difference[1:], ddof=1))
    if spread <= 1e-12 * max(1.0, abs(float(difference[0]))):
        return 1.0 if abs(float(difference[0])) <= 1e-12 else 0.0
    return float(2 * norm.sf(abs(difference[0]) / spread))


def holm(p: list[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()
