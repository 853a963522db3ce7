"""Portions of a batch make the same step as all of it; a loss that is no number is placed."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flows.generate import Order
from schemas.errors import DataError, ResourceError
from schemas.experiment import ExperimentRecipe
from storage.reader import open_store
from train.data import load_samples
from train.feeding import Feed
from train.fit import fit
from train.module import LensModule
from train.portions import Portions

MakeExperiment = Callable[..., ExperimentRecipe]


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A device that holds so many images at once."""

    def limit(most: int) -> None:
        def refuse(images: Tensor) -> None:
            if len(images) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        costs = LensModule.costs
        monkeypatch.setattr(
            LensModule, "costs", lambda self, images, target: refuse(images) or costs(self, images, target)
        )

    return limit


def test_parts_hold_every_sample_once_and_are_alike() -> None:
    portions = Portions("training")
    assert portions.parts(7) == [slice(0, 7)]
    portions.most = 3
    parts = portions.parts(7)
    assert [index for part in parts for index in range(7)[part]] == list(range(7))
    assert {part.stop - part.start for part in parts} <= {2, 3}


def test_a_batch_that_does_not_fit_is_halved_once_for_all(caplog: pytest.LogCaptureFixture) -> None:
    portions, tried = Portions("training"), []

    def work(parts: list[slice]) -> int:
        tried.append(len(parts))
        if any(part.stop - part.start > 4 for part in parts):
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        return len(parts)

    with caplog.at_level(logging.WARNING):
        assert portions.over(16, work) == 4
        assert portions.over(16, work) == 4
    assert tried == [1, 2, 4, 4]
    assert [record.message.split(":")[1] for record in caplog.records] == [
        " 16 images at once do not fit into memory, so batches are worked on 8 at a time",
        " 8 images at once do not fit into memory, so batches are worked on 4 at a time",
    ]


def test_an_image_that_does_not_fit_and_other_errors_are_told() -> None:
    def too_much(_: list[slice]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    def broken(_: list[slice]) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(ResourceError, match="1 image at once do"):
        Portions("training").over(8, too_much)
    with pytest.raises(RuntimeError, match="shapes"):
        Portions("training").over(8, broken)
    together = Portions("training", may_halve=False)
    with pytest.raises(ResourceError, match="8 images at once") as caught:
        together.over(8, too_much)
    assert "batch_size" in caught.value.advice


@pytest.mark.parametrize("kind", ["classification", "balanced", "masked regression"])
def test_portions_leave_the_gradients_of_the_whole(
    experiment: MakeExperiment, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).double()
    monkeypatch.setattr(LensModule, "manual_backward", lambda _, loss: loss.backward())
    monkeypatch.setattr(LensModule, "optimizers", lambda _: [torch.optim.SGD(network.parameters())])
    monkeypatch.setattr(LensModule, "weight_of_process", lambda self, target: self.objective.weight(target))
    torch.manual_seed(3)
    images, label = torch.randn(10, 1, 4, 4, dtype=torch.float64), torch.randint(0, 3, (10,))
    module, target = _module(kind, network, label, experiment())
    found = {}
    for most in (None, 3):
        for one in network.parameters():
            one.grad = None
        module.portions[0].most = most
        parts = module.portions[0].parts(10)
        shown = module.gradients(images, target, parts, 0)
        found[most] = [float(shown), *(one.grad.clone() for one in network.parameters())]
    assert len(parts) == 4
    for whole, summed in zip(found[None], found[3], strict=True):
        assert torch.allclose(torch.as_tensor(whole), torch.as_tensor(summed), rtol=1e-6)


def _module(kind: str, network: Any, label: Tensor, recipe: ExperimentRecipe) -> tuple[Any, Tensor]:
    from schemas.objective import SquaredError
    from train.objectives.classification import ClassificationObjective
    from train.objectives.regression import RegressionObjective

    class Bare:
        pass

    if kind == "masked regression":
        objective: Any = RegressionObjective.__new__(RegressionObjective)
        objective.head = Bare()
        objective.head.loss = SquaredError()
        target = torch.randn(10, 3, dtype=torch.float64)
        target[:4, 1:] = torch.nan
    else:
        objective = ClassificationObjective.__new__(ClassificationObjective)
        objective.head = Bare()
        objective.head.loss = Bare()
        objective.weights = torch.tensor([1.0, 5.0, 0.2]) if kind == "balanced" else None
        target = label
    return LensModule(network, torch.nn.Identity(), objective, recipe), target


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_run_that_does_not_fit_says_so_and_ends_the_same(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    little_memory: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    # no batch normalisation in it, and no dropout
    trial = experiment(kind, model={"name": "test_vit"})
    whole = fit(trial, sound_store.root, tmp_path / "whole", quiet=True)
    assert whole.images_at_once is None
    little_memory(5)
    with caplog.at_level(logging.WARNING):
        halved = fit(trial, sound_store.root, tmp_path / "halved", quiet=True)
    assert halved.images_at_once == 4
    assert caplog.text.count("at a time") == 2
    assert halved.val_loss == pytest.approx(whole.val_loss, rel=2e-3)


def test_an_adversarial_step_is_halved_as_well(
    experiment: MakeExperiment,
    examples: dict[str, dict[str, Any]],
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from train.models.autoencoders import Autoencoder

    real = Autoencoder.encode

    def encode(self: Autoencoder, images: Tensor) -> Any:
        if self.training and len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, images)

    monkeypatch.setattr(Autoencoder, "encode", encode)
    adversarial = {**examples["anomaly"], "method": "adversarial"}
    record = fit(experiment("anomaly", objective=adversarial), sound_store.root, tmp_path / "run", quiet=True)
    assert record.images_at_once == 4


# -- a loss that is no number


@pytest.mark.parametrize("method", [None, "variational", "adversarial"])
def test_the_batch_of_a_loss_that_is_no_number_is_named(
    experiment: MakeExperiment,
    examples: dict[str, dict[str, Any]],
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str | None,
) -> None:
    real = LensModule.augmented

    def spoilt(self: LensModule, batch: Any) -> Any:
        images, target = real(self, batch)
        if self.current_epoch == 1 and self.trainer.fit_loop.epoch_loop.batch_idx == 1:
            images = images.clone()
            images[3] = torch.nan
        return images, target

    monkeypatch.setattr(LensModule, "augmented", spoilt)
    trial = experiment()
    if method:
        trial = experiment("anomaly", objective={**examples["anomaly"], "method": method})
    with pytest.raises(
        DataError, match="the loss became nan in step 1 of epoch 1; 1 of 16 images hold"
    ) as caught:
        fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    samples = load_samples(open_store(sound_store.root), "train", (0, 1, 2))
    feed = Feed(samples, torch.from_numpy(samples.label), 16, trial.seed)
    feed.begin(1, 1)
    ids = next(iter(feed)).sample_ids.tolist()
    assert f"samples {', '.join(map(str, ids[:5]))} and 11 more" in caught.value.where
    assert not list(tmp_path.iterdir())
