"""Estimators without a network: they find what is there, and their outputs are a network's."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.objective import Target
from schemas.run import FittedTarget
from train.evaluation.estimators import Ordinary
from train.evaluation.linear import Classes, Numbers
from train.objectives.likelihood import LARGEST_LOG_VARIANCE
from train.scores import auc

Array = NDArray[np.float64]


def _drawn(samples: int = 400, count: int = 6) -> tuple[np.random.Generator, Array]:
    rng = np.random.default_rng(5)
    # of very different sizes, as components are
    return rng, rng.standard_normal((samples, count)) * 10.0 ** np.arange(count) + 7


def _target(period: float | None = None, **changes: float) -> FittedTarget:
    numbers = {"mean": 0.0, "spread": 1.0} | changes
    return FittedTarget(target=Target(column="x"), unit="1", period=period, **numbers)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_found_where_features_tell_them(classes: int) -> None:
    rng, features = _drawn()
    position = rng.integers(classes, size=len(features)).astype(float)
    features[:, 2] += 300 * position
    estimator = Classes(classes)
    fitted = estimator.fit(features[::2], position[::2], 0)
    unseen, true = estimator.outputs(fitted, features[1::2]), position[1::2]
    assert unseen.shape == (200, classes)
    assert (unseen.argmax(axis=1) == true).mean() > 0.8
    again = estimator.fit(features[::2], position[::2], 0)
    assert all((fitted[name] == again[name]).all() for name in fitted)


def test_a_class_without_training_samples_is_never_said_and_one_alone_always() -> None:
    rng, features = _drawn()
    position = 2.0 * rng.integers(2, size=len(features))
    said = Classes(3).outputs(Classes(3).fit(features, position, 0), features)
    assert set(said.argmax(axis=1)) <= {0, 2}
    said = Classes(3).outputs(Classes(3).fit(features, np.ones(len(features)), 0), features)
    assert set(said.argmax(axis=1)) == {1}


def test_numbers_are_found_and_those_that_are_missing_are_left_out() -> None:
    rng, features = _drawn()
    numbers = np.stack([features[:, 1] / 10, features[:, 0] + 0.5 * rng.standard_normal(400)], axis=1)
    numbers[::3, 1] = np.nan
    estimator = Numbers((_target(), _target()), probabilistic=True)
    fitted = estimator.fit(features[:300], numbers[:300], 0)
    output = estimator.outputs(fitted, features[300:])
    assert output.shape == (100, 4)
    off = output[:, :2] - numbers[300:]
    assert np.abs(off[:, 0]).max() < 0.05
    assert np.nanstd(off[:, 1]) == pytest.approx(0.5, rel=0.2)
    # the spread that it says is the one that it has
    log_variance = LARGEST_LOG_VARIANCE * np.tanh(output[0, 3] / LARGEST_LOG_VARIANCE)
    assert math.exp(log_variance / 2) == pytest.approx(0.5, rel=0.2)
    assert (estimator.outputs(fitted, features)[:, 2:] == output[0, 2:]).all()


def test_a_target_without_a_sample_is_its_mean() -> None:
    _, features = _drawn()
    estimator = Numbers((_target(),), probabilistic=False)
    output = estimator.outputs(estimator.fit(features, np.full((400, 1), np.nan), 0), features)
    assert (output == 0).all()


def test_a_direction_is_found_across_its_seam() -> None:
    rng, features = _drawn()
    angle = rng.uniform(0, math.pi, 400)
    features[:, :2] = np.stack([np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    one = _target(period=math.pi, mean=1.5, spread=0.9)
    estimator = Numbers((one,), probabilistic=False)
    fitted = estimator.fit(features, ((angle - 1.5) / 0.9)[:, None], 0)
    found = estimator.outputs(fitted, features)[:, 0] * 0.9 + 1.5
    assert ((found >= 0) & (found <= math.pi)).all()
    off = np.mod(found - angle + math.pi / 2, math.pi) - math.pi / 2
    assert np.abs(off).max() < 0.05
    assert fitted["log_variance"] < -6


def test_what_is_ordinary_has_a_distance_of_one() -> None:
    rng = np.random.default_rng(3)
    scores = rng.standard_normal((500, 5)) * np.array([9.0, 7, 5, 3, 2])
    rest = rng.chisquare(95, 500)
    features = np.column_stack([scores, np.log(rest)])
    estimator = Ordinary(100)
    fitted = estimator.fit(features[:250], np.zeros(250), 0)
    plain = estimator.outputs(fitted, features[250:])[:, 1]
    assert np.median(plain) == pytest.approx(1, abs=0.05)
    # a little of everything too much is seen, in the components as well as in the rest
    for odd in (
        features[250:] * np.array([1, 1, 1, 1, 4, 1]),
        features[250:] + np.log(1.5) * (np.arange(6) > 4),
    ):
        score = estimator.outputs(fitted, odd)[:, 1]
        both = np.concatenate([plain, score])
        assert auc(both, np.arange(500) >= 250) > 0.65
