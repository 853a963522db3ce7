"""Examples of a report: the right samples, in words, drawn into files with safe names."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from flows.generate import Order
from schemas.objective import GaussianLikelihood, PlainAutoencoder, Target
from schemas.run import AnomalyHead, ClassifierHead, FittedNone, FittedTarget, RegressorHead
from storage.reader import Store, open_store
from tests.train.evaluation.planted import CLASSES, column, measured
from train.data import load_samples
from train.evaluate import evaluate, report_folder
from train.evaluation.chosen import MOST, chosen
from train.evaluation.examples import examples, looked_at
from train.evaluation.measured import Measured
from train.models.autoencoders import build_autoencoder
from train.models.registry import Shape
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.predict import outputs
from train.records.run_folder import load_run
from train.report.insight_figures import MEAN_MAPS
from train.stretch import Stretch

LABEL = np.repeat(np.arange(3, dtype=np.int32), 20)
SIDE = 12
STRETCH = Stretch(FittedNone(mean=0.0, spread=1.0))


class Corner(nn.Module):
    """Looks at one pixel a class: class k at row and column 3 k."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([images[:, 0, 3 * k, 3 * k] for k in range(3)], dim=1)


def _images() -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(1).normal(size=(len(LABEL), 1, SIDE, SIDE)).astype(np.float32)


def _classified(sound: Store, network: nn.Module) -> Measured:
    images = _images()
    output = np.stack([images[:, 0, 3 * k, 3 * k] for k in range(3)], axis=1).astype(np.float64)
    objective = ClassificationObjective(ClassifierHead(classes=CLASSES, most_frequent=0))
    return measured(sound, objective, LABEL, {}, output, images, nn.Sequential(STRETCH, network))


@pytest.fixture
def classified(sound: Store) -> Measured:
    return _classified(sound, Corner())


def test_best_and_worst_of_each_class(classified: Measured, tmp_path: Path) -> None:
    told = examples(classified, tmp_path)
    probability = np.exp(classified.output) / np.exp(classified.output).sum(axis=1, keepdims=True)
    for label, one in enumerate(CLASSES):
        of_class = label == LABEL
        own = sorted(probability[of_class, label])
        right = sorted(probability[of_class & (probability.argmax(axis=1) == label), label])
        assert {each.group for each in told if each.true == one.name} == {one.name}
        best = [each.measure for each in told if (each.true, each.kind) == (one.name, "best")]
        worst = [each.measure for each in told if (each.true, each.kind) == (one.name, "worst")]
        assert best == pytest.approx(right[::-1][:4])
        assert worst == pytest.approx(own[:4])
    assert len(told) == 24
    for one in told:
        said = probability[one.sample_id]
        name = CLASSES[int(said.argmax())].name
        assert one.said == f"{name} ({100 * said.max():.0f}%)"
        assert one.seed == classified.store.origin.seed


def test_files_are_pictures_with_safe_names(classified: Measured, tmp_path: Path) -> None:
    told = examples(classified, tmp_path)
    named = {name for one in told for name in (one.picture, one.map)}
    assert named | {MEAN_MAPS} == {path.name for path in tmp_path.iterdir()}
    assert len(named) == 48
    for name in named:
        assert name is not None
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.")
        with Image.open(tmp_path / name) as picture:
            assert (picture.size, picture.mode) == ((192, 192), "RGB")


def test_maps_explain_what_was_said_of_each_sample(classified: Measured) -> None:
    seen = np.ones((9, 1, SIDE, SIDE), np.float32)
    seen[:, :, ::2, ::2] = 0
    seen[:, 0, [0, 3, 6], [0, 3, 6]] = 4
    asked = [0, 1, 2] * 3
    maps = looked_at(classified, seen, asked)
    assert set(maps) == {"gradients"}
    # smoothing reaches three pixels: the strongest one is that of the class
    for one, output in zip(maps["gradients"], asked, strict=True):
        assert np.unravel_index(one.argmax(), one.shape) == (3 * output, 3 * output)


def test_samples_of_small_classes_are_taken_once(sound: Store) -> None:
    label = np.array([0, 1, 1, 2, 2, 2, 2, 2], np.int32)
    objective = ClassificationObjective(ClassifierHead(classes=CLASSES, most_frequent=0))
    output = np.random.default_rng(2).normal(size=(8, 3))
    picked = chosen(measured(sound, objective, label, {}, output))
    assert len({one.place for one in picked}) == len(picked)
    right = output.argmax(axis=1) == label
    told = {one.place: one.kind for one in picked}
    assert all(right[place] for place, kind in told.items() if kind == "best")
    # of one sample, of two and of five: at most half of them each, rounded up
    for one, most in ((0, 1), (1, 1), (2, 3)):
        own = [told[place] for place in np.flatnonzero(label == one) if place in told]
        assert own.count("best") == min(most, int(right[label == one].sum()))
        assert own.count("worst") <= most


