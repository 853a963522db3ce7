"""Temperatures, intervals and thresholds: fitted as the books say, and true to their word on new samples."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from schemas.calibration import Conformal, ConformalTarget, Temperature, Thresholds
from schemas.experiment import ExperimentRecipe
from schemas.run import RunRecord
from storage.reader import Store, open_store
from train.data import load_samples
from train.evaluate import evaluate, report_folder
from train.evaluation.calibration import reliability, uncalibrated
from train.evaluation.measured import Measured
from train.evaluation.speed import speeds
from train.fit import fit
from train.models.autoencoders import SCORE
from train.objectives import fit_head, objective_of
from train.objectives.calibration import (
    LEVELS,
    NEEDED,
    fit_conformal,
    fit_temperature,
    fit_thresholds,
    quantile_of,
)
from train.predict import outputs, predict
from train.records.run_folder import Run, load_run

Array = NDArray[np.float64]
MakeExperiment = Callable[..., ExperimentRecipe]


def _logits(samples: int, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    """Outputs whose softmax is the truth, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    output = rng.normal(scale=1.5, size=(samples, 3))
    ends = softmax(output, axis=1).cumsum(axis=1)
    return output, (rng.random(samples)[:, None] > ends).sum(axis=1).clip(max=2)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_a_temperature_undoes_what_made_a_network_too_sure(factor: float) -> None:
    output, true = _logits(20_000)
    found = fit_temperature(factor * output, true)
    assert found is not None
    assert found.temperature == pytest.approx(factor, rel=0.05)
    assert found.samples == 20_000


def test_a_temperature_is_that_of_the_largest_likelihood() -> None:
    output, true = _logits(80, seed=3)
    found = fit_temperature(output, true)
    assert found is not None

    def cost(temperature: float) -> float:
        return -float(np.log(softmax(output / temperature, axis=1)[np.arange(80), true]).sum())

    assert all(
        cost(found.temperature) <= cost(found.temperature * other) for other in (0.97, 0.99, 1.01, 1.03)
    )


def test_a_network_that_is_always_right_is_not_made_surer() -> None:
    found = fit_temperature(5 * np.eye(3)[np.arange(60) % 3], np.arange(60) % 3)
    assert found is not None
    assert found.temperature == pytest.approx(1, rel=1e-4)


def test_too_few_samples_have_no_calibration() -> None:
    few = NEEDED - 1
    assert fit_temperature(np.zeros((few, 3)), np.zeros(few, dtype=int)) is None
    assert fit_conformal(["x"], np.zeros((few, 1)), None, [None]) is None
    assert fit_thresholds(np.zeros(few)) is None
    assert fit_thresholds(np.arange(float(NEEDED))) is not None


@pytest.mark.parametrize(
    ("values", "level", "expected"), [(9, 0.9, 8), (9, 0.91, math.inf), (99, 0.9, 89), (10, 0.5, 5)]
)
def test_a_quantile_counts_the_new_sample_too(values: int, level: float, expected: float) -> None:
    given = np.random.default_rng(0).permutation(np.arange(float(values)))
    assert quantile_of(given, level) == expected


def test_intervals_hold_as_many_new_values_as_they_say() -> None:
    rng = np.random.default_rng(3)
    held = dict.fromkeys(LEVELS, 0.0)
    for _ in range(400):
        found = fit_conformal(["x"], rng.exponential(size=(59, 1)), None, [None])
        assert found is not None
        for level, half in zip(LEVELS, found.targets[0].half_widths, strict=True):
            held[level] += (1 - math.exp(-half)) / 400
    # the promise holds on the average over fits, and no distribution is assumed
    for level in LEVELS:
        assert held[level] == pytest.approx(math.ceil(60 * level) / 60, abs=0.008)


def test_intervals_in_sigmas_are_as_wide_as_each_sample_needs() -> None:
    rng = np.random.default_rng(4)
    truth = np.where(np.arange(4000) % 2, 1.0, 10.0)[:, None]
    error = rng.normal(size=(4000, 1)) * truth
    # twice too wide, as a network may think
    found = fit_conformal(["x"], error, 2 * truth, [None])
    assert found is not None
    assert found.targets[0].in_sigmas
    assert found.targets[0].half_widths == pytest.approx((0.5, 0.822, 0.98), rel=0.05)


