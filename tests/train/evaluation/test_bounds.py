"""The best observer's bound beside the model's area, and a leak that is planted and found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import shards
from flows.generate import Order
from schemas.detectability import ideal_auc
from schemas.experiment import ExperimentRecipe
from storage.reader import open_store
from train.data import load_samples
from train.evaluate import evaluate
from train.evaluation.bounds import bounds
from train.evaluation.measured import Measured
from train.fit import fit
from train.predict import outputs
from train.records.run_folder import load_run
from train.scores import auc

MakeExperiment = Callable[..., ExperimentRecipe]
# subhalos so light that nobody sees them
UNSEEN = (
    "detectability=[test]",
    "samples_per_class=60",
    "splits={train: 0.5, test: 0.5}",
    "classes=[{name: no_sub, label: 0, substructure: {kind: none}},"
    " {name: cdm, label: 1, substructure: {kind: subhalos, count: 3, mass_msun: 1e6,"
    " radius_arcsec: {kind: uniform, low: 0.2, high: 1.5}}}]",
)


@pytest.fixture
def measured(classifier: Path, another_store: Callable[..., Path]) -> Measured:
    """A classifier on a store that carries detectabilities."""
    run, store = load_run(classifier), open_store(another_store("seed=5", "detectability=[test]"))
    samples = load_samples(store, "test", run.objective.labels)
    return Measured(run, store, samples, outputs(run, samples)[0], "test")


def test_the_bound_is_the_mean_of_the_ideal_area_and_the_area_of_two_classes(measured: Measured) -> None:
    found = bounds(measured)
    assert [(one.name, one.against, one.holds) for one in found] == [
        ("cdm", "no_sub", True),
        ("vortex", "no_sub", True),
    ]
    label = measured.samples.label
    seen = measured.store.column("test", "detectability")
    for k, one in enumerate(found, start=1):
        ideal = ideal_auc(seen[label == k])
        assert one.ideal.value == pytest.approx(ideal.mean())
        assert ideal.min() <= one.ideal.low <= one.ideal.value <= one.ideal.high <= ideal.max()
        two = np.isin(label, [0, k])
        score = measured.output[two, k] - measured.output[two, 0]
        assert one.model.value == pytest.approx(auc(score, label[two] == k))


def test_no_bound_without_detectabilities(measured: Measured, classifier: Path, sound_store: Order) -> None:
    # the training split of that store has none
    samples = load_samples(measured.store, "train", measured.run.objective.labels)
    output = np.zeros((len(samples), 3))
    assert bounds(replace(measured, samples=samples, output=output, split="train")) == ()
    store = open_store(sound_store.root)
    samples = load_samples(store, "test", measured.run.objective.labels)
    assert bounds(replace(measured, store=store, samples=samples)) == ()


def test_in_a_replica_the_bound_does_not_hold(measured: Measured) -> None:
    recipe = measured.store.recipe.model_copy(update={"family": "replica"})
    stored = measured.store.stored.model_copy(update={"recipe": recipe})
    there = replace(measured, store=replace(measured.store, stored=stored))
    assert [one.holds for one in bounds(there)] == [False, False]


def test_a_label_in_a_corner_of_the_images_is_flagged(
    experiment: MakeExperiment,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    render = shards.render

    def planted(*given: Any) -> Any:
        rendered = render(*given)
        rendered.image[rendered.label == 1, :, :4, :4] += rendered.image.max()
        return rendered

    monkeypatch.setattr(shards, "render", planted)
    order = order_small(tmp_path / "store.zarr", *UNSEEN)
    make_store(order)
    longer = {"epochs": 10, "batch_size": 8, "precision": "float32"}
    fit(experiment(training=longer), order.root, tmp_path / "run", quiet=True)
    report = evaluate(tmp_path / "run", order.root)
    (flag,) = [one for one in report.flags if one.severity == "leak"]
    assert "cdm against no_sub" in flag.text
    (bound,) = report.bounds
    assert bound.ideal.value < 0.6
    assert bound.model.value > 0.9
    assert report.baselines[0].scores[0].value.value > 0.9
