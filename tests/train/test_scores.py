"""Areas under ROC curves against brute force and torchmetrics; bootstrap intervals against their promise."""

import math
import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from train import scores
from train.scores import Ranking, auc, bootstrap, intervals, mean_of, precision_recall, resamples, roc, share

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


# -- many resamples at once


@pytest.mark.parametrize("levels", [None, 8, 2], ids=["no ties", "ties", "almost only ties"])
@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_others(seed: int, levels: int | None) -> None:
    score, positive = _drawn(seed, levels)
    found = float(Ranking(score, positive).drawn(np.ones((1, 120))).precision[0])
    assert found == pytest.approx(average_precision_score(positive, score), abs=1e-12)
    theirs = binary_average_precision(torch.from_numpy(score), torch.from_numpy(positive.astype(int)))
    assert found == pytest.approx(float(theirs), abs=1e-6)
    recall, precision = precision_recall(score, positive)
    assert found == pytest.approx((np.diff(recall, prepend=0.0) * precision).sum())


@pytest.mark.parametrize("levels", [None, 8], ids=["no ties", "ties"])
def test_weights_are_samples_that_are_drawn_so_often(levels: int | None) -> None:
    score, positive = _drawn(4, levels)
    weights = np.random.default_rng(9).integers(4, size=(5, 120)).astype(float)
    drawn = Ranking(score, positive).drawn(weights)
    for k, one in enumerate(weights):
        rows = np.repeat(np.arange(120), one.astype(int))
        assert drawn.area[k] == pytest.approx(auc(score[rows], positive[rows]), abs=1e-12)
        theirs = average_precision_score(positive[rows], score[rows])
        assert drawn.precision[k] == pytest.approx(theirs, abs=1e-12)
        for rate in (0.0, 0.05, 0.5):
            false, true = roc(score[rows], positive[rows])
            assert drawn.found(rate)[k] == pytest.approx(true[false <= rate + 1e-12].max())


def test_cases_of_one_sample_are_drawn_together() -> None:
    score, positive = np.array([0.9, 0.2, 0.4, 0.8]), np.array([True, False, True, False])
    weights = np.array([[2.0, 1.0], [0.0, 3.0]])
    drawn = Ranking(score, positive, np.array([0, 0, 1, 1])).drawn(weights)
    for k, rows in enumerate(([0, 0, 1, 1, 2, 3], [2, 3] * 3)):
        assert drawn.area[k] == pytest.approx(auc(score[rows], positive[rows]))


def test_a_resample_has_as_many_samples_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "BLOCK", 100)
    label = np.array([7] * 20 + [3] + [5] * 12)
    blocks = list(resamples(label))
    assert len(blocks) > 100
    drawn = np.concatenate(blocks)
    assert drawn.shape == (scores.RESAMPLES, 33)
    for one in (7, 3, 5):
        assert (drawn[:, label == one].sum(axis=1) == (label == one).sum()).all()
    # each sample is left out of about 1 / e of the resamples
    assert (drawn[:, label == 7] == 0).mean() == pytest.approx(0.358, abs=0.02)


def test_blocks_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    label = np.arange(50) % 3
    whole = np.concatenate(list(resamples(label)))
    monkeypatch.setattr(scores, "BLOCK", 1)
    assert np.array_equal(np.concatenate(list(resamples(label))), whole)


def test_a_class_of_one_sample_has_an_interval_all_the_same() -> None:
    score, positive = np.arange(8.0), np.array([False] * 5 + [True] + [False] * 2)
    ranking = Ranking(score, positive)
    found = intervals(lambda weights: {"auc": ranking.drawn(weights).area}, positive)["auc"]
    assert found.value == auc(score, positive) == 5 / 7
    assert 0 < found.low < found.value < found.high <= 1


def test_statistics_of_one_call_are_paired() -> None:
    values = np.random.default_rng(1).normal(size=200)

    def statistics(weights: Array) -> dict[str, Array]:
        one, other = mean_of(weights, values), mean_of(weights, values + 0.01)
        return {"one": one, "gain": other - one}

    found = intervals(statistics, np.zeros(200))
    assert found["one"].high - found["one"].low > 0.1
    assert (found["gain"].low, found["gain"].high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert float(found["one"]) == pytest.approx(values.mean())


def test_intervals_are_those_of_the_slow_way() -> None:
    score, positive = _drawn(2, None)
    ranking = Ranking(score, positive)
    found = intervals(lambda weights: {"auc": ranking.drawn(weights).area}, positive)["auc"]
    rng, slow = np.random.default_rng(5), []
    groups = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    for _ in range(1000):
        rows = np.concatenate([rng.choice(one, len(one)) for one in groups])
        slow.append(auc(score[rows], positive[rows]))
    # 1,000 and 400 resamples agree to about .005 in the tails
    assert [found.low, found.high] == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.02)


def test_shares_of_none_and_all_have_intervals() -> None:
    assert (share(0, 10).low, share(10, 10).high) == (0, 1)
    assert share(0, 10).high == pytest.approx(0.278, abs=1e-3)
    assert share(5, 10).value == 0.5
