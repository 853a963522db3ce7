"""Points of curves: few, and none that is missed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.calibration import Reliability
from schemas.metrics import Interval
from schemas.objective import PlainAutoencoder
from schemas.run import AnomalyHead, ClassifierHead
from schemas.store import ClassSpec
from train.evaluation.curves import POINTS, cases_of_anomalies, cases_of_classes, thinned
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.report.figures import COLOURS, draw_reliability, draw_roc
from train.scores import auc, precision_recall, roc

CLASSES = tuple(ClassSpec(name=name, label=k) for k, name in enumerate(("no_sub", "cdm", "vortex")))


def _drawn(samples: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    positive = rng.random(samples) < 0.3
    return rng.normal(size=samples) + positive, positive


@pytest.mark.parametrize("curve", [roc, precision_recall])
def test_a_thinned_curve_is_the_same_to_the_eye(curve: object) -> None:
    x, y = (roc if curve is roc else precision_recall)(*_drawn())
    kept = thinned(x, y)
    assert len(kept) <= POINTS + 2
    assert (kept[0], kept[-1]) == (0, len(x) - 1)
    way = np.abs(np.diff(x)).sum() + np.abs(np.diff(y)).sum()
    nearest = np.abs(x[:, None] - x[kept]) + np.abs(y[:, None] - y[kept])
    assert nearest.min(axis=1).max() <= 1.01 * way / (POINTS - 1)
    assert np.trapezoid(y[kept], x[kept]) == pytest.approx(np.trapezoid(y, x), abs=1e-3)


def test_few_points_are_all_kept() -> None:
    assert thinned(np.arange(5.0), np.arange(5.0)).tolist() == [0, 1, 2, 3, 4]


def test_cases_are_each_class_against_the_rest_and_all_together() -> None:
    objective = ClassificationObjective(ClassifierHead(classes=CLASSES, most_frequent=0))
    label = np.array([0, 1, 2, 1], dtype=np.int32)
    output = np.random.default_rng(1).normal(size=(4, 3))
    *each, together = cases_of_classes(objective, label, output)
    probability = objective.probabilities(output)
    for k, one in enumerate(each):
        assert (one.name, one.place) == (CLASSES[k].name, k)
        assert np.array_equal(one.score, probability[:, k])
        assert np.array_equal(one.positive, label == k)
    assert (together.name, len(together.score), int(together.positive.sum())) == (None, 12, 4)


def test_anomalies_are_drawn_in_the_colours_of_their_classes() -> None:
    head = AnomalyHead(classes=CLASSES, trained_on=(0,), method=PlainAutoencoder(), latent=2)
    label = np.array([0, 0, 1, 1, 2, 2], dtype=np.int32)
    cases = cases_of_anomalies(AnomalyObjective(head), label, np.array([1.0, 2, 1.5, 3, 4, 5]))
    assert [(one.name, len(one.score)) for one in cases] == [("cdm", 4), ("vortex", 4), (None, 6)]
    assert auc(cases[0].score, cases[0].positive) == 0.75
    area = Interval(value=0.75, low=0.5, high=0.9)
    lines = draw_roc(cases, [area] * 3, "ROC").axes[0].lines
    assert [one.get_color() for one in lines[:2]] == list(COLOURS[1:3])
    assert lines[0].get_label() == "cdm: 0.750 [0.500, 0.900]"


def test_nothing_is_drawn_of_no_reliability() -> None:
    assert draw_reliability(Reliability()) == {}
