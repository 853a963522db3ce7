"""Baselines: fitted on the samples of the run, measured as the model is, kept in the run folder."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.generate import Order
from schemas.experiment import ExperimentRecipe
from schemas.metrics import scores_of
from storage.reader import open_store
from train.data import load_samples
from train.evaluation import baselines as module
from train.evaluation.baselines import Beside, baselines
from train.evaluation.fitted_file import FILE, FOLDER, digest_of, load_fitted
from train.evaluation.gains import gains, goodness
from train.evaluation.measured import Measured
from train.evaluation.training_samples import training_samples
from train.fit import fit
from train.predict import outputs
from train.records.run_folder import load_run

MakeExperiment = Callable[..., ExperimentRecipe]
ANOMALY = {"objective": {"kind": "anomaly", "trained_on": ["no_sub"], "latent": 4}}
KINDS = ["classification", "regression", "anomaly"]


@pytest.fixture(scope="module")
def runs(
    classifier: Path,
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A run of each kind; the regressor learns variances and a number that not all classes have."""
    folder = tmp_path_factory.mktemp("baselines")
    targets = [{"column": "theta_E"}, {"column": "axion_mass_ev", "transform": "log10"}]
    probabilistic = {"kind": "regression", "targets": targets, "loss": "gaussian"}
    fit(
        experiment("regression", objective=probabilistic),
        sound_store.root,
        folder / "regression",
        quiet=True,
    )
    fit(experiment("anomaly", **ANOMALY), sound_store.root, folder / "anomaly", quiet=True)
    shutil.copytree(classifier, folder / "classification")
    return {kind: folder / kind for kind in KINDS}


@pytest.fixture
def measure(sound_store: Order, runs: dict[str, Path], tmp_path: Path) -> Callable[[str], Measured]:
    """A run of a kind in a folder of its own, with what its network gives for the test samples."""

    def measured(kind: str) -> Measured:
        shutil.copytree(runs[kind], tmp_path / kind)
        run, store = load_run(tmp_path / kind), open_store(sound_store.root)
        samples = load_samples(store, "test", run.objective.labels)
        return Measured(run, store, samples, outputs(run, samples)[0], "test")

    return measured


def _scores(measured: Measured) -> Any:
    return scores_of(measured.run.objective.measure(measured.store, measured.samples, measured.output))


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_have_the_scores_of_the_model(measure: Callable[[str], Measured], kind: str) -> None:
    measured = measure(kind)
    scores = _scores(measured)
    beside = baselines(measured, scores)
    assert beside.missing is None
    assert [one.kind for one in beside.found] == ["components", "shuffled", "constant"]
    for one in beside.found:
        assert [(s.name, s.unit, s.chance) for s in one.scores] == [
            (s.name, s.unit, pytest.approx(s.chance)) for s in scores
        ]
        assert set(one.gain) == (set() if one.kind == "shuffled" else {s.name for s in scores})
    constant = beside.found[-1]
    assert [s.value.value for s in constant.scores] == pytest.approx([s.chance for s in scores])
    for score, good, simple in zip(scores, beside.found[0].scores, constant.scores, strict=True):
        sign = 1 if score.better == "higher" else -1
        for one, other in ((good, beside.found[0]), (simple, constant)):
            gain = other.gain[score.name]
            assert gain.value == pytest.approx(sign * (score.value.value - one.value.value))
            assert gain.low <= gain.value <= gain.high


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_compared_is_what_is_scored(measure: Callable[[str], Measured], kind: str) -> None:
    measured = measure(kind)
    scores = {one.name: one for one in _scores(measured)}
    found = goodness(measured, measured.output)
    assert found.keys() == scores.keys()
    for name, (good, strata) in found.items():
        assert np.abs(good(np.ones((1, len(strata))))) == pytest.approx([scores[name].value.value])
    none = gains(measured, measured.output)
    assert all((one.low, one.value, one.high) == (0, 0, 0) for one in none.values())


def test_the_model_is_better_than_what_is_worse(measure: Callable[[str], Measured]) -> None:
    for kind in KINDS:
        measured = measure(kind)
        truth = measured.run.objective.encode(measured.store, measured.samples).numpy()
        best = np.zeros_like(measured.output)
        if kind == "classification":
            best[np.arange(len(best)), truth] = 1
        elif kind == "regression":
            best[:, : truth.shape[1]] = np.nan_to_num(truth)
        else:
            best[:, 1] = truth != 0
        for gain in gains(replace(measured, output=best), measured.output).values():
            assert gain.low >= 0
            assert gain.value > 0


