"""What something simpler scores on the same samples."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import LensmillError, first_line
from schemas.metrics import Score, scores_of
from schemas.report import Baseline
from train.data import Samples
from train.evaluation.components import features, find_components
from train.evaluation.estimators import Estimator, estimator_of
from train.evaluation.fitted_file import FittedBaselines, load_fitted, save_fitted
from train.evaluation.gains import gains
from train.evaluation.measured import Measured
from train.evaluation.training_samples import training_samples, training_store

Array = NDArray[np.float64]
# Streams of random numbers, beside the experiment's seed.
TRAINING, TEST = 1, 2


class Beside(NamedTuple):
    """What stands beside a model's scores, and why something that should does not."""

    found: tuple[Baseline, ...]
    missing: str | None = None


def baselines(measured: Measured, scores: tuple[Score, ...]) -> Beside:
    """Principal components, shuffled labels and a constant, by the names of the model's scores."""
    estimator = estimator_of(measured.run)
    if estimator is None or not scores:
        return Beside(())
    nothing = np.zeros_like(measured.output)
    constant = Baseline(
        kind="constant",
        what="the same for every image",
        scores=_scores(measured, nothing),
        gain=gains(measured, nothing),
    )
    try:
        fitted = _fitted(measured, estimator)
    except (LensmillError, OSError) as error:
        return Beside((constant,), first_line(error))
    seen = features(measured.run, measured.samples, fitted.components)
    return Beside((*_of_components(measured, estimator, fitted, seen), constant))


def _of_components(
    measured: Measured, estimator: Estimator, fitted: FittedBaselines, seen: Array
) -> tuple[Baseline, Baseline]:
    what = f"{len(fitted.components.directions)} principal components and their residual, {estimator.what}"
    output = estimator.outputs(fitted.estimator, seen)
    by_chance = estimator.outputs(fitted.shuffled, seen)
    return (
        Baseline(
            kind="components", what=what, scores=_scores(measured, output), gain=gains(measured, output)
        ),
        Baseline(
            kind="shuffled",
            what="the same, labels shuffled in training and here",
            scores=_scores(replace(measured, samples=_shuffled(measured)), by_chance),
        ),
    )


def _fitted(measured: Measured, estimator: Estimator) -> FittedBaselines:
    run = measured.run
    kept = load_fitted(run)
    if kept is not None:
        return kept
    store = training_store(measured)
    samples = training_samples(run, store)
    components = find_components(run, samples)
    seen = features(run, samples, components)
    truth = run.objective.encode(store, samples).numpy().astype(np.float64)
    seed = run.record.experiment.seed
    mixed = np.random.default_rng((seed, TRAINING)).permutation(len(samples))
    fitted = FittedBaselines(
        components, estimator.fit(seen, truth, seed), estimator.fit(seen, truth[mixed], seed)
    )
    save_fitted(run, fitted)
    return fitted


def _scores(measured: Measured, output: Array) -> tuple[Score, ...]:
    return scores_of(measured.run.objective.measure(measured.store, measured.samples, output))


def _shuffled(measured: Measured) -> Samples:
    """The same images with the labels and numbers of others."""
    samples = measured.samples
    mixed = np.random.default_rng((measured.run.record.experiment.seed, TEST)).permutation(len(samples))
    return replace(samples, label=samples.label[mixed], params=samples.params[mixed])
