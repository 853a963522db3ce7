"""One uniform number in, one value of a prior out.

Every parameter costs exactly one uniform, whatever its prior: no rejection, so a whole batch is transformed
at once and a sample's later draws do not move when an earlier prior changes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, pdtr, pdtrik

from schemas.priors import AnyPrior, Choice, Fixed, LogUniform, Normal, PowerLaw, Uniform
from schemas.registry import Registry

Array = NDArray[np.float64]
# Generator.random() can return 0, whose normal quantile is minus infinity
SMALLEST = 2.0**-54

# each entry takes its own kind of prior, which a registry of one type cannot say
QUANTILES: Registry[Callable[[Any, Array], Array]] = Registry("prior")


def quantile(prior: AnyPrior, uniform: Array) -> Array:
    """The values of a prior at uniform numbers in [0, 1)."""
    return QUANTILES[prior.kind](prior, np.maximum(uniform, SMALLEST))


def poisson_quantile(mean: Array, uniform: Array) -> NDArray[np.int64]:
    """The smallest number whose cumulative Poisson probability reaches `uniform`."""
    uniform = np.maximum(uniform, SMALLEST)
    # no division by zero inside; where the mean is zero, so is the number
    positive = np.maximum(mean, np.finfo(float).tiny)
    above = np.ceil(pdtrik(uniform, positive))
    below = np.maximum(above - 1, 0)
    number = np.where(pdtr(below, positive) >= uniform, below, above)
    return np.where(mean > 0, number, 0).astype(np.int64)


def power_law_mean(prior: PowerLaw) -> float:
    """The mean of a power law."""
    span = float(np.log(prior.high / prior.low))
    moments = [np.expm1(k * span) / k if k else span for k in (prior.slope + 1, prior.slope + 2)]
    return float(prior.low * moments[1] / moments[0])


@QUANTILES.register("fixed")
def _fixed(prior: Fixed, uniform: Array) -> Array:
    return np.full(uniform.shape, prior.value)


@QUANTILES.register("uniform")
def _uniform(prior: Uniform, uniform: Array) -> Array:
    return prior.low + (prior.high - prior.low) * uniform


@QUANTILES.register("log_uniform")
def _log_uniform(prior: LogUniform, uniform: Array) -> Array:
    low, high = np.log(prior.low), np.log(prior.high)
    return np.asarray(np.clip(np.exp(low + (high - low) * uniform), prior.low, prior.high))


@QUANTILES.register("power_law")
def _power_law(prior: PowerLaw, uniform: Array) -> Array:
    """x^k is uniform from low^k to high^k with k = slope + 1, written so that no k overflows."""
    k = prior.slope + 1.0
    if k == 0.0:
        return _log_uniform(LogUniform(low=prior.low, high=prior.high), uniform)
    span = k * np.log(prior.high / prior.low)
    if k > 0:
        values = prior.high * np.exp(np.log1p((1.0 - uniform) * np.expm1(-span)) / k)
    else:
        values = prior.low * np.exp(np.log1p(uniform * np.expm1(span)) / k)
    return np.asarray(np.clip(values, prior.low, prior.high))


@QUANTILES.register("normal")
def _normal(prior: Normal, uniform: Array) -> Array:
    low, high = ((end - prior.mean) / prior.sigma for end in prior.support)
    # the lower tail is resolved far better than the upper one: draw there and mirror
    mirrored = low > 0
    if mirrored:
        low, high, uniform = -high, -low, 1.0 - uniform
    deviate = ndtri(ndtr(low) + (ndtr(high) - ndtr(low)) * uniform)
    values = prior.mean + prior.sigma * (-deviate if mirrored else deviate)
    return np.asarray(np.clip(values, *prior.support))


@QUANTILES.register("choice")
def _choice(prior: Choice, uniform: Array) -> Array:
    weights = np.ones(len(prior.values)) if prior.weights is None else np.array(prior.weights)
    edges = np.cumsum(weights) / weights.sum()
    position = np.minimum(np.searchsorted(edges, uniform, side="right"), len(prior.values) - 1)
    return np.array(prior.values)[position]
