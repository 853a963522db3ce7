"""Areas under curves and bootstrap intervals.

A resample is told by how often each sample is in it. So samples are ranked once, and a statistic of weights
gives all resamples of a block together. The statistics of one call see the same resamples.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata

from schemas.metrics import Interval

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
# From weights (resamples, samples) to numbers by name, one for each resample.
Statistics = Callable[[Array], Mapping[str, Array]]
RESAMPLES = 400
LEVEL = 0.95
# Numbers in a block of weights: 2 MB of them, which stay in the cache.
BLOCK = 1 << 18


def auc(score: Array, positive: Flags) -> float:
    """Probability that a positive sample scores above a negative one, ties half; NaN without both."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def roc(score: Array, positive: Flags) -> tuple[Array, Array]:
    """False and true positive rates as the threshold falls."""
    false, true = _counts(score, positive)
    return np.append(0.0, false / max(false[-1], 1)), np.append(0.0, true / max(true[-1], 1))


def precision_recall(score: Array, positive: Flags) -> tuple[Array, Array]:
    """Recall and precision as the threshold falls."""
    false, true = _counts(score, positive)
    return true / max(true[-1], 1), true / (true + false)


def _counts(score: Array, positive: Flags) -> tuple[Array, Array]:
    """Negative and positive samples at or above each score that occurs."""
    order = np.argsort(-score, kind="stable")
    hits = positive[order].astype(np.float64)
    last_of_ties = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    return np.cumsum(1 - hits)[last_of_ties], np.cumsum(hits)[last_of_ties]


@dataclass(frozen=True)
class Drawn:
    """By resample: weights of negative and positive cases at each score that occurs, highest first."""

    false: Array
    true: Array

    @property
    def area(self) -> Array:
        """Under the ROC curve, ties half; NaN where a resample lacks one of the two."""
        above = np.cumsum(self.true, axis=1)
        pairs = (self.false * (above - 0.5 * self.true)).sum(axis=1)
        return _ratio(pairs, self.false.sum(axis=1) * above[:, -1])

    @property
    def precision(self) -> Array:
        """Average precision: the mean over positive cases of the precision at their score."""
        above = np.cumsum(self.true, axis=1)
        told = np.cumsum(self.false, axis=1) + above
        return _ratio((self.true * above / np.maximum(told, 1)).sum(axis=1), above[:, -1])

    def found(self, false_positives: float) -> Array:
        """Share of positive cases above the lowest score that no larger a share of negative ones reaches."""
        false, above = np.cumsum(self.false, axis=1), np.cumsum(self.true, axis=1)
        # a share that is exact in decimals is not in binary
        allowed = false <= false_positives * false[:, -1:] + 1e-9
        return _ratio((above * allowed).max(axis=1), above[:, -1])


class Ranking:
    """Cases from the highest score down; `sample` says which sample each case is of, if not one each."""

    def __init__(self, score: Array, positive: Flags, sample: NDArray[np.int64] | None = None) -> None:
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        self._rows = order if sample is None else sample[order]
        self._positive = positive[order]
        self._first_of_ties = np.append(0, np.flatnonzero(np.diff(ranked)) + 1)

    def drawn(self, weights: Array) -> Drawn:
        """How the cases stand in each resample."""
        each = weights[:, self._rows]
        return Drawn(self._at_scores(each * ~self._positive), self._at_scores(each * self._positive))

    def _at_scores(self, each: Array) -> Array:
        if len(self._first_of_ties) == each.shape[1]:
            return each
        return np.asarray(np.add.reduceat(each, self._first_of_ties, axis=1))


def mean_of(weights: Array, values: Array) -> Array:
    """The mean of values of the samples, by resample."""
    return np.asarray(weights @ values / weights.sum(axis=1))


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def resamples(strata: NDArray[Any], seed: int = 0) -> Iterator[Array]:
    """How often each sample is drawn, in blocks of resamples; as many of each stratum as there are."""
    _, stratum = np.unique(strata, return_inverse=True)
    groups = [np.flatnonzero(stratum == one) for one in range(stratum.max() + 1)]
    rng = np.random.default_rng(seed)
    at_once = max(1, BLOCK // len(strata))
    for first in range(0, RESAMPLES, at_once):
        block = np.empty((min(at_once, RESAMPLES - first), len(strata)))
        for one in range(len(block)):
            for rows in groups:
                drawn = rng.integers(len(rows), size=len(rows))
                block[one, rows] = np.bincount(drawn, minlength=len(rows))
        yield block


def intervals(statistics: Statistics, strata: NDArray[Any], seed: int = 0) -> dict[str, Interval]:
    """Each statistic of the samples with its interval; no stratum ever vanishes from a resample.

    `strata` has a number for each sample, all the same for a plain bootstrap.
    """
    whole = statistics(np.ones((1, len(strata))))
    blocks = [statistics(block) for block in resamples(strata, seed)]
    return {
        name: _interval(float(value[0]), np.concatenate([block[name] for block in blocks]))
        for name, value in whole.items()
    }


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], samples: int, seed: int = 0) -> Interval:
    """A statistic of sample indices with the interval that resampling the samples gives."""
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(samples, size=samples)) for _ in range(RESAMPLES)]
    return _interval(statistic(np.arange(samples)), np.array(drawn))


def _interval(value: float, drawn: Array) -> Interval:
    """Percentiles of the resamples that have a value."""
    drawn = drawn[np.isfinite(drawn)]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100 - tail]) if len(drawn) else (np.nan, np.nan)
    return Interval(value=value, low=float(low), high=float(high))


def share(part: int, whole: int) -> Interval:
    """A share with Wilson's interval, which few samples, none and all do no harm to."""
    ends = binomtest(part, whole).proportion_ci(LEVEL, method="wilson")
    return Interval(value=part / whole, low=float(ends.low), high=float(ends.high))