def test_a_class_that_is_never_told_rightly_has_no_best(sound: Store) -> None:
    objective = ClassificationObjective(ClassifierHead(classes=CLASSES, most_frequent=0))
    output = np.random.default_rng(3).normal(size=(len(LABEL), 3))
    output[:, 1] = -9
    kinds = {(one.group, one.kind) for one in chosen(measured(sound, objective, LABEL, {}, output))}
    assert kinds == {(name, kind) for name in ("no_sub", "vortex") for kind in ("best", "worst")} | {
        ("cdm", "worst")
    }


def test_a_network_without_gradients_has_no_maps(
    sound: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Detached(Corner):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    with caplog.at_level(logging.WARNING):
        told = examples(_classified(sound, Detached()), tmp_path)
    assert len(told) == 24
    assert all(one.map is None for one in told)
    assert "no maps of what the network looks at" in caplog.text
    assert len(list(tmp_path.iterdir())) == 24


def test_numbers_with_units_and_sigmas(sound: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    mass = 10 ** rng.uniform(9, 11, len(LABEL))
    mass[LABEL == 0] = np.nan
    learned = np.where(np.isfinite(mass), np.log10(mass), 0) + 0.1 * (1 + np.arange(len(LABEL)))
    output = np.stack([(learned - 10) / 0.5, np.zeros(len(LABEL))], axis=1)
    target = Target(column="vortex_mass_msun", transform="log10")
    fitted = FittedTarget(target=target, unit="dex", mean=10.0, spread=0.5)
    head = RegressorHead(targets=(fitted,), labels=(0, 1, 2), loss=GaussianLikelihood())
    spec = column("vortex_mass_msun", (1, 2), "Msun")
    planted = measured(
        sound,
        RegressionObjective(head),
        LABEL,
        {spec: mass},
        output,
        _images(),
        nn.Sequential(STRETCH, Corner()),
    )
    told = examples(planted, tmp_path)
    assert [one.sample_id for one in told if one.kind == "best"] == [20, 21, 22, 23]
    assert [one.sample_id for one in told if one.kind == "worst"] == [59, 58, 57, 56]
    first = told[0]
    assert first.measure == pytest.approx(2.1)
    value = f"{mass[20]:.4g}".replace("e+", "e")
    assert first.true == f"vortex_mass_msun {value} Msun"
    assert first.said.endswith(" Msun, sigma 0.5 dex")
    assert first.picture == "best-0-log10_vortex_mass_msun-1.png"


def test_anomalies_and_their_residuals(sound: Store, tmp_path: Path) -> None:
    score = np.random.default_rng(4).normal(size=len(LABEL))
    output = np.stack([score, score, score], axis=1)
    head = AnomalyHead(classes=CLASSES, trained_on=(0,), method=PlainAutoencoder(), latent=2)
    network = nn.Sequential(STRETCH, build_autoencoder("lensmill_autoencoder", Shape(1, SIDE, 2), False))
    planted = measured(sound, AnomalyObjective(head), LABEL, {}, output, _images(), network.eval())
    told = examples(planted, tmp_path)
    best = {one.true: one.measure for one in told[::-1] if one.kind == "best"}
    assert best["no_sub"] == pytest.approx(score[LABEL == 0].min())
    assert best["vortex"] == pytest.approx(score[LABEL == 2].max())
    assert told[0].said == f"score {told[0].measure:.3g}"
    assert all(one.map for one in told)


def test_no_more_than_can_be_looked_at(sound: Store) -> None:
    targets = tuple(
        FittedTarget(target=Target(column=f"c{k}"), unit="1", mean=0.0, spread=1.0) for k in range(30)
    )
    rng = np.random.default_rng(5)
    values = {column(f"c{k}"): rng.normal(size=len(LABEL)) for k in range(30)}
    objective = RegressionObjective(RegressorHead(targets=targets, labels=(0, 1, 2)))
    picked = chosen(measured(sound, objective, LABEL, values, rng.normal(size=(len(LABEL), 30))))
    assert len(picked) == MOST


# -- real runs


def test_examples_of_a_run_are_in_its_report(classifier: Path, sound_store: Order, tmp_path: Path) -> None:
    shutil.copytree(classifier, tmp_path / "run")
    report = evaluate(tmp_path / "run", sound_store.root)
    folder = report_folder(tmp_path / "run", report) / "pictures"
    assert {one.true for one in report.examples} == {"no_sub", "cdm", "vortex"}
    assert len({one.sample_id for one in report.examples}) == len(report.examples) > 6
    assert all(one.said.startswith(f"{one.true} (") for one in report.examples if one.kind == "best")
    for one in report.examples:
        assert one.picture is not None
        assert one.map is not None
        assert (folder / one.picture).is_file()
        assert (folder / one.map).is_file()


def test_a_transformer_shows_its_attention_too(classifier: Path, sound: Store) -> None:
    run = load_run(classifier)
    samples = load_samples(open_store(sound.root), "test", run.objective.labels)
    given, _ = outputs(run, samples)
    seen = samples.take(np.arange(3))
    maps = looked_at(Measured(run, sound, samples, given, "test"), seen, [0, 1, 2])
    assert set(maps) == {"gradients", "attention"}
    assert all(one.shape == (3, 16, 16) for one in maps.values())
