"""Objectives: each learns, standardises there and back, and measures what it says."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.errors import DataError, RecipeError, UnknownNameError
from schemas.experiment import ExperimentRecipe, Objective
from schemas.metrics import Interval
from schemas.objective import Target
from schemas.run import ClassifierHead, FittedTarget, RegressorHead
from storage.reader import Store, open_store
from train.data import Samples, load_samples
from train.fit import fit
from train.objectives import OBJECTIVES, fit_head, objective_of
from train.objectives.target_errors import measure_target, physical, transformed
from train.predict import outputs
from train.records.run_folder import load_run

MakeExperiment = Callable[..., ExperimentRecipe]
Array = NDArray[np.float64]
AXION = {"kind": "regression", "targets": [{"column": "axion_mass_ev", "transform": "log10"}]}


def _targets(*columns: str) -> dict[str, Any]:
    return {"kind": "regression", "targets": [{"column": column} for column in columns]}


def test_every_objective_has_a_schema_a_head_and_an_example_here(examples: dict[str, Any]) -> None:
    schemas = {one.model_fields["kind"].default for one in get_args(get_args(Objective)[0])}
    assert set(OBJECTIVES) == schemas == set(examples)
    assert all(example["kind"] == kind for kind, example in examples.items())


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_each_objective_overfits_one_batch(
    experiment: MakeExperiment, another_store: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    # without a validation split the last epoch is kept; an epoch is one step on the same 12 images
    store = another_store("splits={train: 0.8, test: 0.2}")
    long = experiment(
        kind,
        data={"max_per_class": 4},
        training={"epochs": 100, "batch_size": 12, "precision": "float32"},
        optimiser={"kind": "adamw", "learning_rate": 3e-3},
    )
    fit(long, store, tmp_path / "run", quiet=True)
    run = load_run(tmp_path / "run")
    samples = load_samples(open_store(store), "train", run.objective.labels, 4)
    assert len(samples) == 12
    output, _ = outputs(run, samples.take())
    target = run.objective.encode(open_store(store), samples)
    loss = float(run.objective.loss(torch.from_numpy(output).float(), target))
    # guessing costs log 3 and 1
    assert loss < 0.05


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_objective_is_rebuilt_from_its_head_in_json(
    experiment: MakeExperiment, sound: Store, kind: str
) -> None:
    head = fit_head(experiment(kind), sound)
    again = type(head).model_validate_json(head.model_dump_json())
    assert again == head
    one, other = objective_of(head), objective_of(again)
    samples = load_samples(sound, "val", one.labels)
    assert one.encode(sound, samples).equal(other.encode(sound, samples))
    assert one.outputs == other.outputs


# -- classification


def _one_hot(objective: Any, samples: Samples, confidence: float = 9.0) -> Array:
    output = np.zeros((len(samples), objective.outputs))
    output[np.arange(len(samples)), objective.positions(samples.label)] = confidence
    return output


def test_a_perfect_classifier_scores_one(experiment: MakeExperiment, sound: Store) -> None:
    objective = objective_of(fit_head(experiment(), sound))
    samples = load_samples(sound, "test", objective.labels)
    metrics = objective.measure(sound, samples, _one_hot(objective, samples))
    assert (metrics.accuracy.value, metrics.accuracy.low, metrics.accuracy.high) == (1, 1, 1)
    one = Interval(value=1, low=1, high=1)
    assert metrics.auc_macro == metrics.auc_micro == metrics.precision_macro == metrics.precision_micro == one
    assert metrics.auc == metrics.precision == {"no_sub": one, "cdm": one, "vortex": one}
    assert metrics.confusion == ((4, 0, 0), (0, 4, 0), (0, 0, 4))
    assert metrics.constant_accuracy == pytest.approx(1 / 3)


def test_a_constant_classifier_scores_what_the_constant_does(
    experiment: MakeExperiment, sound: Store
) -> None:
    objective = objective_of(fit_head(experiment(), sound))
    samples = load_samples(sound, "test", objective.labels)
    metrics = objective.measure(sound, samples, np.tile([0.0, 5.0, 1.0], (len(samples), 1)))
    assert metrics.accuracy.value == metrics.constant_accuracy == pytest.approx(1 / 3)
    half = Interval(value=0.5, low=0.5, high=0.5)
    assert metrics.auc == {"no_sub": half, "cdm": half, "vortex": half}
    assert metrics.auc_macro.value == 0.5
    for name, share in metrics.share.items():
        assert metrics.precision[name].value == pytest.approx(share) == pytest.approx(1 / 3)
    # rows are true classes, columns predicted ones
    assert metrics.confusion == ((0, 4, 0), (0, 4, 0), (0, 4, 0))


def test_rows_of_the_confusion_are_true_classes(experiment: MakeExperiment, sound: Store) -> None:
    objective = objective_of(fit_head(experiment(), sound))
    samples = load_samples(sound, "test", objective.labels)
    output = _one_hot(objective, samples)
    first_vortex = np.flatnonzero(samples.label == 2)[0]
    output[first_vortex] = [20.0, 0.0, 0.0]
    metrics = objective.measure(sound, samples, output)
    assert metrics.confusion == ((4, 0, 0), (0, 4, 0), (1, 0, 3))
    assert metrics.accuracy.value == pytest.approx(11 / 12)


def test_probabilities_sum_to_one_and_name_the_largest(experiment: MakeExperiment, sound: Store) -> None:
    objective = objective_of(fit_head(experiment(), sound))
    output = np.random.default_rng(1).normal(scale=30, size=(50, 3))
    columns = objective.predictions(output)
    names = ["no_sub", "cdm", "vortex"]
    probability = np.stack([columns[f"probability_{name}"] for name in names], 1)
    assert np.allclose(probability.sum(axis=1), 1)
    assert list(columns["predicted"]) == [names[k] for k in output.argmax(axis=1)]


def test_two_classes_are_encoded_by_position_not_by_label(experiment: MakeExperiment, sound: Store) -> None:
    binary = experiment(data={"classes": ["vortex", "cdm"]})
    head = fit_head(binary, sound)
    assert isinstance(head, ClassifierHead)
    objective = objective_of(head)
    samples = load_samples(sound, "train", objective.labels)
    assert set(samples.label) == {1, 2}
    names = np.array([one.name for one in head.classes])
    encoded = objective.encode(sound, samples).numpy()
    assert list(names[encoded]) == [{1: "cdm", 2: "vortex"}[one] for one in samples.label]
    assert set(objective.truth(sound, samples)["true"]) == {"cdm", "vortex"}


def test_one_class_alone_is_refused(experiment: MakeExperiment, sound: Store) -> None:
    with pytest.raises(DataError, match="1 class to tell apart") as caught:
        fit_head(experiment(data={"classes": ["cdm"]}), sound)
    assert "vortex" in caught.value.advice
    with pytest.raises(UnknownNameError, match="unknown class 'cbm'"):
        fit_head(experiment(data={"classes": ["cbm", "vortex"]}), sound)


# -- regression


@pytest.mark.parametrize("transform", ["none", "log10"])
def test_physical_undoes_transformed(transform: str) -> None:
    target = Target.model_validate_json(json.dumps({"column": "x", "transform": transform}))
    value = np.geomspace(1e-24, 1e12, 37)
    assert np.allclose(physical(target, transformed(target, value)), value, rtol=1e-12)
    learned = transformed(target, np.array([1e-22]))
    assert learned[0] == pytest.approx(-22 if transform == "log10" else 1e-22)


@pytest.mark.parametrize("changes", [{}, {"objective": AXION}], ids=["lens", "axion mass"])
def test_standardisation_round_trips(
    experiment: MakeExperiment, sound: Store, changes: dict[str, Any]
) -> None:
    head = fit_head(experiment("regression", **changes), sound)
    assert isinstance(head, RegressorHead)
    objective = objective_of(head)
    samples = load_samples(sound, "train", objective.labels)
    encoded = objective.encode(sound, samples).numpy().astype(np.float64)
    assert encoded.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert encoded.std(axis=0) == pytest.approx(1, abs=1e-5)
    predicted, truth = objective.predictions(encoded), objective.truth(sound, samples)
    names = [column.name for column in sound.plan.columns]
    for one in head.targets:
        column = one.target.column
        stored = samples.params[:, names.index(column)]
        assert np.allclose(truth[f"true_{column}"], stored, rtol=1e-12)
        assert np.allclose(predicted[f"predicted_{column}"], stored, rtol=1e-5)
    assert sum(len(columns) for columns in (predicted, truth)) == 2 * len(head.targets)


def test_a_column_is_learned_on_the_classes_it_applies_to(experiment: MakeExperiment, sound: Store) -> None:
    head = fit_head(experiment("regression", objective=AXION), sound)
    assert isinstance(head, RegressorHead)
    assert head.labels == (2,)
    (fitted,) = head.targets
    stored = np.log10(sound.column("train", "axion_mass_ev")[sound.read("train", "label") == 2])
    assert (fitted.mean, fitted.spread) == pytest.approx((stored.mean(), stored.std()))
    assert fitted.unit == "dex"


def test_perfect_and_constant_regressors(experiment: MakeExperiment, sound: Store) -> None:
    objective = objective_of(fit_head(experiment("regression"), sound))
    samples = load_samples(sound, "test", objective.labels)
    perfect = objective.encode(sound, samples).numpy().astype(np.float64)
    for one in objective.measure(sound, samples, perfect).targets:
        assert one.mae.value == pytest.approx(0, abs=1e-6)
        assert one.rmse.value == pytest.approx(0, abs=1e-6)
        assert one.r2.value == pytest.approx(1, abs=1e-6)
        assert one.percentage_error == pytest.approx(0, abs=1e-4)
        assert one.mae_gain.low > 0
    for one in objective.measure(sound, samples, np.zeros_like(perfect)).targets:
        assert one.mae == one.constant_mae
        assert (one.mae_gain.value, one.mae_gain.low, one.mae_gain.high) == (0, 0, 0)
        assert one.r2.value <= 0


def test_numbers_of_a_regressor_are_those_of_their_definitions(
    experiment: MakeExperiment, sound: Store
) -> None:
    head = fit_head(experiment("regression"), sound)
    objective = objective_of(head)
    samples = load_samples(sound, "test", objective.labels)
    output = np.random.default_rng(2).normal(size=(len(samples), 2))
    predicted, truth = objective.predictions(output), objective.truth(sound, samples)
    metrics = objective.measure(sound, samples, output)
    assert [(one.target, one.unit) for one in metrics.targets] == [
        ("theta_E", "arcsec"),
        ("log10(source_R_sersic)", "dex"),
    ]
    for fitted, one in zip(head.targets, metrics.targets, strict=True):
        guess, true = predicted[f"predicted_{fitted.target.column}"], truth[f"true_{fitted.target.column}"]
        percentage = 100 * np.median(np.abs(guess - true) / true)
        if fitted.target.transform == "log10":
            guess, true = np.log10(guess), np.log10(true)
        assert one.mae.value == pytest.approx(np.abs(guess - true).mean())
        assert one.rmse.value == pytest.approx(math.sqrt(((guess - true) ** 2).mean()))
        assert one.r2.value == pytest.approx(
            1 - ((guess - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
        )
        assert one.percentage_error == pytest.approx(percentage)
        assert one.bias.value == pytest.approx((guess - true).mean())
        assert one.constant_mae.value == pytest.approx(np.abs(true - fitted.mean).mean())
        assert one.mae_gain.value == pytest.approx(one.constant_mae.value - one.mae.value)
        assert one.mae.low < one.mae.value < one.mae.high


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "an unknown column": (
        {"objective": _targets("theta_e")},
        UnknownNameError,
        ["unknown column 'theta_e'", "'theta_E'"],
    ),
    "one of several that no chosen class has": (
        {"objective": _targets("theta_E", "axion_mass_ev"), "data": {"classes": ["cdm"]}},
        DataError,
        ["no chosen class has axion_mass_ev", "at least one chosen class each"],
    ),
    "not in the chosen class": (
        {"objective": AXION, "data": {"classes": ["no_sub", "cdm"]}},
        DataError,
        ["no chosen class has axion_mass_ev"],
    ),
    "a constant column": (
        {"objective": _targets("subhalo_count")},
        DataError,
        ["column subhalo_count is the same (10 1)", "lensmill info"],
    ),
    "no logarithm": (
        {"objective": {"kind": "regression", "targets": [{"column": "e1", "transform": "log10"}]}},
        DataError,
        ["column e1 has values of zero or below"],
    ),
    "targets that cannot be scaled": (
        {
            "objective": _targets("axion_mass_ev", "theta_E", "vortex_mass_msun"),
            "augmentation": {"scale": {"high": 1.5}},
        },
        RecipeError,
        ["not the target axion_mass_ev (", "nor vortex_mass_msun (", "leave scale out"],
    ),
    "a target that betrays the class": (
        {"objective": _targets("theta_E_smooth")},
        DataError,
        ["the target theta_E_smooth", "betrays the class", "objective.allow_derived"],
    ),
    "an unknown class": (
        {"objective": AXION, "data": {"classes": ["vertex"]}},
        UnknownNameError,
        ["unknown class 'vertex'"],
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_targets_that_cannot_be_learned_are_refused(
    experiment: MakeExperiment, another_store: Callable[..., Path], fault: str
) -> None:
    changes, error, says = REFUSED[fault]
    store = open_store(another_store("classes.cdm.substructure.count=10", "compensate_mass=true"))
    with pytest.raises(error) as caught:
        fit_head(experiment("regression", **changes), store)
    for words in says:
        assert words in str(caught.value)


def test_a_target_that_only_some_splits_have_is_refused(
    experiment: MakeExperiment, another_store: Callable[..., Path]
) -> None:
    objective = {**_targets("detectability"), "allow_derived": True}
    store = open_store(another_store("detectability=[test]"))
    with pytest.raises(DataError, match=r"detectability is not filled in in train"):
        fit_head(experiment("regression", objective=objective), store)


def test_a_derived_target_is_learned_when_asked_for(
    experiment: MakeExperiment, another_store: Callable[..., Path]
) -> None:
    objective = {**_targets("theta_E_smooth"), "allow_derived": True}
    store = open_store(another_store("compensate_mass=true"))
    head = fit_head(experiment("regression", objective=objective), store)
    assert [one.target.column for one in head.targets] == ["theta_E_smooth"]


@pytest.mark.parametrize(
    ("unit", "least", "told"), [("arcsec", 0.5, True), ("mag", 20.0, False), ("1", -0.5, False)]
)
def test_only_positive_values_on_a_scale_of_their_own_have_errors_in_percent(
    unit: str, least: float, told: bool
) -> None:
    one = FittedTarget(target=Target(column="theta_E"), unit=unit, mean=least, spread=1.0)
    true = least + np.linspace(0, 1, 20)
    found = measure_target(one, true, true + 0.1, None)
    assert (found.percentage_error is not None) == told
    assert (found.mean_percentage_error is not None) == told
