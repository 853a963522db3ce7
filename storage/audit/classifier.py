"""Logistic regression on a few hundred features, scored on samples that it was not fitted to."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import rankdata

from schemas.audit import Separation
from storage.audit.separation import area_under_curve, classifier_reach, separation

Array = NDArray[np.float64]
FOLDS = 5
SAMPLES_PER_FEATURE = 10
RIDGE = 1.0
ROUNDS = 25
CLOSE_ENOUGH = 1e-4


def normal_scores(values: Array) -> Array:
    """Ranks as quantiles of the normal distribution: any monotone spelling of a column gives the same.

    What is not finite has the lowest rank. Labels are not used, so no class is favoured.
    """
    ranks = rankdata(np.where(np.isfinite(values), values, -np.inf))
    scores = ndtri((ranks - 0.5) / len(ranks))
    spread = scores.std()
    return np.asarray((scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores))


def with_products(scores: Array) -> Array:
    """Features with their squares and products; without these where samples are too few for so many."""
    one, other = np.triu_indices(scores.shape[1])
    if scores.shape[1] + len(one) > most_features(len(scores)):
        return scores
    products = scores[:, one] * scores[:, other]
    return np.concatenate([scores, products - products.mean(axis=0)], axis=1)


def most_features(samples: int) -> int:
    """How many features so many samples can carry."""
    return samples // SAMPLES_PER_FEATURE


def without(target: Array, scores: Array) -> Array:
    """What features, their squares and products do not explain of a number, whatever the class."""
    design = np.column_stack([np.ones(len(scores)), with_products(scores)])
    finite = np.isfinite(target)
    wanted = np.where(finite, normal_scores(target), 0.0)
    normal = design.T @ design + 1e-6 * np.eye(design.shape[1])
    left = wanted - design @ np.linalg.solve(normal, design.T @ wanted)
    return np.where(finite, left, np.nan)


def cross_fitted(features: Array, second: NDArray[np.bool_], level: float, seed: int = 0) -> Separation:
    """Logistic regression fitted to four fifths of the samples and scored on the last, five times."""
    fold = _folds(second, seed)
    areas, variances, by_chance = [], [], []
    for left_out in range(FOLDS):
        seen, unseen = fold != left_out, fold == left_out
        score = features[unseen] @ logistic(features[seen], second[seen])
        area, spread, chance = area_under_curve(score[~second[unseen]], score[second[unseen]])
        areas.append(area)
        variances.append(spread**2)
        by_chance.append(chance**2)
    bound = classifier_reach(level) * np.sqrt(sum(by_chance)) / FOLDS
    return separation(
        "classifier", float(np.mean(areas)), float(np.sqrt(sum(variances))) / FOLDS, float(bound)
    )


def _folds(second: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """A fold for each sample, both classes in equal parts."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(second), dtype=np.int64)
    for members in (np.flatnonzero(~second), np.flatnonzero(second)):
        fold[rng.permutation(members)] = np.arange(len(members)) % FOLDS
    return fold


def logistic(features: Array, second: NDArray[np.bool_]) -> Array:
    """Weights of a logistic regression with intercept and a weak ridge, by Newton steps; no intercept."""
    design = np.column_stack([np.ones(len(features)), features])
    ridge = np.full(design.shape[1], RIDGE)
    ridge[0] = 1e-6
    weights = np.zeros(design.shape[1])
    loss = _loss(design, second, ridge, weights)
    for _ in range(ROUNDS):
        chance = expit(design @ weights)
        gradient = design.T @ (chance - second) + ridge * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while length > CLOSE_ENOUGH and _loss(design, second, ridge, weights - length * step) > loss:
            length /= 2
        weights = weights - length * step
        loss = _loss(design, second, ridge, weights)
        if np.abs(length * step).max() < CLOSE_ENOUGH:
            break
    return np.asarray(weights[1:])


def _loss(design: Array, second: NDArray[np.bool_], ridge: Array, weights: Array) -> float:
    signed = np.where(second, -1.0, 1.0) * (design @ weights)
    return float(np.logaddexp(0.0, signed).sum() + 0.5 * (ridge * weights**2).sum())
