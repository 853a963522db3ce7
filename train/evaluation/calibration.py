"""Whether what a run says of its certainty holds for samples that its calibration was not fitted on."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm

from schemas.calibration import Calibration, Coverage, Reliability, ReliabilityBin, Thresholds
from schemas.metrics import Interval
from schemas.run import RegressorHead, RunRecord
from train.evaluation.measured import Measured
from train.models.autoencoders import SCORE
from train.objectives.anomaly import AnomalyObjective
from train.objectives.calibration import LEVELS, NEEDED, SHARES
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.scores import intervals, share

Array = NDArray[np.float64]
BINS = 15
# Bins of fewer samples would show little but chance.
SMALLEST_BIN = 10


def reliability(measured: Measured) -> Reliability | None:
    """Confidences against shares that are right; intervals and thresholds against what they hold."""
    objective, calibration = measured.run.objective, measured.run.record.calibration
    if calibration is None:
        return None
    if isinstance(objective, ClassificationObjective):
        return _of_probabilities(objective, measured.samples.label, measured.output)
    if isinstance(objective, RegressionObjective):
        return Reliability(coverage=_of_intervals(objective, measured))
    if isinstance(objective, AnomalyObjective) and isinstance(calibration, Thresholds):
        return Reliability(coverage=_of_thresholds(objective, calibration, measured))
    return None


def uncalibrated(record: RunRecord) -> str | None:
    """Why a run has no calibration, or lacks one for some targets."""
    count = record.data.val_samples
    what = {
        "classification": "probabilities are as the network gives them, not calibrated",
        "regression": "predictions have no intervals",
        "anomaly": "scores have no thresholds",
    }[record.head.kind]
    if record.calibration is None:
        why = f"it takes {NEEDED} validation samples, and there {'is' if count == 1 else 'are'} {count}"
        return f"{what}: {why if count < NEEDED else 'the run was trained before they were fitted'}"
    if isinstance(record.calibration, Thresholds):
        return _without_threshold(record.calibration)
    return _lacking(record.head, record.calibration) if isinstance(record.head, RegressorHead) else None


def _without_threshold(calibration: Thresholds) -> str | None:
    """Which answers predictions lack because too few ordinary samples were there to say what is rare."""
    lacking = {one: round(1 / one) - 1 for one in SHARES if one not in calibration.shares}
    if not lacking:
        return None
    names = ", ".join(f"above_{round(100 * (1 - one))}" for one in lacking)
    return (
        f"predictions have no {names}: it takes {max(lacking.values())} ordinary validation samples,"
        f" and there are {calibration.samples}"
    )


def _lacking(head: RegressorHead, calibration: Calibration) -> str | None:
    there = {one.target for one in getattr(calibration, "targets", ())}
    lacking = [one.target.name for one in head.targets if one.target.name not in there]
    if not lacking:
        return None
    return f"there is no interval of {', '.join(lacking)}: fewer than {NEEDED} validation samples have it"


def _of_probabilities(
    objective: ClassificationObjective, label: NDArray[np.int32], output: Array
) -> Reliability:
    true, probability = objective.positions(label), objective.probabilities(output)
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == true
    before = softmax(output, axis=1).max(axis=1)
    return Reliability(
        error_before=float(_errors(np.ones((1, len(right))), before, right)[0]),
        error=_error_with_interval(confidence, right),
        error_by_chance=_error_by_chance(confidence),
        bins=tuple(_bin(confidence[rows], right[rows]) for rows in bins_of(confidence)),
    )


def bins_of(confidence: Array) -> list[NDArray[np.int64]]:
    """Samples in bins of as many each, from the least to the most confident."""
    count = max(1, min(BINS, len(confidence) // SMALLEST_BIN))
    return np.array_split(np.argsort(confidence, kind="stable"), count)


def _bin(confidence: Array, right: NDArray[np.bool_]) -> ReliabilityBin:
    return ReliabilityBin(
        low=float(confidence.min()),
        high=float(confidence.max()),
        samples=len(right),
        confidence=float(confidence.mean()),
        right=share(int(right.sum()), len(right)),
    )


def _errors(weights: Array, confidence: Array, right: NDArray[np.bool_]) -> Array:
    """Expected calibration error of each resample: the mean over samples of how far their bin is off."""
    off = np.zeros((len(confidence), BINS))
    for k, rows in enumerate(bins_of(confidence)):
        off[rows, k] = confidence[rows] - right[rows]
    return np.asarray(np.abs(weights @ off).sum(axis=1) / weights.sum(axis=1))


def _error_with_interval(confidence: Array, right: NDArray[np.bool_]) -> Interval:
    """Chance makes the error larger, and that of a resample once more: the interval is the reflected one."""

    def statistics(weights: Array) -> Mapping[str, Array]:
        return {"error": _errors(weights, confidence, right)}

    drawn = intervals(statistics, np.zeros(len(right), dtype=np.int64))["error"]
    value = drawn.value
    return Interval(
        value=value, low=max(0.0, min(value, 2 * value - drawn.high)), high=max(value, 2 * value - drawn.low)
    )


def _error_by_chance(confidence: Array, draws: int = 100) -> float:
    """What is found where every confidence is right."""
    rng, once = np.random.default_rng(0), np.ones((1, len(confidence)))
    return float(
        np.mean(
            [_errors(once, confidence, rng.random(len(confidence)) < confidence)[0] for _ in range(draws)]
        )
    )


def _of_intervals(objective: RegressionObjective, measured: Measured) -> tuple[Coverage, ...]:
    error = np.abs(objective.errors(measured.store, measured.samples, measured.output))
    raw = objective.raw_sigma(measured.output)
    half = {level: objective.half_widths(measured.output, level) for level in LEVELS}
    found = []
    for k, one in enumerate(objective.head.targets):
        rows = np.isfinite(error[:, k])
        if one.target.name in objective.conformal:
            own = None if raw is None else raw[rows, k]
            found += [
                _covered(one.target.name, level, error[rows, k], half[level][rows, k], own)
                for level in LEVELS
            ]
    return tuple(found)


def _covered(target: str, level: float, error: Array, half: Array, raw: Array | None) -> Coverage:
    sigmas = float(norm.ppf((1 + level) / 2))
    return Coverage(
        target=target,
        level=level,
        covered=share(int((error <= half).sum()), len(error)),
        before=None if raw is None else float((error <= sigmas * raw).mean()),
        width=float(np.median(2 * half)),
        samples=len(error),
    )


def _of_thresholds(
    objective: AnomalyObjective, calibration: Thresholds, measured: Measured
) -> tuple[Coverage, ...]:
    """How many ordinary samples stay below each threshold."""
    ordinary = measured.output[np.isin(measured.samples.label, objective.trained_labels), SCORE]
    return tuple(
        Coverage(
            target="anomaly_score",
            level=1 - part,
            covered=share(int((ordinary <= score).sum()), len(ordinary)),
            width=score,
            samples=len(ordinary),
        )
        for part, score in zip(calibration.shares, calibration.scores, strict=True)
    )
