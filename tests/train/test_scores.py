"""Areas under ROC curves against brute force and torchmetrics; bootstrap intervals against their promise."""

import math
import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc

from train import scores
from train.scores import auc, bootstrap, roc

Array = NDArray[np.float64]


def _brute_force(score: Array, positive: NDArray[np.bool_]) -> float:
    above, below = score[positive][:, None], score[~positive][None, :]
    return float(((above > below) + 0.5 * (above == below)).mean())


def _drawn(seed: int, levels: int | None) -> tuple[Array, NDArray[np.bool_]]:
    """Scores that know a little, rounded to a few levels for ties."""
    rng = np.random.default_rng(seed)
    positive = rng.random(120) < 0.3
    score = rng.random(120) + 0.3 * positive
    if levels is not None:
        score = np.floor(score * levels) / levels
    return score, positive


@pytest.mark.parametrize("levels", [None, 8, 2], ids=["no ties", "ties", "almost only ties"])
@pytest.mark.parametrize("seed", range(5))
def test_auc_is_that_of_brute_force_torchmetrics_and_the_curve(seed: int, levels: int | None) -> None:
    score, positive = _drawn(seed, levels)
    expected = _brute_force(score, positive)
    assert auc(score, positive) == pytest.approx(expected, abs=1e-12)
    theirs = binary_auroc(torch.from_numpy(score), torch.from_numpy(positive.astype(int)))
    assert float(theirs) == pytest.approx(expected, abs=1e-6)
    assert np.trapezoid(*reversed(roc(score, positive))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("score", "area"), [([0, 0, 1, 1], 1.0), ([1, 1, 0, 0], 0.0), ([1, 1, 1, 1], 0.5), ([0, 1, 0, 1], 0.5)]
)
def test_auc_of_the_limits(score: list[float], area: float) -> None:
    positive = np.array([False, False, True, True])
    assert auc(np.array(score, float), positive) == area


@pytest.mark.parametrize("positive", [True, False])
def test_auc_of_one_class_alone_is_not_a_number(positive: bool) -> None:
    assert math.isnan(auc(np.arange(4.0), np.full(4, positive)))


def test_a_curve_runs_from_corner_to_corner_and_never_back() -> None:
    false, true = roc(*_drawn(3, 8))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()


def test_an_interval_holds_its_value_and_is_the_same_again() -> None:
    values = np.random.default_rng(1).normal(size=200)
    first = bootstrap(lambda rows: float(values[rows].mean()), len(values))
    assert first.value == pytest.approx(values.mean())
    assert first.low < first.value < first.high
    assert first == bootstrap(lambda rows: float(values[rows].mean()), len(values))
    assert first != bootstrap(lambda rows: float(values[rows].mean()), len(values), seed=1)


def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "RESAMPLES", 200)
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(300):
        values = rng.normal(loc=2.0, size=100)
        found = bootstrap(lambda rows, values=values: float(values[rows].mean()), 100)
        inside += found.low <= 2.0 <= found.high
    # binomial spread of 300 at .95 is .013; the percentile method is a little short
    assert 0.90 <= inside / 300 <= 0.985


def test_resamples_without_a_value_are_left_out() -> None:
    positive = np.array([True, *[False] * 7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = bootstrap(lambda rows: auc(np.arange(8.0)[rows], positive[rows]), 8)
    assert found.value == 0.0
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
