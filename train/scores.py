"""Areas under ROC curves and bootstrap intervals."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from schemas.metrics import Interval

Array = NDArray[np.float64]
RESAMPLES = 400
LEVEL = 0.95


def auc(score: Array, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive sample scores above a negative one, ties half; NaN without both."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def roc(score: Array, positive: NDArray[np.bool_]) -> tuple[Array, Array]:
    """False and true positive rates as the threshold falls."""
    order = np.argsort(-score, kind="stable")
    hits = positive[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(hits)[last_of_ties] / max(int(hits.sum()), 1)
    false = np.cumsum(~hits)[last_of_ties] / max(int((~hits).sum()), 1)
    return np.append(0.0, false), np.append(0.0, true)


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], samples: int, seed: int = 0) -> Interval:
    """A statistic of sample indices with the interval that resampling the samples gives."""
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(samples, size=samples)) for _ in range(RESAMPLES)]
    drawn = [value for value in drawn if np.isfinite(value)]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100 - tail]) if drawn else (np.nan, np.nan)
    return Interval(value=statistic(np.arange(samples)), low=float(low), high=float(high))
