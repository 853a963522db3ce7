"""Autoencoders: every size, every method, and a score that is larger for odd images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from flows.assess import metric_rows
from flows.generate import Order
from schemas.errors import DataError, LensmillError
from schemas.experiment import ExperimentRecipe
from schemas.metrics import AnomalyMetrics
from schemas.report import Report
from schemas.run import AnomalyHead
from storage.reader import Store, open_store
from train.data import load_samples
from train.evaluate import evaluate, report_folder
from train.fit import fit
from train.models.autoencoders import SCORE, SQUARED, Autoencoder, build_autoencoder, divergence
from train.models.registry import AUTOENCODERS, Shape
from train.objectives import fit_head, objective_of
from train.predict import outputs, predict, reconstructions
from train.records.run_folder import load_run
from train.scores import auc

MakeExperiment = Callable[..., ExperimentRecipe]
METHODS = ["autoencoder", "variational", "adversarial"]


def _anomaly(**options: Any) -> dict[str, Any]:
    return {"kind": "anomaly", "trained_on": ["no_sub"], **options}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 33, 64, 150])
@pytest.mark.parametrize("name", AUTOENCODERS)
def test_every_size_goes_in_and_comes_back(name: str, side: int, channels: int) -> None:
    network = build_autoencoder(name, Shape(channels, side, 6), variational=True)
    assert isinstance(network, Autoencoder)
    images = torch.randn(2, channels, side, side)
    mean, log_variance = network.encode(images)
    assert log_variance is not None
    assert mean.shape == log_variance.shape == (2, 6)
    back = network.decode(mean)
    assert back.shape == images.shape
    assert network(images).shape == (2, 3)
    (back.square().mean() + log_variance.square().mean()).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def test_the_divergence_is_that_of_two_gaussians() -> None:
    mean, log_variance = torch.randn(4, 5), torch.randn(4, 5)
    ours = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(ours, prior).sum(1)
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("method", METHODS)
def test_each_method_overfits_one_batch(
    experiment: MakeExperiment, another_store: Callable[..., Path], tmp_path: Path, method: str
) -> None:
    store = another_store("splits={train: 0.8, test: 0.2}")
    trained = {"epochs": 80, "batch_size": 8, "precision": "float32"}
    long = experiment(
        "anomaly",
        objective=_anomaly(method=method),
        data={"max_per_class": 8},
        training=trained,
        optimiser={"kind": "adamw", "learning_rate": 5e-3},
    )
    fit(long, store, tmp_path / "run", quiet=True)
    run = load_run(tmp_path / "run")
    samples = load_samples(open_store(store), "train", (0,), 8)
    output, _ = outputs(run, samples.take())
    # guessing the mean of all pixels costs 1
    assert output[:, SQUARED].mean() < 0.05
    # in units of themselves, but for the floor of the variance
    assert output[:, SCORE].mean() == pytest.approx(0.9, abs=0.1)


def test_only_the_chosen_classes_are_trained_on(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    record = fit(
        experiment("anomaly", objective={"kind": "anomaly"}), sound_store.root, tmp_path / "run", quiet=True
    )
    assert (record.data.train_samples, record.data.val_samples) == (14, 2)
    assert isinstance(record.head, AnomalyHead)
    assert record.head.trained_on == (0,)
    store = open_store(sound_store.root)
    label, ids = store.read("train", "label"), store.read("train", "sample_id")
    assert load_run(tmp_path / "run").used_samples("train").tolist() == ids[label == 0].tolist()


def test_the_unit_of_the_score_is_fitted_on_the_training_images_and_kept(
    experiment: MakeExperiment, sound_store: Order, sound: Store, tmp_path: Path
) -> None:
    fit(experiment("anomaly", objective=_anomaly()), sound_store.root, tmp_path / "run", quiet=True)
    run = load_run(tmp_path / "run")
    stretched, back = reconstructions(run, load_samples(sound, "train", (0,)).take())
    squared = ((back - stretched) ** 2).mean(axis=0)
    network = run.network[1]  # type: ignore[index]
    assert np.allclose(network.variance.numpy(), squared + 0.1 * squared.mean(), rtol=1e-4)


@pytest.fixture(scope="module", params=METHODS)
def measured(
    request: pytest.FixtureRequest,
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Report]:
    """A run of each method with its report."""
    run = tmp_path_factory.mktemp("anomalies") / "run"
    motion = {"quarter_turns": True, "flips": True, "shift_pixels": 1.0}
    one = experiment("anomaly", objective=_anomaly(method=request.param), augmentation=motion)
    fit(one, sound_store.root, run, quiet=True)
    return run, evaluate(run, sound_store.root)


def test_a_report_of_anomalies(measured: tuple[Path, Report], sound_store: Order) -> None:
    run, report = measured
    metrics = report.metrics
    assert isinstance(metrics, AnomalyMetrics)
    folder = report_folder(run, report)
    assert Report.model_validate_json((folder / "report.json").read_bytes()) == report
    of_samples = {name for one in report.examples for name in (one.picture, one.map)}
    assert {path.name for path in (folder / "pictures").iterdir()} - of_samples - {"mean_maps.png"} == {
        "roc.png", "precision.png", "scores.png", "reconstructions.png", "loss.png",
    }  # fmt: skip
    table = predict(run, [sound_store.root]).to_pydict()
    score, label = np.array(table["anomaly_score"]), sound_store_labels(sound_store)
    for name, one in (("cdm", 1), ("vortex", 2)):
        rows = (label == 0) | (label == one)
        assert metrics.auc[name].value == pytest.approx(auc(score[rows], label[rows] == one))
        assert metrics.score[name] == pytest.approx(np.median(score[label == one]))
    assert metrics.auc_all.value == pytest.approx(auc(score, label != 0))
    assert metrics.trained_on == ("no_sub",)
    curves = pq.read_table(folder / "curves.parquet").to_pydict()
    assert set(curves["class"]) == {"cdm", "vortex", None}
    assert set(curves["curve"]) == {"roc", "precision_recall"}
    assert f"{metrics.auc_all.value:.4f}" in report.headline
    page = (folder / "report.html").read_text()
    for words in ("AUC of vortex", "median score", f"{metrics.auc_all.value:.4f}"):
        assert words in page
    assert "AUC cdm" in [row["metric"] for row in metric_rows(report)]


def sound_store_labels(order: Order) -> np.ndarray:
    return np.asarray(open_store(order.root).read("test", "label"))


def test_a_run_is_reloaded_bit_by_bit(measured: tuple[Path, Report], sound: Store) -> None:
    run, _ = measured
    images = sound.read("test", "image")
    one, other = (outputs(load_run(run), images)[0] for _ in range(2))
    assert np.array_equal(one, other)


def test_odd_images_score_higher(measured: tuple[Path, Report], sound: Store) -> None:
    run = load_run(measured[0])
    images = load_samples(sound, "test", (0,)).take()
    odd = images.copy()
    odd[:, :, 4:6, 4:6] += 5 * images.max()
    ordinary, strange = (outputs(run, one)[0][:, SCORE] for one in (images, odd))
    assert (strange > 1.1 * ordinary).all()


def test_other_runs_reconstruct_nothing(classifier: Path, sound: Store) -> None:
    with pytest.raises(DataError, match="reconstructs no images"):
        reconstructions(load_run(classifier), sound.read("test", "image"))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a network that is none": (
        {"model": {"name": "lensmill_stem_vit"}},
        "set model.name to lensmill",
    ),
    "no such network": ({"model": {"name": "lensmill_autoencoda"}}, "unknown autoencoder"),
    "a class that is not chosen": (
        {"data": {"classes": ["cdm", "vortex"]}, "objective": _anomaly()},
        "no_sub is to be trained on but is not among the chosen classes",
    ),
    "no smooth class": (
        {"data": {"classes": ["cdm", "vortex"]}, "objective": {"kind": "anomaly"}},
        "objective.trained_on",
    ),
    "an unknown class": ({"objective": _anomaly(trained_on=["no_subs"])}, "unknown class 'no_subs'"),
}


def _built(one: ExperimentRecipe, store: Store) -> object:
    objective = objective_of(fit_head(one, store))
    return objective.build(one.model, Shape(1, 16, objective.outputs))


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_trained_is_refused(experiment: MakeExperiment, sound: Store, fault: str) -> None:
    changes, says = REFUSED[fault]
    one = experiment("anomaly", **changes)
    with pytest.raises(LensmillError) as caught:
        _built(one, sound)
    assert says in str(caught.value)


def test_a_store_of_ordinary_images_alone_is_not_measured(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    one = experiment("anomaly", objective=_anomaly(), data={"classes": ["no_sub"]})
    fit(one, sound_store.root, tmp_path / "run", quiet=True)
    with pytest.raises(DataError, match="there is no other class"):
        evaluate(tmp_path / "run", sound_store.root)
