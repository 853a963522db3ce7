"""Intervals of a column that hold about as many samples each, and scores within them."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kruskal

from schemas.metrics import Interval
from train.scores import LEVEL, RESAMPLES

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
MOST_BINS = 6
# Fewer say nothing: their interval would span half of all scores.
FEWEST_SAMPLES = 20


def quantile_bins(values: Array) -> Numbers | None:
    """The bin of each value, lowest first; None if there are too few samples, or values, for two."""
    wanted = min(MOST_BINS, len(values) // FEWEST_SAMPLES)
    if wanted < 2:
        return None
    distinct = np.unique(values)
    if len(distinct) <= MOST_BINS:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, wanted + 1)[1:-1]))
    kept = _with_enough(np.sort(values), edges)
    return np.searchsorted(kept, values, side="right") if len(kept) else None


def _with_enough(ordered: Array, edges: Array) -> Array:
    """The edges that leave enough samples on both sides: columns of a few values have lumps."""
    kept, before = [], 0
    for edge in edges.tolist():
        here = int(np.searchsorted(ordered, edge, side="left"))
        if here - before >= FEWEST_SAMPLES and len(ordered) - here >= FEWEST_SAMPLES:
            kept.append(edge)
            before = here
    return np.array(kept)


def ends_of(values: Array, bins: Numbers) -> list[tuple[float, float]]:
    """The lowest and the highest value in each bin."""
    return [(float(own.min()), float(own.max())) for own in groups(values, bins)]


def groups(values: Array, bins: Numbers) -> list[Array]:
    """The values in each bin."""
    order = np.argsort(bins, kind="stable")
    cuts = np.cumsum(np.bincount(bins))
    return [values[order[first:last]] for first, last in pairwise([0, *cuts.tolist()])]


def trend(values: Array, bins: Numbers) -> tuple[float, float]:
    """Share of the variance of ranks that bins explain, and the chance that they explain nothing.

    The test of Kruskal and Wallis: it also finds scores that are best in the middle of a column.
    """
    apart = groups(values, bins)
    if not np.ptp(values) > 0:
        return 0.0, 1.0
    statistic, chance = kruskal(*apart)
    spare = len(apart) - 1
    explained = (float(statistic) - spare) / (len(values) - len(apart))
    return max(explained, 0.0), float(chance)


def placements(positive: Array, negative: Array) -> Array:
    """For each positive the share of negatives with a lower score, ties half; their mean is the AUC."""
    ordered = np.sort(negative)
    lower = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return lower / (2 * len(negative))


def auc_interval(positive: Array, negative: Array, seed: int = 0) -> Interval:
    """Area under the curve with the interval of a bootstrap over both kinds of samples.

    The area is linear in placements to first order (Hajek), so resampling them saves sorting each time.
    """
    above, below = placements(positive, negative), 1 - placements(negative, positive)
    area, rng = float(above.mean()), np.random.default_rng(seed)
    drawn = [_redrawn(above, rng) + _redrawn(below, rng) - area for _ in range(RESAMPLES)]
    tail = 50 * (1 - LEVEL)
    low, high = np.clip(np.percentile(drawn, [tail, 100 - tail]), 0, 1).tolist()
    return Interval(value=area, low=low, high=high)


def _redrawn(values: Array, rng: np.random.Generator) -> float:
    return float(values[rng.integers(len(values), size=len(values))].mean())