def test_targets_of_few_samples_are_left_out_and_directions_end_at_half_a_period() -> None:
    error = np.random.default_rng(5).uniform(-1, 1, size=(100, 3))
    error[30:, 1] = np.nan
    found = fit_conformal(["x", "rare", "angle"], error, None, [None, None, 1.2])
    assert found is not None
    assert [one.target for one in found.targets] == ["x", "angle"]
    assert found.targets[1].half_widths[1:] == (0.6, 0.6)


def test_thresholds_are_those_that_so_many_samples_allow() -> None:
    score = np.random.default_rng(6).permutation(np.arange(1.0, 61.0))
    found = fit_thresholds(score)
    assert found is not None
    assert found.shares == (0.05, 0.1)
    assert found.scores == (58.0, 55.0)
    more = fit_thresholds(np.arange(1.0, 200.0))
    assert more is not None
    assert more.shares == (0.01, 0.05, 0.1)


# -- what objectives make of them


def test_probabilities_are_calibrated_and_classes_stay(experiment: MakeExperiment, sound: Store) -> None:
    head = fit_head(experiment(), sound)
    output = np.random.default_rng(0).normal(size=(40, 3))
    one = objective_of(head).predictions(output)
    other = objective_of(head, Temperature(temperature=2.0, samples=60)).predictions(output)
    assert (one["predicted"] == other["predicted"]).all()
    assert np.allclose(other["probability_cdm"], softmax(output / 2, axis=1)[:, 1])


def _widths(target: str, in_sigmas: bool = False, half: float = 0.1) -> Conformal:
    fitted = ConformalTarget(
        target=target,
        levels=LEVELS,
        half_widths=(half, 2 * half, 3 * half),
        in_sigmas=in_sigmas,
        samples=60,
    )
    return Conformal(targets=(fitted,), samples=60)


def test_numbers_get_the_ends_of_their_intervals(experiment: MakeExperiment, sound: Store) -> None:
    head = fit_head(experiment("regression"), sound)
    output = np.random.default_rng(0).normal(size=(5, 2))
    found = objective_of(head, _widths("log10(source_R_sersic)")).predictions(output)
    assert "low_theta_E" not in found
    predicted = found["predicted_source_R_sersic"]
    assert np.allclose(found["low_source_R_sersic"], predicted * 10**-0.2)
    assert np.allclose(found["high_source_R_sersic"], predicted * 10**0.2)


def test_predicted_sigmas_are_calibrated(experiment: MakeExperiment, sound: Store) -> None:
    asked = {"kind": "regression", "targets": [{"column": "theta_E"}], "loss": "gaussian"}
    head = fit_head(experiment("regression", objective=asked), sound)
    output = np.random.default_rng(0).normal(size=(5, 2))
    before = objective_of(head).predictions(output)
    found = objective_of(head, _widths("theta_E", True, 0.8)).predictions(output)
    assert np.allclose(found["sigma_theta_E"], 0.8 * before["sigma_theta_E"])
    assert np.allclose(found["high_theta_E"] - found["low_theta_E"], 2 * 1.6 * before["sigma_theta_E"])


def test_intervals_of_directions_go_round(experiment: MakeExperiment, sound: Store) -> None:
    asked = {"kind": "regression", "targets": [{"column": "vortex_angle_rad"}]}
    head = fit_head(experiment("regression", objective=asked), sound)
    (one,) = head.targets
    angles = np.array([[0.1], [1.5], [3.1]])
    output = (angles - one.mean) / one.spread
    found = objective_of(head, _widths("vortex_angle_rad")).predictions(output)
    assert np.allclose(found["low_vortex_angle_rad"], [math.pi - 0.1, 1.3, 2.9])
    assert np.allclose(found["high_vortex_angle_rad"], [0.3, 1.7, 3.3 - math.pi])
    found = objective_of(head, _widths("vortex_angle_rad", half=0.8)).predictions(output)
    assert np.allclose(found["low_vortex_angle_rad"], 0)
    assert np.allclose(found["high_vortex_angle_rad"], math.pi)


