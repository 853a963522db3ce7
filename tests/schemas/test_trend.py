"""Scores over versions: a regression is a difference beyond chance and beyond the tolerance."""

import itertools
from typing import Any

import numpy as np
import pytest

from schemas.metrics import Interval, Score
from schemas.trend import STUDENT, Change, Point, changes, comparable, difference, predicted

ONE, OTHER = "a" * 64, "b" * 64


def _auc(value: float, half: float = 0.01) -> Score:
    interval = Interval(value=value, low=value - half, high=value + half)
    return Score(name="auc_macro", value=interval, better="higher", chance=0.5)


def _mae(value: float, half: float = 0.01) -> Score:
    interval = Interval(value=value, low=value - half, high=value + half)
    return Score(name="mae.theta_E", unit="arcsec", value=interval, better="lower", chance=1.0)


def _point(version: int, *scores: Score, **more: Any) -> Point:
    values = {"made": None, "lineage": ONE, "experiment_digest": ONE, "report": "r"}
    return Point.model_validate({"version": version, "scores": scores} | values | more)


def _verdicts(*scores: Score, tolerance: float = 0.05) -> list[str]:
    points = [_point(number, score) for number, score in enumerate(scores, start=1)]
    return [one.verdict for one in changes(points, tolerance)]


def test_the_first_has_nothing_beside_it() -> None:
    (found,) = changes([_point(4, _auc(0.9))], 0.05)
    assert (found.verdict, found.against, found.difference) == ("first", None, None)
    assert str(found) == "auc_macro is 0.9 on version 4"
    assert changes([], 0.05) == ()


def test_a_score_that_falls_is_a_regression() -> None:
    assert _verdicts(_auc(0.9), _auc(0.8)) == ["first", "worse"]
    assert _verdicts(_mae(0.3), _mae(0.5)) == ["first", "worse"]


def test_a_score_that_rises_is_none() -> None:
    assert _verdicts(_auc(0.8), _auc(0.9)) == ["first", "better"]
    assert _verdicts(_mae(0.5), _mae(0.3)) == ["first", "better"]


def test_chance_is_no_regression() -> None:
    assert _verdicts(_auc(0.9, half=0.1), _auc(0.8, half=0.1)) == ["first", "as before"]


def test_what_is_within_the_tolerance_is_no_regression() -> None:
    """Of the gain over knowing nothing, .4 here, of which the difference is .02 and certain."""
    small = (_auc(0.9, half=0.001), _auc(0.88, half=0.001))
    assert _verdicts(*small, tolerance=0.05) == ["first", "as before"]
    assert _verdicts(*small, tolerance=0.04) == ["first", "worse"]
    assert _verdicts(*small, tolerance=0.0) == ["first", "worse"]


def test_a_regression_is_told_until_it_is_over() -> None:
    found = changes([_point(n, _auc(v)) for n, v in enumerate((0.9, 0.8, 0.8, 0.9), start=1)], 0.05)
    assert [one.verdict for one in found] == ["first", "worse", "worse", "as before"]
    assert [one.against for one in found] == [None, 1, 1, 1]


def test_each_score_has_its_own_history() -> None:
    found = changes([_point(1, _auc(0.9), _mae(0.3)), _point(2, _auc(0.9), _mae(0.5))], 0.05)
    assert [(one.score.name, one.verdict) for one in found if one.version == 2] == [
        ("auc_macro", "as before"),
        ("mae.theta_E", "worse"),
    ]
    told = str(found[-1])
    assert told.startswith("mae.theta_E went from 0.3 on version 1 to 0.5 on version 2 arcsec")


def test_only_the_same_recipe_and_experiment_are_compared() -> None:
    points = [
        _point(1, _auc(0.9), lineage=OTHER),
        _point(2, _auc(0.9), experiment_digest=OTHER),
        _point(5, _auc(0.7)),
        _point(3, _auc(0.9)),
    ]
    assert [one.version for one in comparable(points, since=1)] == [3, 5]
    assert [one.version for one in comparable(points, since=4)] == [5]
    assert comparable([], since=1) == ()


def test_the_interval_of_a_difference_is_as_wide_as_that_of_normal_samples() -> None:
    apart = difference(Interval(value=0.0, low=-1.96, high=1.96), Interval(value=1.0, low=-1.96, high=3.96))
    assert apart.value == -1.0
    assert (apart.high - apart.low) / 2 == pytest.approx(np.hypot(1.96, 2.96), rel=1e-12)


def test_sides_of_skewed_intervals_go_where_they_belong() -> None:
    one, other = Interval(value=5.0, low=4.0, high=8.0), Interval(value=3.0, low=2.5, high=3.1)
    apart = difference(one, other)
    assert apart.low == pytest.approx(2 - np.hypot(1, 0.1))
    assert apart.high == pytest.approx(2 + np.hypot(3, 0.5))


def test_many_scores_are_looked_at_with_wider_intervals() -> None:
    one, other = Interval(value=0.0, low=-1.0, high=1.0), Interval(value=0.0, low=-1.0, high=1.0)
    widths = [difference(one, other, count).high for count in (1, 2, 8)]
    assert all(a < b for a, b in itertools.pairwise(widths))
    # half of 5% in each tail over eight scores is 2.73 standard deviations
    assert widths[-1] / widths[0] == pytest.approx(2.734 / 1.960, abs=0.002)


def test_nights_that_differ_by_chance_alone_raise_few_alarms() -> None:
    """A thousand versions of one score with the spread that its interval says, no tolerance."""
    rng = np.random.default_rng(3)
    values = rng.normal(0.9, 0.01, 1000)
    alarms = _verdicts(*(_auc(float(one), half=0.0196) for one in values), tolerance=0.0).count("worse")
    assert alarms < 80
    assert _verdicts(*(_auc(float(one), half=0.0196) for one in values), tolerance=0.05).count("worse") < 20


def test_what_comes_and_goes_with_each_training_is_no_regression() -> None:
    """Intervals of .002 each, but trainings that differ by .05."""
    steady, unsteady = (0.91, 0.90, 0.91, 0.80), (0.91, 0.9, 0.86, 0.92, 0.85)
    assert _verdicts(*(_auc(one, half=0.002) for one in steady))[-1] == "worse"
    assert "worse" not in _verdicts(*(_auc(one, half=0.002) for one in unsteady))[2:]


def test_the_prediction_is_that_of_student() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = [0.91, 0.9, 0.93, 0.92]
    low, high = predicted(values)
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) * np.sqrt(1.25)
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=1e-5)
    assert predicted([0.9]) == (0.9, 0.9)
    for freedom, quantile in enumerate(STUDENT, start=1):
        assert quantile == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_a_change_reads_as_a_sentence() -> None:
    (_, found) = changes([_point(3, _auc(0.9)), _point(4, _auc(0.8))], 0.05)
    assert isinstance(found, Change)
    assert str(found) == (
        "auc_macro went from 0.9 on version 3 to 0.8 on version 4 (-0.1, 95% -0.114 to -0.0859)"
    )
