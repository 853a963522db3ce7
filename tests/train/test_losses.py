"""Losses of classifiers and regressors against sums by hand."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flows.generate import Order
from schemas.errors import RecipeError, UnknownNameError
from schemas.experiment import ExperimentRecipe
from schemas.metrics import RegressionMetrics
from schemas.run import ClassifierHead, RegressorHead
from storage.reader import Store
from train.data import load_samples
from train.evaluate import evaluate
from train.fit import fit
from train.module import LensModule
from train.objectives import fit_head, objective_of
from train.objectives.likelihood import variance_of
from train.predict import predict

MakeExperiment = Callable[..., ExperimentRecipe]
BOTH = [{"column": "theta_E"}, {"column": "axion_mass_ev", "transform": "log10"}]


def _classification(**options: Any) -> dict[str, Any]:
    return {"kind": "classification", **options}


def _regression(**options: Any) -> dict[str, Any]:
    return {"kind": "regression", "targets": [{"column": "theta_E"}], **options}


def _objective(experiment: ExperimentRecipe, store: Store) -> Any:
    return objective_of(fit_head(experiment, store))


# -- classes


def test_weights_count_samples_as_by_hand(experiment: MakeExperiment, sound: Store) -> None:
    asked = _classification(class_weights={"vortex": 3.0, "no_sub": 0.5})
    objective = _objective(experiment(objective=asked), sound)
    assert objective.head.weights == (0.5, 1.0, 3.0)
    output, target = torch.randn(6, 3), torch.tensor([0, 2, 2, 1, 0, 1])
    each = -torch.log_softmax(output, 1)[torch.arange(6), target]
    weights = torch.tensor([0.5, 1.0, 3.0])[target]
    assert float(objective.loss(output, target)) == pytest.approx(
        float((each * weights).sum() / weights.sum())
    )


def test_weights_go_by_name_and_not_by_place(experiment: MakeExperiment, sound: Store) -> None:
    asked = _classification(class_weights={"vortex": 3.0})
    head = fit_head(experiment(objective=asked, data={"classes": ["vortex", "cdm"]}), sound)
    assert isinstance(head, ClassifierHead)
    assert dict(zip([one.name for one in head.classes], head.weights or (), strict=True)) == {
        "cdm": 1.0,
        "vortex": 3.0,
    }


@pytest.mark.parametrize(("name", "classes"), [("vertex", None), ("no_sub", ["cdm", "vortex"])])
def test_weights_of_classes_that_are_not_there_are_refused(
    experiment: MakeExperiment, sound: Store, name: str, classes: list[str] | None
) -> None:
    asked = _classification(class_weights={name: 2.0})
    with pytest.raises(UnknownNameError, match=f"unknown class in objective.class_weights '{name}'"):
        fit_head(experiment(objective=asked, data={"classes": classes}), sound)


def test_balanced_weights_are_inverse_to_the_counts(
    experiment: MakeExperiment, sound: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store.read

    def fewer(self: Store, split: str, array: str, rows: slice = slice(None)) -> Any:
        found = real(self, split, array, rows)
        # 14 of each become 14, 21, 7
        return (
            np.where((found == 2) & (np.arange(len(found)) % 2 == 0), 1, found) if array == "label" else found
        )

    monkeypatch.setattr(Store, "read", fewer)
    label = Store.read(sound, "train", "label")
    counts = np.bincount(label)
    assert len(set(counts)) == 3
    asked = _classification(class_weights="balanced")
    head = fit_head(experiment(objective=asked), sound)
    assert isinstance(head, ClassifierHead)
    assert np.array(head.weights) * counts == pytest.approx(np.full(3, counts.sum() / 3))
    # a cap is part of the counts
    capped = fit_head(experiment(objective=asked, data={"max_per_class": 2}), sound)
    assert isinstance(capped, ClassifierHead)
    assert capped.weights == (1.0, 1.0, 1.0)


THEN_BCE = {"kind": "cross_entropy_then_bce", "after_epochs": 2, "smoothing": 0.3}


def _bce(output: Tensor, target: Tensor, smoothing: float) -> float:
    costs = []
    for row, label in zip(output.double(), target.tolist(), strict=True):
        for k, logit in enumerate(row.tolist()):
            wanted = (1 - smoothing) * (k == label) + smoothing / len(row)
            chance = 1 / (1 + math.exp(-logit))
            costs.append(-wanted * math.log(chance) - (1 - wanted) * math.log(1 - chance))
    return sum(costs) / len(costs)


def test_cross_entropy_turns_into_smoothed_bce_at_its_epoch(experiment: MakeExperiment, sound: Store) -> None:
    trained = {"epochs": 4, "batch_size": 16}
    objective = _objective(experiment(objective=_classification(loss=THEN_BCE), training=trained), sound)
    output, target = torch.randn(5, 3), torch.tensor([0, 2, 2, 1, 0])
    plain = float(torch.nn.functional.cross_entropy(output, target))
    losses = [float(objective.training_loss(output, target, epoch)) for epoch in range(4)]
    late = pytest.approx(_bce(output, target, 0.3), rel=1e-5)
    assert losses == [plain, plain, late, late]
    assert float(objective.loss(output, target)) == late
    assert [objective.phase(epoch) for epoch in range(4)] == [0, 0, 1, 1]


def test_the_best_epoch_is_one_of_the_last_loss(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # validation gets worse and worse: the first epoch of each phase is its best
    def worse(self: LensModule, batch: Any, step: int) -> None:
        self.log("val_loss", torch.tensor(1.0 + self.current_epoch), batch_size=1)

    monkeypatch.setattr(LensModule, "validation_step", worse)
    trained = {"epochs": 6, "batch_size": 16, "patience": 3}
    asked = experiment(objective=_classification(loss=THEN_BCE), training=trained)
    record = fit(asked, sound_store.root, tmp_path / "run", quiet=True)
    # and the three epochs of patience count from there
    assert (record.best_epoch, record.epochs) == (3, 6)
    plain = fit(experiment(training=trained), sound_store.root, tmp_path / "plain", quiet=True)
    assert (plain.best_epoch, plain.epochs) == (1, 4)


def test_a_change_of_loss_that_never_comes_is_refused() -> None:
    recipe = {"name": "x", "objective": _classification(loss=THEN_BCE), "training": {"epochs": 2}}
    with pytest.raises(ValueError, match="changes after 2 epochs, but there are 2"):
        ExperimentRecipe.model_validate_json(json.dumps(recipe))


# -- numbers


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        ("mse", lambda off: off**2),
        ("mae", lambda off: off.abs()),
        (
            {"kind": "huber", "delta": 0.5},
            lambda off: torch.where(off.abs() < 0.5, off**2 / 2, 0.5 * (off.abs() - 0.25)),
        ),
    ],
    ids=["mse", "mae", "huber"],
)
def test_errors_are_those_of_their_names(
    experiment: MakeExperiment, sound: Store, loss: Any, by_hand: Callable[[Tensor], Tensor]
) -> None:
    objective = _objective(experiment("regression", objective=_regression(loss=loss)), sound)
    output, target = torch.randn(40, 1), torch.randn(40, 1)
    expected = float(by_hand(output - target).mean())
    assert float(objective.loss(output, target)) == pytest.approx(expected, rel=1e-5)
    assert float(objective.training_loss(output, target, 0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "gaussian"])
def test_a_target_that_a_class_lacks_costs_nothing(
    experiment: MakeExperiment, sound: Store, loss: str
) -> None:
    asked = {"kind": "regression", "targets": BOTH, "loss": loss}
    objective = _objective(experiment("regression", objective=asked), sound)
    assert objective.labels == (0, 1, 2)
    samples = load_samples(sound, "train", objective.labels)
    target = objective.encode(sound, samples)
    there = torch.from_numpy(samples.label == 2)
    assert torch.equal(torch.isfinite(target[:, 1]), there)
    assert torch.isfinite(target[:, 0]).all()
    output = torch.randn(len(target), objective.outputs, requires_grad=True)
    value = objective.training_loss(output, target, 0)
    value.backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    assert not output.grad[~there, 1].any()
    assert (output.grad[there, 1] != 0).all()
    # every number that is there counts the same
    other = objective.training_loss(output.detach() + torch.where(there, 0.0, 9.0)[:, None] * torch.tensor(
        [0.0, 1.0] * (objective.outputs // 2)), target, 0)  # fmt: skip
    assert float(other) == pytest.approx(float(value.detach()))


def test_each_target_is_standardised_on_the_classes_that_have_it(
    experiment: MakeExperiment, sound: Store
) -> None:
    head = fit_head(experiment("regression", objective={"kind": "regression", "targets": BOTH}), sound)
    assert isinstance(head, RegressorHead)
    label = sound.read("train", "label")
    theta, axion = (
        sound.column("train", "theta_E"),
        np.log10(sound.column("train", "axion_mass_ev")[label == 2]),
    )
    assert [one.mean for one in head.targets] == pytest.approx([theta.mean(), axion.mean()])


@pytest.mark.parametrize("loss", ["mse", "gaussian"])
def test_targets_of_some_classes_are_trained_and_measured(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, loss: str
) -> None:
    asked = {"kind": "regression", "targets": [*BOTH, {"column": "e1"}], "loss": loss}
    motion = {"quarter_turns": True, "flips": True, "rotation_degrees": 5.0}
    fit(
        experiment("regression", objective=asked, augmentation=motion),
        sound_store.root,
        tmp_path / "run",
        quiet=True,
    )
    metrics = evaluate(tmp_path / "run", sound_store.root).metrics
    assert isinstance(metrics, RegressionMetrics)
    assert [one.samples for one in metrics.targets] == [12, 4, 12]
    assert all(math.isfinite(one.mae.value) for one in metrics.targets)
    names = predict(tmp_path / "run", [sound_store.root]).column_names
    assert ("sigma_axion_mass_ev" in names) == (loss == "gaussian")


def test_a_learned_variance_is_that_of_the_noise(experiment: MakeExperiment, sound: Store) -> None:
    asked = _regression(loss={"kind": "gaussian", "beta": 0.5})
    objective = _objective(experiment("regression", objective=asked), sound)
    torch.manual_seed(1)
    x = torch.rand(2048, 1) * 2 - 1
    # noisier to the right
    sigma = 0.1 * torch.exp(x)
    target = 0.7 * x + sigma * torch.randn_like(x)
    network = torch.nn.Linear(1, 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(600):
        optimiser.zero_grad()
        objective.training_loss(network(x), target, 0).backward()
        optimiser.step()
    mean, log_variance = variance_of(network(x).detach())
    assert float((mean - 0.7 * x).abs().max()) < 0.03
    assert torch.allclose(torch.exp(0.5 * log_variance), sigma, rtol=0.15)
    spread = objective.head.targets[0].spread
    found = objective.predictions(network(x).detach().double().numpy())["sigma_theta_E"]
    assert np.allclose(found, spread * sigma[:, 0].numpy(), rtol=0.15)


def test_absurd_variances_stay_finite(experiment: MakeExperiment, sound: Store) -> None:
    objective = _objective(experiment("regression", objective=_regression(loss="gaussian")), sound)
    output = torch.tensor([[1e4, -1e9], [1e4, 1e9], [0.0, -1e9]], requires_grad=True)
    loss = objective.training_loss(output, torch.zeros(3, 1), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()


def test_directions_are_measured_the_short_way_round(experiment: MakeExperiment, sound: Store) -> None:
    asked = {"kind": "regression", "targets": [{"column": "vortex_angle_rad"}]}
    objective = _objective(experiment("regression", objective=asked), sound)
    samples = load_samples(sound, "test", objective.labels)
    (one,) = objective.head.targets
    assert one.period == pytest.approx(math.pi)
    perfect = objective.encode(sound, samples).numpy().astype(float)
    assert (perfect * one.spread + one.mean < math.pi + 1e-6).all()
    once_round = perfect + math.pi / one.spread
    assert objective.measure(sound, samples, once_round).targets[0].mae.value == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    "objective",
    [
        _classification(class_weights={"cdm": 0}),
        _classification(loss="hinge"),
        _classification(loss={"kind": "cross_entropy_then_bce"}),
        _regression(loss="huberr"),
        _regression(loss={"kind": "huber", "delta": 0}),
        {"kind": "anomaly", "method": "diffusion"},
        {"kind": "anomaly", "latent": 0},
    ],
    ids=str,
)
def test_bad_options_are_refused(objective: dict[str, Any]) -> None:
    recipe = {"name": "x", "objective": objective, "training": {"epochs": 2}}
    with pytest.raises((ValueError, RecipeError)):
        ExperimentRecipe.model_validate_json(json.dumps(recipe))