def test_scores_are_held_against_thresholds(experiment: MakeExperiment, sound: Store) -> None:
    head = fit_head(experiment("anomaly"), sound)
    output = np.zeros((3, 3))
    output[:, SCORE] = [0.5, 1.0, 1.5]
    calibration = Thresholds(shares=(0.01, 0.05), scores=(1.2, 1.0), samples=120)
    found = objective_of(head, calibration).predictions(output)
    assert found["above_99"].tolist() == [False, False, True]
    assert found["above_95"].tolist() == [False, False, True]
    assert "above_90" not in found


# -- from training to the report

ANOMALY = {"kind": "anomaly", "trained_on": ["no_sub", "cdm"]}
GAUSSIAN = {
    "kind": "regression",
    "loss": "gaussian",
    "targets": [{"column": "theta_E"}, {"column": "axion_mass_ev", "transform": "log10"}],
}
KINDS: dict[str, dict[str, Any]] = {
    "classification": {},
    "regression": {"objective": GAUSSIAN},
    "anomaly": {"objective": ANOMALY},
}


@pytest.fixture(scope="module")
def wide(another_store: Callable[..., Path]) -> Path:
    """A store with 90 validation samples."""
    return another_store("seed=601", "samples_per_class=50", "splits={train: 0.2, val: 0.6, test: 0.2}")


