"""Averaged weights, rates by layer, translation by torch.compile: off unless asked for, and what they do."""

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from flows.generate import Order
from schemas.experiment import ExperimentRecipe, Optimiser
from schemas.run import NetworkInput
from storage.reader import Store
from train import compilation
from train.averaging import Averaging
from train.data import load_samples
from train.fit import fit
from train.layer_rates import parameter_groups
from train.models.image_size import SizedNetwork
from train.predict import outputs
from train.records.run_folder import load_run

MakeExperiment = Callable[..., ExperimentRecipe]


def test_new_options_leave_the_digests_of_old_experiments(experiment: MakeExperiment) -> None:
    plain = experiment()
    told = plain.model_dump(mode="json")
    assert not {"average", "compile", "devices", "checkpoint_minutes"} & set(told["training"])
    assert "layer_decay" not in told["optimiser"]
    training = told["training"]
    assert experiment(training={**training, "checkpoint_minutes": 1}).digest == plain.digest
    for option in ({"average": 0.9}, {"compile": True}, {"devices": 2}):
        assert experiment(training={**training, **option}).digest != plain.digest
    assert experiment(optimiser={"layer_decay": 0.5}).digest != plain.digest


# -- the average


def test_the_average_follows_the_weights() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    averaging = Averaging(network, decay=0.9)
    expected = None
    for step in range(200):
        with torch.no_grad():
            for one in network.parameters():
                one.fill_(float(step))
        averaging.on_train_batch_end(None, None, None, None, step)  # type: ignore[arg-type]
        decay = min(0.9, (1 + step) / (10 + step))
        expected = float(step) if expected is None else expected * decay + step * (1 - decay)
    assert float(averaging.weights()["0.weight"][0, 0]) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(199 - 9, rel=0.01), "nine steps behind, at a decay of .9"


def test_validation_sees_the_average_and_training_goes_on_without() -> None:
    network = nn.Linear(2, 2)
    averaging = Averaging(network, decay=0.5)
    averaging.on_train_batch_end(None, None, None, None, 0)  # type: ignore[arg-type]
    averaged = network.weight.detach().clone()
    with torch.no_grad():
        network.weight.add_(1)
    averaging.on_validation_start(None, None)  # type: ignore[arg-type]
    assert torch.equal(network.weight, averaged)
    averaging.on_validation_end(None, None)  # type: ignore[arg-type]
    assert torch.equal(network.weight, averaged + 1)
    assert torch.equal(averaging.weights()["weight"], averaged)


def test_the_average_is_what_is_kept(
    experiment: MakeExperiment, sound_store: Order, sound: Store, tmp_path: Path
) -> None:
    options = {"epochs": 3, "batch_size": 16, "precision": "float32"}
    fit(experiment(training=options), sound_store.root, tmp_path / "plain", quiet=True)
    record = fit(
        experiment(training={**options, "average": 0.9}), sound_store.root, tmp_path / "run", quiet=True
    )
    plain, averaged = (load_file(tmp_path / name / "weights.safetensors") for name in ("plain", "run"))
    assert set(plain) == set(averaged)
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
    run = load_run(tmp_path / "run")
    samples = load_samples(sound, "val", run.objective.labels)
    output, _ = outputs(run, samples.take())
    loss = run.objective.loss(torch.from_numpy(output).float(), run.objective.encode(sound, samples))
    assert float(loss) == pytest.approx(record.val_loss, rel=1e-4)


# -- rates by layer


def _rates(network: nn.Module, options: Optimiser) -> dict[str, tuple[float, float]]:
    names = {id(one): name for name, one in network.named_parameters()}
    return {
        names[id(one)]: (group.get("lr", options.learning_rate), group["weight_decay"])
        for group in parameter_groups(network, options)
        for one in group["params"]
    }


def test_earlier_layers_learn_more_slowly() -> None:
    network = timm.create_model("test_vit", num_classes=3)
    options = Optimiser(learning_rate=1e-2, layer_decay=0.5)
    rates = _rates(network, options)
    assert set(rates) == {name for name, _ in network.named_parameters()}
    assert rates["head.weight"] == (pytest.approx(1e-2), 0.05)
    assert rates["head.bias"] == (pytest.approx(1e-2), 0.0)
    blocks = [rates[f"blocks.{k}.attn.qkv.weight"][0] for k in range(len(network.blocks))]
    assert [later / earlier for earlier, later in pairwise(blocks)] == pytest.approx(
        [2.0] * (len(blocks) - 1)
    )
    assert rates["patch_embed.proj.weight"][0] < blocks[0]


def test_padding_around_a_network_does_not_hide_its_layers() -> None:
    network = timm.create_model("test_vit", num_classes=3)
    way = NetworkInput(method="padded", image_side=150, network_side=160)
    options = Optimiser(layer_decay=0.5)
    bare, sized = _rates(network, options), _rates(SizedNetwork(network, way), options)
    assert sized == {f"network.{name}": rate for name, rate in bare.items()}


def test_a_network_that_says_nothing_of_its_layers_is_taken_by_depth(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    rates = _rates(network, Optimiser(learning_rate=1.0, layer_decay=0.5))
    assert (rates["0.weight"], rates["0.bias"]) == ((0.25, 0.05), (0.25, 0.0))
    assert [rates[f"{k}.weight"][0] for k in (0, 2, 4)] == [0.25, 0.5, 1.0]
    record = fit(experiment(optimiser={"layer_decay": 0.5}), sound_store.root, tmp_path / "run", quiet=True)
    assert record.epochs == 2


def test_all_layers_learn_alike_unless_asked() -> None:
    network = timm.create_model("test_vit", num_classes=3)
    assert {rate for rate, _ in _rates(network, Optimiser()).values()} == {1e-3}
    assert len(parameter_groups(network, Optimiser())) == 2


# -- torch.compile


def test_a_machine_without_a_compiler_trains_without(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("No working C++ compiler found\nmore")

    monkeypatch.setattr(compilation, "_try_toolchain", broken)
    options = {"epochs": 2, "batch_size": 16, "precision": "float32"}
    plain = fit(experiment(training=options), sound_store.root, tmp_path / "plain", quiet=True)
    with caplog.at_level(logging.WARNING):
        record = fit(
            experiment(training={**options, "compile": True}), sound_store.root, tmp_path / "run", quiet=True
        )
    assert "No working C++ compiler found)" in caplog.text
    assert not record.compiled
    assert record.weights_sha256 == plain.weights_sha256


@pytest.mark.parametrize("kind", ["classification", "anomaly"])
def test_what_is_called_is_translated(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    translated: list[nn.Module] = []
    monkeypatch.setattr(compilation, "_try_toolchain", lambda _: None)
    monkeypatch.setattr(nn.Module, "compile", lambda self: translated.append(self))
    options = {"epochs": 1, "batch_size": 16, "precision": "float32", "compile": True}
    assert fit(experiment(kind, training=options), sound_store.root, tmp_path / "run", quiet=True).compiled
    assert len(translated) == (2 if kind == "anomaly" else 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_translated_network_learns_the_same(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    options = {"epochs": 2, "batch_size": 16, "precision": "float32"}
    plain = fit(experiment(training=options), sound_store.root, tmp_path / "plain", quiet=True)
    record = fit(
        experiment(training={**options, "compile": True}), sound_store.root, tmp_path / "run", quiet=True
    )
    assert record.compiled
    assert record.val_loss == pytest.approx(plain.val_loss, rel=1e-2)
    load_run(tmp_path / "run")
