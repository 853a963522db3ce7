"""Areas under ROC curves, their intervals, and how far from .5 chance takes them."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from schemas.audit import Separation

Array = NDArray[np.float64]
INTERVAL = 0.95


def separate(first: Array, second: Array, level: float) -> tuple[Separation, Separation]:
    """Two classes by a number: which tends to be larger, and which tends to be further from the median.

    The second finds what only the spread, or a U shape, gives away. A value that is not finite counts as
    lower than all others and as further out than all others, so that missing values are found as well.
    """
    finite = np.isfinite(first), np.isfinite(second)
    present = np.concatenate([first[finite[0]], second[finite[1]]])
    median = np.median(present) if len(present) else 0.0
    values = [np.where(good, one, -np.inf) for good, one in zip(finite, (first, second), strict=True)]
    away = [np.where(good, np.abs(one - median), np.inf) for good, one in zip(finite, values, strict=True)]
    return (
        _by_number("value", values[0], values[1], level),
        _by_number("distance", away[0], away[1], level),
    )


def _by_number(of: str, first: Array, second: Array, level: float) -> Separation:
    area, spread, by_chance = area_under_curve(first, second)
    return separation(of, area, spread, float(norm.isf(level / 2)) * by_chance)


def separation(of: str, area: float, spread: float, bound: float) -> Separation:
    """With the interval that the standard deviation of the area gives."""
    reach = float(norm.isf((1 - INTERVAL) / 2)) * spread
    return Separation.model_validate(
        {
            "of": of,
            "auc": area,
            "low": max(area - reach, 0.0),
            "high": min(area + reach, 1.0),
            "bound": bound,
        }
    )


def area_under_curve(first: Array, second: Array) -> tuple[float, float, float]:
    """Probability that `second` is larger (ties half), its standard deviation, and that of chance alone.

    The deviation is DeLong, DeLong & Clarke-Pearson's (1988); chance alone is the permutation variance of
    Mann and Whitney's statistic with its correction for ties.
    """
    m, n = len(first), len(second)
    together = np.concatenate([first, second])
    ranks = rankdata(together)
    # for each sample, the share of the other class that it beats
    over_first = (ranks[m:] - rankdata(second)) / m
    over_second = (ranks[:m] - rankdata(first)) / n
    variance = _variance(over_first) / n + _variance(over_second) / m
    _, ties = np.unique(together, return_counts=True)
    total = m + n
    tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1)) if total > 1 else 0.0
    by_chance = max((total + 1 - tied) / (12 * m * n), 0.0)
    return float(over_first.mean()), float(np.sqrt(variance)), float(np.sqrt(by_chance))


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.25


def classifier_reach(level: float) -> float:
    """How far chance takes a cross-fitted classifier, in deviations of an area by chance alone.

    Folds share their samples, so that their areas go the same way. Let d_k be what fold k adds to the
    difference of the class means, and D_k the sum of the others': the area follows the sum over k of
    d_k . D_k / |D_k|. Each term has one variance, and terms k and l share d_k . d_l, which doubles the
    variance of the sum when features are many; with few, large values are rarer than that.
    """
    return float(np.sqrt(2.0) * norm.isf(level))


def smallest_found(first: int, second: int, level: float, power: float = 0.9) -> float:
    """The area that a test of one number finds with this probability."""
    by_chance = np.sqrt((first + second + 1) / (12 * first * second))
    return float(min(0.5 + (norm.isf(level / 2) + norm.isf(1 - power)) * by_chance, 1.0))
