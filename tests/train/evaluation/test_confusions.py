"""What is taken for what, and in what the mistaken ones differ."""

import numpy as np
import pytest

from schemas.objective import Target
from schemas.run import ClassifierHead, FittedTarget, RegressorHead
from storage.reader import Store
from tests.train.evaluation.planted import CLASSES, column, measured
from train.evaluation.confusions import confused
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective

MASS = column("vortex_mass_msun", (2,), "Msun")


def test_light_vortices_are_missed(sound: Store) -> None:
    rng = np.random.default_rng(1)
    label = np.repeat(np.arange(3, dtype=np.int32), 200)
    mass = 10 ** rng.uniform(9, 11, 600)
    light = (label == 2) & (mass < 4e9)
    said = np.where(light, 0, label)
    said[:3] = 1
    values = {column("theta_E", unit="arcsec"): rng.normal(size=600), MASS: mass}
    head = ClassifierHead(classes=CLASSES, most_frequent=0)
    pairs = confused(measured(sound, ClassificationObjective(head), label, values, np.eye(3)[said]))
    first, second = pairs
    assert (first.true, first.taken_for, first.samples) == ("vortex", "no_sub", int(light.sum()))
    assert first.share == pytest.approx(light.sum() / 200)
    here = float(np.median(mass[light]))
    there = float(np.median(mass[(label == 2) & ~light]))
    assert first.differs == (
        f"lower vortex_mass_msun: median {here:.3g} against {there:.3g} Msun".replace("e+", "e")
    )
    # three samples may differ by chance
    assert (second.true, second.taken_for, second.samples, second.differs) == ("no_sub", "cdm", 3, "")


def test_chance_is_no_difference(sound: Store) -> None:
    rng = np.random.default_rng(2)
    label = np.repeat(np.arange(3, dtype=np.int32), 100)
    said = np.where(rng.uniform(size=300) < 0.3, 0, label)
    values = {column(f"nothing_{k}"): rng.normal(size=300) for k in range(30)}
    head = ClassifierHead(classes=CLASSES, most_frequent=0)
    pairs = confused(measured(sound, ClassificationObjective(head), label, values, np.eye(3)[said]))
    assert [one.taken_for for one in pairs] == ["no_sub", "no_sub"]
    assert [one.differs for one in pairs] == ["", ""]


def test_only_classifiers_confuse(sound: Store) -> None:
    target = FittedTarget(target=Target(column="theta_E"), unit="arcsec", mean=1.0, spread=0.5)
    objective = RegressionObjective(RegressorHead(targets=(target,), labels=(0, 1, 2)))
    label = np.zeros(50, np.int32)
    assert confused(measured(sound, objective, label, {}, np.zeros((50, 1)))) == ()
