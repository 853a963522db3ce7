"""Paired resampling: against brute force, and against its promise of few false alarms."""

import numpy as np
import pytest

from train.paired import (
    area,
    draw,
    holm,
    interval,
    mean_of,
    mean_where_known,
    p_value,
    resampled,
)
from train.scores import auc

LABEL = np.repeat(np.arange(3), [20, 30, 50]).astype(np.int32)


def test_resamples_keep_the_size_of_each_stratum() -> None:
    counts = np.concatenate(list(resampled(LABEL, 40)), axis=1)
    assert counts.shape == (100, 40)
    for one, size in enumerate((20, 30, 50)):
        assert (counts[one == LABEL].sum(axis=0) == size).all()
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1, abs=0.1)
    again = np.concatenate(list(resampled(LABEL, 40)), axis=1)
    assert (counts == again).all()


@pytest.mark.parametrize("levels", [None, 6], ids=["no ties", "ties"])
def test_an_area_of_counts_is_that_of_the_rows_they_stand_for(levels: int | None) -> None:
    score = np.random.default_rng(1).random(100)
    score = score if levels is None else np.floor(score * levels)
    statistic = area(score, LABEL == 1)
    (counts,) = resampled(LABEL, 20)
    for one, found in zip(counts.T, statistic(counts), strict=True):
        rows = np.repeat(np.arange(100), one.astype(int))
        assert found == pytest.approx(auc(score[rows], LABEL[rows] == 1), abs=1e-12)


def test_means_leave_out_what_is_not_known() -> None:
    value = np.where(LABEL == 2, np.nan, np.arange(100.0))
    (counts,) = resampled(LABEL, 5)
    found = mean_where_known(value)(counts)
    for one, mean in zip(counts.T, found, strict=True):
        assert mean == pytest.approx((one[:50] * value[:50]).sum() / one[:50].sum())
    both = mean_of([mean_where_known(value), lambda counts: np.zeros(counts.shape[1])])
    assert both(counts) == pytest.approx(found / 2)


def test_more_rows_than_are_held_at_once_draw_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    value = np.arange(100.0)
    monkeypatch.setattr("train.paired.HELD", 700)
    drawn = draw({"mean": mean_where_known(value)}, LABEL, 50)["mean"]
    assert len(drawn) == 51
    assert drawn[0] == 49.5
    found = interval(drawn)
    assert found.low < found.value < found.high
    assert drawn[1:].std() == pytest.approx(np.sqrt(sum(k * k * k / 12 for k in (20, 30, 50))) / 100, rel=0.3)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_same_predictions_do_not_differ() -> None:
    assert p_value(np.zeros(100)) == 1


def test_false_alarms_are_as_rare_as_promised_and_differences_are_found() -> None:
    rng = np.random.default_rng(4)
    positive = np.arange(200) < 100
    stratum = positive.astype(np.int32)
    p: dict[float, list[float]] = {0.0: [], 1.2: []}
    for _ in range(150):
        shared = rng.normal(size=200) + positive
        for gain, found in p.items():
            scores = (shared + rng.normal(size=200), shared + rng.normal(size=200) + gain * positive)
            areas = {k: area(score, positive) for k, score in enumerate(scores)}
            drawn = draw(areas, stratum, 200)
            found.append(p_value(drawn[1] - drawn[0]))
    assert 0.01 <= np.mean(np.array(p[0.0]) < 0.05) <= 0.11
    assert np.mean(np.array(p[1.2]) < 0.05) > 0.9
