"""Flags: each of them is raised by what it is for, and by nothing less."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.metrics import Interval, Score
from schemas.report import Baseline, Bound
from schemas.run import ClassifierHead
from schemas.store import ClassSpec
from train.evaluation.baselines import Beside
from train.evaluation.flags import flags, off_chance


def _measured(samples: int, labels: str = "true") -> Any:
    """As much of an evaluation as flags look at: two classes of the same size."""
    classes = tuple(ClassSpec(name=name, label=label) for label, name in enumerate(("smooth", "rough")))
    head = ClassifierHead(classes=classes, most_frequent=0)

    class Samples:
        label = np.arange(samples) % 2

        def __len__(self) -> int:
            return samples

    experiment = SimpleNamespace(data=SimpleNamespace(labels=labels))
    run = SimpleNamespace(record=SimpleNamespace(head=head, experiment=experiment))
    return SimpleNamespace(samples=Samples(), run=run)


def _area(value: float, half: float) -> Score:
    interval = Interval(value=value, low=value - half, high=value + half)
    return Score(name="auc_macro", value=interval, better="higher", chance=0.5)


def _baseline(kind: Any, score: Score, gain: Interval | None = None) -> Baseline:
    return Baseline(kind=kind, what=f"{kind} thing", scores=(score,), gain={score.name: gain} if gain else {})


BETTER = Interval(value=0.2, low=0.15, high=0.25)
GOOD = Beside(
    (
        _baseline("components", _area(0.6, 0.02), BETTER),
        _baseline("shuffled", _area(0.51, 0.02)),
        _baseline("constant", _area(0.5, 0), BETTER),
    )
)


def _bound(ideal: float, model: float, holds: bool = True) -> Bound:
    return Bound(
        name="rough",
        against="smooth",
        ideal=Interval(value=ideal, low=ideal - 0.01, high=ideal + 0.01),
        model=Interval(value=model, low=model - 0.01, high=model + 0.01),
        holds=holds,
    )


def test_nothing_is_flagged_of_a_good_model() -> None:
    assert flags(_measured(2000), (_area(0.8, 0.02),), GOOD, (_bound(0.9, 0.8),)) == ()
    # above, but within what chance does
    assert flags(_measured(2000), (_area(0.8, 0.02),), GOOD, (_bound(0.9, 0.915),)) == ()


def test_better_than_the_best_observer_is_a_leak() -> None:
    (flag,) = flags(_measured(2000), (_area(0.8, 0.02),), GOOD, (_bound(0.6, 0.8),))
    assert flag.severity == "leak"
    assert "rough against smooth, 0.8 [0.79, 0.81]" in flag.text
    assert "0.6 [0.59, 0.61]" in flag.text


def test_in_a_replica_it_is_a_warning() -> None:
    (flag,) = flags(_measured(2000), (_area(0.8, 0.02),), GOOD, (_bound(0.6, 0.8, holds=False),))
    assert flag.severity == "warning"
    assert "replica" in flag.text


def _with_shuffled(score: Score) -> Beside:
    return Beside((GOOD.found[0], _baseline("shuffled", score), GOOD.found[2]))


@pytest.mark.parametrize("value", [0.57, 0.43])
def test_shuffled_labels_that_say_something_are_a_leak(value: float) -> None:
    (flag,) = flags(_measured(2000), (_area(0.8, 0.02),), _with_shuffled(_area(value, 0.02)), ())
    assert flag.severity == "leak"
    assert "shuffled" in flag.text
    assert f"{value}" in flag.text


def test_one_time_in_twenty_is_no_alarm() -> None:
    assert not flags(_measured(2000), (_area(0.8, 0.02),), _with_shuffled(_area(0.53, 0.02)), ())


def test_few_samples_in_a_lucky_order_are_no_alarm() -> None:
    # resampling says that this is sure; eight samples say nothing
    assert off_chance(_measured(2000), _area(0.9, 0))
    assert not off_chance(_measured(8), _area(0.9, 0))


def test_shuffled_numbers_that_are_told_are_a_leak() -> None:
    def error(value: float) -> Score:
        interval = Interval(value=value, low=value - 0.02, high=value + 0.02)
        return Score(name="mae.x", unit="arcsec", value=interval, better="lower", chance=0.5)

    assert off_chance(_measured(2000), error(0.4))
    assert not off_chance(_measured(2000), error(0.475))
    assert not off_chance(_measured(2000), error(0.6))


def test_of_a_run_on_shuffled_labels_chance_is_expected() -> None:
    nothing = Interval(value=0.01, low=-0.01, high=0.03)
    found = tuple(one.model_copy(update={"gain": {"auc_macro": nothing}}) for one in GOOD.found)
    shuffled = _measured(2000, "shuffled")
    assert flags(shuffled, (_area(0.52, 0.02),), Beside(found), ()) == ()
    (flag,) = flags(shuffled, (_area(0.58, 0.02),), Beside(found), ())
    assert flag.severity == "leak"
    assert "With shuffled labels the model has AUC macro 0.58" in flag.text


@pytest.mark.parametrize("which", [0, 2])
def test_a_model_that_gains_nothing_is_warned_of(which: int) -> None:
    found = list(GOOD.found)
    gain = {"auc_macro": Interval(value=0.01, low=-0.01, high=0.03)}
    found[which] = found[which].model_copy(update={"gain": gain})
    (flag,) = flags(_measured(2000), (_area(0.8, 0.02),), Beside(tuple(found)), ())
    assert flag.severity == "warning"
    assert ("components thing", "", "a constant")[which] in flag.text
    assert "0.01 [-0.01, 0.03]" in flag.text


def test_worse_than_a_constant_is_told_before_what_else_is_better() -> None:
    gain = {"auc_macro": Interval(value=-0.03, low=-0.05, high=-0.01)}
    found = tuple(one.model_copy(update={"gain": gain}) for one in GOOD.found)
    flag, *others = flags(_measured(2000), (_area(0.47, 0.02),), Beside(found), ())
    assert "the model is worse than a constant" in flag.text
    assert all("worse than" in one.text for one in others)


def test_too_few_samples_are_warned_of() -> None:
    (flag,) = flags(_measured(60), (_area(0.8, 0.08),), GOOD, ())
    assert flag.severity == "warning"
    assert "60 samples leave AUC macro open between 0.72 and 0.88" in flag.text


def test_why_there_is_no_baseline_is_said() -> None:
    (flag,) = flags(_measured(2000), (_area(0.8, 0.02),), Beside(GOOD.found[2:], "no store at x"), ())
    assert flag.severity == "warning"
    assert "no store at x" in flag.text


def test_leaks_come_first() -> None:
    found = flags(_measured(60), (_area(0.8, 0.08),), _with_shuffled(_area(0.9, 0.02)), ())
    assert [one.severity for one in found] == ["leak", "warning"]


def test_a_class_that_is_hardly_learned_is_told() -> None:
    (flag,) = flags(_measured(2000), (_area(0.8, 0.02),), GOOD, (_bound(0.99, 0.52),))
    assert flag.severity == "warning"
    assert "rough is hardly told from smooth: the AUC is 0.52 [0.51, 0.53]" in flag.text
    # no better is possible, or a known lens says more than the bound
    for bound in (_bound(0.51, 0.5), _bound(0.99, 0.52, holds=False)):
        assert flags(_measured(2000), (_area(0.8, 0.02),), GOOD, (bound,)) == ()


def test_worse_than_components_is_told_beside_a_constant() -> None:
    worse, open_gain = (Interval(value=v, low=v - 0.05, high=v + 0.05) for v in (-0.15, 0.0))
    beside = Beside(
        (
            _baseline("components", _area(0.65, 0.02), worse),
            _baseline("constant", _area(0.5, 0), open_gain),
        )
    )
    found = [one.text for one in flags(_measured(2000), (_area(0.5, 0.02),), beside, ())]
    assert any("worse than components thing" in text for text in found)
    assert any("not shown to be better than a constant" in text for text in found)