def test_fitted_once_and_on_the_samples_of_the_run(
    measure: Callable[[str], Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measure("classification")
    samples = training_samples(measured.run, measured.store)
    assert sorted(samples.sample_id) == sorted(measured.run.used_samples("train"))
    first = baselines(measured, _scores(measured))
    monkeypatch.setattr(module, "training_store", None)
    assert baselines(measured, _scores(measured)) == first
    assert (measured.run.root / FOLDER / FILE).is_file()


def test_the_file_format_changes_nothing(measure: Callable[[str], Measured], backend_store: Order) -> None:
    measured = measure("classification")
    first = baselines(measured, _scores(measured))
    shutil.rmtree(measured.run.root / FOLDER)
    store = open_store(backend_store.root)
    samples = load_samples(store, "test", measured.run.objective.labels)
    assert baselines(replace(measured, store=store, samples=samples), _scores(measured)) == first


def test_labels_that_the_training_shuffled_are_shuffled_alike(measure: Callable[[str], Measured]) -> None:
    measured = measure("classification")
    record = measured.run.record
    data = record.experiment.data.model_copy(update={"labels": "shuffled"})
    experiment = record.experiment.model_copy(update={"data": data, "seed": 3})
    run = replace(measured.run, record=record.model_copy(update={"experiment": experiment}))
    found = training_samples(run, measured.store)
    used = load_samples(measured.store, "train", run.objective.labels, shuffled=3)
    assert (found.label == used.label).all()
    assert (found.sample_id == used.sample_id).all()
    assert (found.label != training_samples(measured.run, measured.store).label).any()
    assert digest_of(run) != digest_of(measured.run)


def test_what_belongs_to_another_run_or_is_broken_is_fitted_again(
    measure: Callable[[str], Measured],
) -> None:
    measured = measure("classification")
    first = baselines(measured, _scores(measured))
    path = measured.run.root / FOLDER / FILE
    experiment = measured.run.record.experiment.model_copy(update={"seed": 5})
    other = replace(measured.run, record=measured.run.record.model_copy(update={"experiment": experiment}))
    assert load_fitted(measured.run) is not None
    assert load_fitted(other) is None
    for broken in (b"", path.read_bytes()[:-9], b"nonsense" * 30):
        path.write_bytes(broken)
        assert load_fitted(measured.run) is None
    assert baselines(measured, _scores(measured)) == first
    assert load_fitted(measured.run) is not None


def test_a_run_folder_that_cannot_be_written_is_no_error(
    measure: Callable[[str], Measured],
) -> None:
    measured = measure("classification")
    # root may write anywhere, but not below a file
    (measured.run.root / FOLDER).write_text("in the way")
    assert baselines(measured, _scores(measured)).found[0].kind == "components"


def test_a_training_store_that_is_gone_is_told_and_another_of_its_recipe_taken(
    measure: Callable[[str], Measured], another_store: Callable[..., Path], tmp_path: Path
) -> None:
    measured = measure("classification")
    data = measured.run.record.data.model_copy(update={"store": str(tmp_path / "gone.zarr")})
    lost = replace(measured.run, record=measured.run.record.model_copy(update={"data": data}))
    assert baselines(replace(measured, run=lost), _scores(measured)).missing is None
    shutil.rmtree(measured.run.root / FOLDER)

    other = open_store(another_store("seed=77"))
    samples = load_samples(other, "test", measured.run.objective.labels)
    elsewhere = Measured(lost, other, samples, outputs(measured.run, samples)[0], "test")
    beside = baselines(elsewhere, _scores(elsewhere))
    assert [one.kind for one in beside.found] == ["constant"]
    assert "gone.zarr" in str(beside.missing)

    data = data.model_copy(update={"store": str(other.root), "recipe_digest": "0" * 64})
    wrong = replace(lost, record=lost.record.model_copy(update={"data": data}))
    beside = baselines(replace(elsewhere, run=wrong), _scores(elsewhere))
    assert "is of digest" in str(beside.missing)


def test_labels_that_images_carry_are_found_and_shuffled_ones_are_not(
    measure: Callable[[str], Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    # features of which some are the label: what images of a leak would be
    measured = measure("classification")
    plain = module.features

    def carrying(run: Any, samples: Any, components: Any) -> Any:
        found = plain(run, samples, components)
        found[:, :3] = 1e3 * (samples.label[:, None] == np.arange(3))
        return found

    monkeypatch.setattr(module, "features", carrying)
    beside: Beside = baselines(measured, _scores(measured))
    components, shuffled, _ = (one.scores[0].value.value for one in beside.found)
    assert components == 1
    assert shuffled < 0.9