@pytest.fixture(scope="module", params=KINDS)
def run(
    request: pytest.FixtureRequest,
    experiment: MakeExperiment,
    wide: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "run"
    fit(experiment(request.param, **KINDS[request.param]), wide, out, quiet=True)
    return out


COLUMNS = {
    "classification": {"probability_vortex", "predicted"},
    "regression": {"sigma_theta_E", "low_theta_E", "high_theta_E", "sigma_axion_mass_ev"},
    "anomaly": {"above_95", "above_90", "anomaly_score"},
}
PICTURES = {"classification": "reliability.png", "regression": "coverage.png", "anomaly": "coverage.png"}
WARNINGS = {
    "classification": (),
    "regression": ("there is no interval of log10(axion_mass_ev): fewer than 50 validation samples have it",),
    "anomaly": ("predictions have no above_99: it takes 99 ordinary validation samples, and there are 60",),
}


def test_a_calibration_goes_from_training_to_report_and_predictions(run: Path, wide: Path) -> None:
    record = load_run(run).record
    kind = record.head.kind
    assert record.calibration is not None
    assert record.calibration.samples == {"classification": 90, "regression": 90, "anomaly": 60}[kind]
    report = evaluate(run, wide)
    assert report.warnings == WARNINGS[kind]
    folder = report_folder(run, report)
    assert (folder / "pictures" / PICTURES[kind]).is_file()
    table = pq.read_table(folder / "predictions.parquet")
    assert COLUMNS[kind] <= set(table.column_names)
    assert "low_axion_mass_ev" not in table.column_names
    predicted = predict(run, [wide])
    for name in COLUMNS[kind]:
        assert predicted[name].to_pylist() == table[name].to_pylist()
    assert report.reliability is not None
    if kind == "classification":
        assert sum(one.samples for one in report.reliability.bins) == report.samples
        assert report.reliability.error is not None
    else:
        held = {(one.target, one.level): one.covered.value for one in report.reliability.coverage}
        assert set(held) == (
            {("theta_E", level) for level in LEVELS}
            if kind == "regression"
            else {("anomaly_score", 0.95), ("anomaly_score", 0.9)}
        )


def test_the_same_training_has_the_same_calibration(
    run: Path, experiment: MakeExperiment, wide: Path, tmp_path: Path
) -> None:
    record = load_run(run).record
    again = fit(record.experiment, wide, tmp_path / "again", quiet=True)
    assert again.calibration == record.calibration


@pytest.mark.slow
def test_two_processes_calibrate_as_one(experiment: MakeExperiment, wide: Path, tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_size": 16, "precision": "float32", "devices": 2}
    record = fit(experiment(training=training), wide, tmp_path / "run", quiet=True)
    assert record.calibration is not None
    assert record.calibration.samples == 90
    # what is kept is fitted to the network that is kept
    run = load_run(tmp_path / "run")
    store = open_store(wide)
    val = load_samples(store, "val", run.objective.labels)
    found = run.objective.calibrate(store, val, outputs(run, val)[0])
    assert isinstance(found, Temperature)
    assert found.temperature == pytest.approx(getattr(record.calibration, "temperature", None), rel=1e-4)


def test_intervals_of_the_report_are_those_of_the_predictions(run: Path, wide: Path) -> None:
    loaded = load_run(run)
    if loaded.record.head.kind != "regression":
        return
    report = evaluate(run, wide)
    table = pq.read_table(report_folder(run, report) / "predictions.parquet")
    low, high, true, said, sigma = (
        table[f"{what}_theta_E"].to_numpy() for what in ("low", "high", "true", "predicted", "sigma")
    )
    assert report.reliability is not None
    (at_90,) = [one for one in report.reliability.coverage if one.level == 0.9]
    assert at_90.covered.value == pytest.approx(((low <= true) & (true <= high)).mean())
    metrics: Any = report.metrics
    assert metrics.targets[0].within_sigma == pytest.approx((np.abs(said - true) < sigma).mean())


def test_a_run_without_calibration_says_why(classifier: Path, run: Path) -> None:
    record = load_run(classifier).record
    assert record.calibration is None
    assert "50 validation samples, and there are 6" in (uncalibrated(record) or "")
    older = json.loads((run / "run.json").read_text()) | {"calibration": None}
    assert "before they were fitted" in (uncalibrated(RunRecord.model_validate_json(json.dumps(older))) or "")


# -- what the report measures


class _Known:
    """Samples of which labels alone are asked for."""

    def __init__(self, label: NDArray[np.int64]) -> None:
        self.label = label.astype(np.int32)


def _of_classifier(classifier: Path, sound: Store, factor: float, temperature: float) -> Any:
    loaded = load_run(classifier)
    calibration = Temperature(temperature=temperature, samples=100)
    record = loaded.record.model_copy(update={"calibration": calibration})
    made = Run(loaded.root, record, objective_of(record.head, calibration), loaded.network)
    output, true = _logits(6000, seed=8)
    labels = np.array([one.label for one in record.head.classes])  # type: ignore[union-attr]
    samples: Any = _Known(labels[true])
    return reliability(Measured(made, sound, samples, factor * output, "test"))


def test_the_error_of_honest_probabilities_is_that_of_chance(classifier: Path, sound: Store) -> None:
    found = _of_classifier(classifier, sound, 1.0, 1.0)
    assert found.error.value == found.error_before
    assert found.error.value == pytest.approx(found.error_by_chance, abs=0.006)
    assert found.error.low < 0.008
    assert len(found.bins) == 15
    assert {one.samples for one in found.bins} == {400}
    inside = sum(one.right.low <= one.confidence <= one.right.high for one in found.bins)
    assert inside >= 13


def test_a_temperature_lowers_the_error_of_a_network_too_sure(classifier: Path, sound: Store) -> None:
    found = _of_classifier(classifier, sound, 3.0, 3.0)
    assert found.error_before > 0.1
    assert found.error.high < 0.03
    worse = _of_classifier(classifier, sound, 1.0, 0.3)
    assert worse.error.low > 0.05


def test_speeds_of_one_image_and_of_many(classifier: Path, sound: Store) -> None:
    loaded = load_run(classifier)
    samples = load_samples(sound, "test", loaded.objective.labels)
    one, many = speeds(Measured(loaded, sound, samples, np.zeros((len(samples), 3)), "test"))
    assert one.batch == 1
    assert 2 <= many.batch <= 256
    assert min(one.ms_per_image, many.ms_per_image) > 0
    assert one.device == many.device
    halved = loaded.record.model_copy(update={"images_at_once": 4})
    _, few = speeds(
        Measured(
            Run(loaded.root, halved, loaded.objective, loaded.network),
            sound,
            samples,
            np.zeros((1, 3)),
            "test",
        )
    )
    assert few.batch <= 4
