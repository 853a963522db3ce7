"""Scores of several models on the same resampled rows, so that their differences can be judged."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from schemas.metrics import Interval
from train.scores import LEVEL, Statistics, resamples

Array = NDArray[np.float64]
Draws = dict[str, Array]


def draw(models: Mapping[str, Statistics], strata: NDArray[np.int64]) -> dict[str, Draws]:
    """Each statistic of each model on the rows as they are, and then on each resample, the same for all."""
    weights = [np.ones((1, len(strata))), *resamples(strata)]
    return {name: _of_all(statistics, weights) for name, statistics in models.items()}


def _of_all(statistics: Statistics, weights: list[Array]) -> Draws:
    parts = [statistics(block) for block in weights]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(drawn: Array) -> Interval:
    """The value and the percentiles of what was drawn."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn[1:], [tail, 100 - tail])
    return Interval(value=float(drawn[0]), low=float(low), high=float(high))


def p_value(difference: Array) -> float:
    """Two-sided, of no difference, by the spread of the resamples: their ranks would end at 1/400."""
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
    return [float(one) for one in corrected]
