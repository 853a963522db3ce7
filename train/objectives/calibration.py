"""What makes probabilities, intervals and thresholds honest, fitted on samples that training has not seen."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from schemas.calibration import Conformal, ConformalTarget, Temperature, Thresholds

Array = NDArray[np.float64]
# With fewer a coverage of 90% would be off by 4% and more, one time in three.
NEEDED = 50
LEVELS = (0.683, 0.9, 0.95)
# That of `low_X` and `high_X`, and that of a sigma.
SHOWN, ONE_SIGMA = 0.9, 0.683
SHARES = (0.01, 0.05, 0.1)
TEMPERATURES = (0.05, 20.0)


def fit_temperature(output: Array, true: NDArray[np.int64]) -> Temperature | None:
    """The temperature of the largest likelihood (Guo et al. 2017, arXiv:1706.04599)."""
    if len(true) < NEEDED:
        return None
    lowest, highest = TEMPERATURES
    if (output.argmax(axis=1) == true).all():
        # the likelihood would rise for ever as the network is made surer of itself
        lowest = 1.0

    def cost(log_temperature: float) -> float:
        told = log_softmax(output / math.exp(log_temperature), axis=1)
        return -float(told[np.arange(len(true)), true].mean())

    found = minimize_scalar(cost, bounds=(math.log(lowest), math.log(highest)), method="bounded")
    return Temperature(temperature=math.exp(float(found.x)), samples=len(true))


def fit_conformal(
    names: Iterable[str], error: Array, sigma: Array | None, periods: Iterable[float | None]
) -> Conformal | None:
    """Half widths that hold the errors (samples, targets) of as many samples as each level says.

    `error` is NaN where a sample has no such target; with `sigma` half widths are in sigmas.
    """
    scaled = np.abs(error) if sigma is None else np.abs(error) / sigma
    targets = []
    for k, (name, period) in enumerate(zip(names, periods, strict=True)):
        own = scaled[np.isfinite(scaled[:, k]), k]
        if len(own) < NEEDED:
            continue
        most = math.inf if period is None or sigma is not None else period / 2
        widths = tuple(min(float(quantile_of(own, level)), most) for level in LEVELS)
        targets.append(
            ConformalTarget(
                target=name,
                levels=LEVELS,
                half_widths=widths,
                in_sigmas=sigma is not None,
                samples=len(own),
            )
        )
    return Conformal(targets=tuple(targets), samples=len(error)) if targets else None


def fit_thresholds(score: Array) -> Thresholds | None:
    """Scores of ordinary samples that only a share of others like them exceeds."""
    if len(score) < NEEDED:
        return None
    found = {one: quantile_of(score, 1 - one) for one in SHARES}
    told = {share: threshold for share, threshold in found.items() if math.isfinite(threshold)}
    return Thresholds(shares=tuple(told), scores=tuple(told.values()), samples=len(score))


def quantile_of(values: Array, level: float) -> float:
    """What a new value stays below with probability `level`; infinite if there are too few to say.

    The ceil((n + 1) level)-th smallest of n values: no distribution is assumed.
    """
    # (n + 1) level may be a whole number but for the rounding of binary fractions
    rank = math.ceil(round((len(values) + 1) * level, 9))
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= len(values) else math.inf


def width_at(one: ConformalTarget, level: float) -> float:
    """The half width of a level."""
    return one.half_widths[one.levels.index(level)]
