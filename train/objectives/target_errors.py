"""How far predicted numbers are from true ones, and what that comes to."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from schemas.metrics import TargetMetrics
from schemas.objective import Target
from schemas.run import FittedTarget
from train.scores import intervals, mean_of

Array = NDArray[np.float64]


def transformed(target: Target, value: Array) -> Array:
    """A physical value as it is learned."""
    return np.log10(value) if target.transform == "log10" else value


def physical(target: Target, learned: Array) -> Array:
    """A learned value in its physical unit."""
    return np.asarray(10.0**learned) if target.transform == "log10" else learned


def goes_round(one: FittedTarget) -> bool:
    """Whether what is learned is a direction, which differences are taken of the shorter way."""
    return one.period is not None and one.target.transform != "log10"


def difference(one: FittedTarget, value: Array, true: Array) -> Array:
    """How far apart two values are; directions along the shorter way round."""
    if not goes_round(one):
        return value - true
    assert one.period is not None
    return np.mod(value - true + one.period / 2, one.period) - one.period / 2


def deviations(one: FittedTarget, true: Array) -> Array:
    """True values from their mean, which for directions is that on the circle."""
    if not goes_round(one):
        return true - true.mean()
    assert one.period is not None
    turn = np.exp(2j * np.pi * true / one.period).mean()
    return difference(one, true, np.full_like(true, np.angle(turn) * one.period / (2 * np.pi)))


def measure_target(one: FittedTarget, true: Array, predicted: Array, sigma: Array | None) -> TargetMetrics:
    """The errors of one target over the samples that have it."""
    off = difference(one, predicted, true)
    error = np.abs(off)
    constant = np.abs(difference(one, np.full_like(true, one.mean), true))
    deviation = deviations(one, true)

    def statistics(weights: Array) -> Mapping[str, Array]:
        squared = mean_of(weights, off**2)
        variance = mean_of(weights, deviation**2) - mean_of(weights, deviation) ** 2
        varies = variance > 1e-12 * squared
        return {
            "mae": mean_of(weights, error),
            "rmse": np.sqrt(squared),
            "r2": np.where(varies, 1 - squared / np.where(varies, variance, 1), 0.0),
            "bias": mean_of(weights, off),
            "constant_mae": mean_of(weights, constant),
            "mae_gain": mean_of(weights, constant - error),
        }

    percentages = _percentages(one, true, off)
    return TargetMetrics(
        target=one.target.name,
        unit=one.unit,
        percentage_error=float(np.median(percentages)) if len(percentages) else None,
        mean_percentage_error=float(np.mean(percentages)) if len(percentages) else None,
        samples=len(true),
        sigma=None if sigma is None else float(np.median(sigma)),
        within_sigma=None if sigma is None else float((error < sigma).mean()),
        **intervals(statistics, np.zeros(len(true), dtype=np.int64)),
    )


def _percentages(one: FittedTarget, true: Array, off: Array) -> Array:
    """Errors of the physical value in percent of it.

    A direction has no such thing, nor a magnitude, whose zero is a convention, nor what may be zero or less.
    """
    value = physical(one.target, true)
    if one.period is not None or one.unit == "mag" or not (value > 0).all():
        return np.empty(0)
    relative = np.abs(physical(one.target, true + off) - value) / np.maximum(np.abs(value), 1e-300)
    return 100 * relative[np.isfinite(relative)]
