"""Numbers that describe a sample: errors of standardised, optionally logarithmic columns."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.calibration import Calibration, Conformal
from schemas.columns import ColumnSpec
from schemas.errors import DataError, UnknownNameError
from schemas.experiment import ExperimentRecipe, ModelOptions
from schemas.metrics import RegressionMetrics
from schemas.objective import GaussianLikelihood, Regression, Target
from schemas.registry import unknown_name
from schemas.run import FittedTarget, NetworkInput, RegressorHead
from storage.reader import Store
from train.data import Samples, labels_of
from train.models.assembly import Assembled, assemble, rebuild
from train.models.registry import Shape
from train.objectives.calibration import ONE_SIGMA, SHOWN, fit_conformal, width_at
from train.objectives.likelihood import ErrorOf, error_of, training_error_of, variance_of
from train.objectives.registry import OBJECTIVES, Predictions
from train.objectives.target_errors import difference, goes_round, measure_target, physical, transformed
from train.target_motion import check_targets, period_of

Array = NDArray[np.float64]


@OBJECTIVES.register("regression")
class RegressionObjective:
    """One output per target, standardised inside and physical outside; a second one for its variance."""

    def __init__(self, head: RegressorHead, calibration: Calibration | None = None) -> None:
        self.head = head
        found = calibration.targets if isinstance(calibration, Conformal) else ()
        self.conformal = {one.target: one for one in found}

    @classmethod
    def fit(cls, experiment: ExperimentRecipe, store: Store) -> RegressorHead:
        assert isinstance(experiment.objective, Regression)
        known = {column.name: column for column in store.plan.columns}
        targets = experiment.objective.targets
        _check_known(targets, store)
        columns = [known[target.column] for target in targets]
        check_targets(experiment.augmentation, [column.name for column in columns], store)
        _check_derived(experiment.objective, columns)
        _check_filled(store, columns)
        chosen = labels_of(store, experiment.data.classes)
        _check_applies(columns, chosen)
        labels = tuple(label for label in chosen if any(label in column.labels for column in columns))
        split = store.plan.splits[0].name
        label = store.read(split, "label")
        fitted = [
            _fitted(
                target,
                column.unit,
                store.column(split, target.column)[np.isin(label, labels) & np.isin(label, column.labels)],
                period_of(store, column.name),
            )
            for target, column in zip(targets, columns, strict=True)
        ]
        return RegressorHead(targets=tuple(fitted), labels=labels, loss=experiment.objective.loss)

    @property
    def probabilistic(self) -> bool:
        """Whether variances are learned."""
        return isinstance(self.head.loss, GaussianLikelihood)

    @property
    def outputs(self) -> int:
        return len(self.head.targets) * (2 if self.probabilistic else 1)

    @property
    def labels(self) -> tuple[int, ...]:
        return self.head.labels

    @property
    def trained_labels(self) -> tuple[int, ...]:
        return self.labels

    def build(self, model: ModelOptions, shape: Shape) -> Assembled:
        return assemble(model, shape)

    def rebuild(self, model: ModelOptions, shape: Shape, way: NetworkInput | None) -> nn.Module:
        return rebuild(model.name, shape, way)

    def phase(self, epoch: int) -> int:
        return 0

    def encode(self, store: Store, samples: Samples) -> Tensor:
        learned = self._learned(store, samples)
        means = np.array([one.mean for one in self.head.targets])
        spreads = np.array([one.spread for one in self.head.targets])
        return torch.from_numpy(((learned - means) / spreads).astype(np.float32))

    def _learned(self, store: Store, samples: Samples) -> Array:
        """The targets as they are learned, before standardisation: (samples, targets), NaN where none."""
        names = [column.name for column in store.plan.columns]
        for one in self.head.targets:
            if one.target.column not in names:
                advice = "give a store that has it, as the training data did"
                raise unknown_name(
                    "column", one.target.column, names, advice, where=f"the store {store.root}"
                )
        columns = [
            _reduced(one, samples.params[:, names.index(one.target.column)]) for one in self.head.targets
        ]
        return np.stack(
            [transformed(one.target, c) for one, c in zip(self.head.targets, columns, strict=True)], 1
        )

    def loss(self, output: Tensor, target: Tensor, epoch: int | None = None) -> Tensor:
        return self._mean_error(error_of, output, target)

    def weight(self, target: Tensor) -> Tensor:
        return torch.isfinite(target).sum().clamp(min=1)

    def training_loss(self, output: Tensor, target: Tensor, epoch: int) -> Tensor:
        return self._mean_error(training_error_of, output, target)

    def _mean_error(self, error: ErrorOf, output: Tensor, target: Tensor) -> Tensor:
        """Over all targets that are there, so that one of few samples counts little."""
        # a class that a target does not apply to has NaN there; the gradient must not see it
        there = torch.isfinite(target)
        each = error(self.head.loss, output, torch.where(there, target, torch.zeros_like(target)))
        return torch.where(there, each, torch.zeros_like(each)).sum() / self.weight(target)

    def _unstandardised(self, output: Array) -> Array:
        means = np.array([one.mean for one in self.head.targets])
        spreads = np.array([one.spread for one in self.head.targets])
        return output[:, : len(means)] * spreads + means

    def raw_sigma(self, output: Array) -> Array | None:
        """Standard deviations of the learned quantities as the network gives them, if it does."""
        if not self.probabilistic:
            return None
        _, log_variance = variance_of(torch.from_numpy(output))
        spreads = np.array([one.spread for one in self.head.targets])
        return np.asarray(np.exp(0.5 * log_variance.numpy()) * spreads)

    def sigma(self, output: Array) -> Array | None:
        """The same, calibrated: 68.3% of the errors are within them."""
        raw = self.raw_sigma(output)
        if raw is None:
            return None
        fitted = [self.conformal.get(one.target.name) for one in self.head.targets]
        return raw * np.array([1.0 if one is None else width_at(one, ONE_SIGMA) for one in fitted])

    def half_widths(self, output: Array, level: float) -> Array:
        """Of the intervals that are to hold the true values, as learned; NaN for what is not calibrated."""
        found, raw = np.full((len(output), len(self.head.targets)), np.nan), self.raw_sigma(output)
        for k, one in enumerate(self.head.targets):
            fitted = self.conformal.get(one.target.name)
            if fitted is not None:
                scale = raw[:, k] if fitted.in_sigmas and raw is not None else 1.0
                found[:, k] = scale * width_at(fitted, level)
        return found

    def predictions(self, output: Array) -> Predictions:
        learned, sigma = self._unstandardised(output), self.sigma(output)
        columns: Predictions = {
            f"predicted_{one.target.column}": _reduced(one, physical(one.target, learned[:, k]))
            for k, one in enumerate(self.head.targets)
        }
        if sigma is not None:
            columns |= {f"sigma_{one.target.column}": sigma[:, k] for k, one in enumerate(self.head.targets)}
        half = self.half_widths(output, SHOWN)
        for k, one in enumerate(self.head.targets):
            if one.target.name in self.conformal:
                columns |= _ends(one, learned[:, k], half[:, k])
        return columns

    def truth(self, store: Store, samples: Samples) -> Predictions:
        learned = self._learned(store, samples)
        return {
            f"true_{one.target.column}": physical(one.target, learned[:, k])
            for k, one in enumerate(self.head.targets)
        }

    def measure(self, store: Store, samples: Samples, output: Array) -> RegressionMetrics:
        true, predicted = self._learned(store, samples), self._unstandardised(output)
        sigma = self.sigma(output)
        found = []
        for k, one in enumerate(self.head.targets):
            rows = np.isfinite(true[:, k])
            if not rows.any():
                raise DataError(
                    f"no sample of the split has the target {one.target.column}", where=str(store.root)
                )
            own = None if sigma is None else sigma[rows, k]
            found.append(measure_target(one, true[rows, k], predicted[rows, k], own))
        return RegressionMetrics(targets=tuple(found))

    def errors(self, store: Store, samples: Samples, output: Array) -> Array:
        """Predicted minus true as learned: (samples, targets), NaN where a sample has no such target."""
        true, predicted = self._learned(store, samples), self._unstandardised(output)
        return np.stack(
            [difference(one, predicted[:, k], true[:, k]) for k, one in enumerate(self.head.targets)], 1
        )

    def calibrate(self, store: Store, samples: Samples, output: Array) -> Conformal | None:
        targets = self.head.targets
        return fit_conformal(
            [one.target.name for one in targets],
            self.errors(store, samples, output),
            self.raw_sigma(output),
            [one.period if goes_round(one) else None for one in targets],
        )

    def headline(self, metrics: RegressionMetrics) -> str:
        return "; ".join(
            f"{one.target} MAE {one.mae.value:.4g} [{one.mae.low:.4g}, {one.mae.high:.4g}] {one.unit}"
            f" (constant {one.constant_mae.value:.4g}), R2 {one.r2.value:.3f}"
            for one in metrics.targets
        )


def _reduced(one: FittedTarget, value: Array) -> Array:
    """A direction within one period: an image cannot tell the others from it."""
    return value if one.period is None else np.mod(value, one.period)


def _ends(one: FittedTarget, learned: Array, half: Array) -> Predictions:
    """Where the interval of each prediction ends, in physical terms.

    That of a direction may go over the end of a period: `low` is above `high` then.
    """
    low, high = (physical(one.target, learned + step) for step in (-half, half))
    if one.period is not None:
        everything = high - low >= one.period
        low = np.where(everything, 0.0, _reduced(one, low))
        high = np.where(everything, one.period, _reduced(one, high))
    return {f"low_{one.target.column}": low, f"high_{one.target.column}": high}


def _check_known(targets: Sequence[Target], store: Store) -> None:
    """Every target is a column; else those are named that could be one."""
    known = {column.name for column in store.plan.columns}
    free = [column.name for column in store.plan.columns if not column.derived]
    unknown = [target.column for target in targets if target.column not in known]
    where = f"objective.targets; the store {store.root}"
    advice = "import the images again with columns beside them (--params, --columns)"
    if free:
        advice = f"choose columns of the store: --set 'objective.targets=[{{column: {free[0]}}}]'"
    if len(unknown) == 1 and free:
        raise unknown_name("column", unknown[0], free, advice, where=where)
    if unknown:
        raise UnknownNameError(
            f"unknown column{'s' if unknown[1:] else ''} {', '.join(map(repr, unknown))}",
            expected=f"one of {', '.join(sorted(free))}" if free else "a column to learn; the store has none",
            where=where,
            advice=advice,
        )


def _check_derived(objective: Regression, columns: list[ColumnSpec]) -> None:
    derived = [column.name for column in columns if column.derived]
    if derived and not objective.allow_derived:
        raise DataError(
            f"the target {derived[0]} follows from other columns and betrays the class of an image",
            expected="targets that are drawn alike in every class, such as theta_E",
            where="objective.targets",
            advice="choose another column; if you mean it, set objective.allow_derived to true",
        )


def _check_filled(store: Store, columns: list[ColumnSpec]) -> None:
    for column in columns:
        empty = [one.name for one in store.plan.splits if one.name not in (column.splits or (one.name,))]
        if empty:
            raise DataError(
                f"the target {column.name} is not filled in in {' and '.join(empty)}",
                expected="targets that every split has",
                where="objective.targets",
                advice=f"choose another column, or simulate with it in {' and '.join(empty)} too",
            )


def _check_applies(columns: list[ColumnSpec], chosen: tuple[int, ...]) -> None:
    nowhere = [column.name for column in columns if not set(chosen) & set(column.labels)]
    if nowhere:
        raise DataError(
            f"no chosen class has {' or '.join(nowhere)}",
            expected="targets that apply to at least one chosen class each",
            where="objective.targets, data.classes",
        )


def _fitted(target: Target, unit: str, value: Array, period: float | None) -> FittedTarget:
    value = value if period is None else np.mod(value, period)
    if target.transform == "log10" and (value <= 0).any():
        raise DataError(
            f"column {target.column} has values of zero or below, which have no logarithm",
            where="objective.targets",
            advice="set transform: none for it",
        )
    learned = transformed(target, value)
    mean, spread = float(learned.mean()), float(learned.std())
    # a constant column has a spread of rounding errors
    if not spread > 1e-9 * max(abs(mean), 1e-300):
        raise DataError(
            f"column {target.column} is the same ({value[0]:g} {unit}) in all training samples",
            expected="a target that varies",
            where="objective.targets",
            advice="choose another column; `lensmill info STORE` lists them",
        )
    unit = "dex" if target.transform == "log10" else unit
    return FittedTarget(target=target, unit=unit, mean=mean, spread=spread, period=period)
