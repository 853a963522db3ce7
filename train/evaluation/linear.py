"""Logistic and ridge regression on standardised features, with penalties that cross validation chooses."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.run import FittedTarget
from train.objectives.likelihood import LARGEST_LOG_VARIANCE
from train.objectives.target_errors import goes_round

Array = NDArray[np.float64]
Arrays = dict[str, Array]
FOLDS = 5
STEPS = 300
INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
PENALTIES = tuple(10.0**power for power in range(-2, 6))
# Of a class that no training sample is of.
NEVER = -50.0
SMALLEST_VARIANCE = 1e-8
# Fewer samples with a target than these are no ground for a line.
FEWEST = 4


@dataclass(frozen=True)
class Classes:
    """Logistic regression with as many outputs as classes."""

    classes: int
    what = "logistic regression"

    def fit(self, features: Array, truth: Array, seed: int) -> Arrays:
        position = truth.astype(np.int64)
        centre, scale = _standard(features)
        weights, intercept = np.zeros((features.shape[1], self.classes)), np.full(self.classes, NEVER)
        found = np.unique(position)
        weights[:, found], intercept[found] = 0.0, 0.0
        if len(found) > 1:
            coefficients, constants = _logistic((features - centre) / scale, position, seed)
            weights[:, found], intercept[found] = coefficients.T, constants
        return _folded(weights, intercept, centre, scale)

    def outputs(self, fitted: Arrays, features: Array) -> Array:
        return features @ fitted["weights"] + fitted["intercept"]


@dataclass(frozen=True)
class Numbers:
    """Ridge regression of each target, on the samples that have it; of a direction, cosine and sine."""

    targets: tuple[FittedTarget, ...]
    probabilistic: bool
    what = "ridge regression"

    def fit(self, features: Array, truth: Array, seed: int) -> Arrays:
        del seed
        centre, scale = _standard(features)
        columns = [part for k, one in enumerate(self.targets) for part in _parts(one, truth[:, k])]
        learned = [_ridge((features - centre) / scale, column) for column in columns]
        weights, intercept = np.stack([one for one, _ in learned], axis=1), np.array([c for _, c in learned])
        fitted = _folded(weights, intercept, centre, scale)
        means = self._means(fitted, features)
        off = np.stack([_off(one, means[:, k], truth[:, k]) for k, one in enumerate(self.targets)], axis=1)
        there = np.isfinite(off)
        variance = (np.where(there, off, 0.0) ** 2).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        return fitted | {"log_variance": np.log(np.maximum(variance, SMALLEST_VARIANCE))}

    def outputs(self, fitted: Arrays, features: Array) -> Array:
        means = self._means(fitted, features)
        if not self.probabilistic:
            return means
        # the network's free outputs are bent into their bounds, so these are bent back
        bent = np.clip(fitted["log_variance"] / LARGEST_LOG_VARIANCE, -0.999, 0.999)
        return np.concatenate(
            [means, np.broadcast_to(LARGEST_LOG_VARIANCE * np.arctanh(bent), means.shape)], axis=1
        )

    def _means(self, fitted: Arrays, features: Array) -> Array:
        """Standardised targets, as the network gives them."""
        raw = iter((features @ fitted["weights"] + fitted["intercept"]).T)
        return np.stack(
            [_direction(one, next(raw), next(raw)) if goes_round(one) else next(raw) for one in self.targets],
            axis=1,
        )


def _parts(one: FittedTarget, standardised: Array) -> list[Array]:
    """What is fitted: the number itself, or the point of a circle that its direction is."""
    if one.period is None or not goes_round(one):
        return [standardised]
    angle = (standardised * one.spread + one.mean) * 2 * math.pi / one.period
    return [np.cos(angle), np.sin(angle)]


def _direction(one: FittedTarget, cosine: Array, sine: Array) -> Array:
    assert one.period is not None
    angle = np.mod(np.arctan2(sine, cosine), 2 * math.pi)
    return (angle * one.period / (2 * math.pi) - one.mean) / one.spread


def _off(one: FittedTarget, given: Array, true: Array) -> Array:
    if one.period is None or not goes_round(one):
        return given - true
    period = one.period / one.spread
    return np.mod(given - true + period / 2, period) - period / 2


def _logistic(features: Array, position: NDArray[np.int64], seed: int) -> tuple[Array, Array]:
    """Weights (classes found, features) and intercepts."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    model = LogisticRegression(C=INVERSE_PENALTIES[2], max_iter=STEPS)
    if np.unique(position, return_counts=True)[1].min() >= FOLDS:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        model = GridSearchCV(model, {"C": INVERSE_PENALTIES}, scoring="neg_log_loss", cv=folds)
    with warnings.catch_warnings():
        # a baseline that stops a little short of its optimum is one as well
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, position)
    best = getattr(model, "best_estimator_", model)
    if len(best.classes_) > 2:
        return best.coef_, best.intercept_
    # of two classes only the difference is given
    halves = np.array([-0.5, 0.5])
    return halves[:, None] * best.coef_, halves * best.intercept_


def _ridge(features: Array, column: Array) -> tuple[Array, float]:
    """Weights and intercept; of too few samples, their mean."""
    from sklearn.linear_model import RidgeCV

    there = np.isfinite(column)
    if there.sum() < FEWEST:
        return np.zeros(features.shape[1]), float(column[there].mean()) if there.any() else 0.0
    model = RidgeCV(PENALTIES).fit(features[there], column[there])
    return model.coef_, float(model.intercept_)


def _standard(features: Array) -> tuple[Array, Array]:
    """Mean and spread of each feature; a feature that never changes counts for nothing."""
    spread = features.std(axis=0)
    return features.mean(axis=0), np.where(spread > 0, spread, np.inf)


def _folded(weights: Array, intercept: Array, centre: Array, scale: Array) -> Arrays:
    """For features as they are."""
    weights = weights / scale[:, None]
    return {"weights": weights, "intercept": intercept - centre @ weights}
