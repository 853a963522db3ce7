"""Paired resampling: against brute force, and against its promise of few false alarms."""

import numpy as np
import pytest
from numpy.typing import NDArray

from train.comparing.paired import draw, holm, interval, p_value
from train.scores import RESAMPLES, Array, Ranking, Statistics, mean_of

LABEL = np.repeat(np.arange(3), [20, 30, 50])


def test_models_see_the_same_resamples() -> None:
    value = np.arange(100.0)
    models = {
        "one": lambda weights: {"mean": mean_of(weights, value)},
        "other": lambda weights: {"mean": mean_of(weights, value + 1)},
    }
    drawn = draw(models, LABEL)
    assert np.allclose(drawn["other"]["mean"] - drawn["one"]["mean"], 1, rtol=1e-12)
    assert drawn["one"]["mean"][0] == 49.5
    assert len(drawn["one"]["mean"]) == RESAMPLES + 1
    found = interval(drawn["one"]["mean"])
    assert found.low < found.value == 49.5 < found.high
    expected = np.sqrt(sum(k * k * k / 12 for k in (20, 30, 50))) / 100
    assert drawn["one"]["mean"][1:].std() == pytest.approx(expected, rel=0.15)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_same_predictions_do_not_differ() -> None:
    assert p_value(np.zeros(100)) == 1


def _area(score: Array, positive: NDArray[np.bool_]) -> Statistics:
    ranking = Ranking(score, positive)
    return lambda weights: {"area": ranking.drawn(weights).area}


def test_false_alarms_are_as_rare_as_promised_and_differences_are_found() -> None:
    rng = np.random.default_rng(4)
    positive = np.arange(200) < 100
    p: dict[float, list[float]] = {0.0: [], 1.2: []}
    for _ in range(100):
        shared = rng.normal(size=200) + positive
        for gain, found in p.items():
            scores = (shared + rng.normal(size=200), shared + rng.normal(size=200) + gain * positive)
            models = {str(k): _area(score, positive) for k, score in enumerate(scores)}
            drawn = draw(models, positive.astype(np.int64))
            found.append(p_value(drawn["1"]["area"] - drawn["0"]["area"]))
    assert np.mean(np.array(p[0.0]) < 0.05) <= 0.12
    assert np.mean(np.array(p[1.2]) < 0.05) > 0.9
