"""Numbers that describe a sample: errors of standardised, optionally logarithmic columns."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.columns import ColumnSpec
from schemas.errors import DataError, UnknownNameError
from schemas.experiment import ExperimentRecipe, ModelOptions
from schemas.metrics import RegressionMetrics, TargetMetrics
from schemas.objective import GaussianLikelihood, Regression, Target
from schemas.registry import unknown_name
from schemas.run import FittedTarget, NetworkInput, RegressorHead
from storage.reader import Store
from train.data import Samples, labels_of
from train.models.assembly import Assembled, assemble, rebuild
from train.models.registry import Shape
from train.objectives.likelihood import ErrorOf, error_of, training_error_of, variance_of
from train.objectives.registry import OBJECTIVES, Predictions
from train.scores import bootstrap
from train.target_motion import check_targets, period_of

Array = NDArray[np.float64]


@OBJECTIVES.register("regression")
class RegressionObjective:
    """One output per target, standardised inside and physical outside; a second one for its variance."""

    def __init__(self, head: RegressorHead) -> None:
        self.head = head

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

    def sigma(self, output: Array) -> Array | None:
        """Standard deviations of the learned quantities, if they are predicted."""
        if not self.probabilistic:
            return None
        _, log_variance = variance_of(torch.from_numpy(output))
        spreads = np.array([one.spread for one in self.head.targets])
        return np.asarray(np.exp(0.5 * log_variance.numpy()) * spreads)

    def predictions(self, output: Array) -> Predictions:
        learned, sigma = self._unstandardised(output), self.sigma(output)
        columns: Predictions = {
            f"predicted_{one.target.column}": _reduced(one, physical(one.target, learned[:, k]))
            for k, one in enumerate(self.head.targets)
        }
        if sigma is not None:
            columns |= {f"sigma_{one.target.column}": sigma[:, k] for k, one in enumerate(self.head.targets)}
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
            found.append(_measured(one, true[rows, k], predicted[rows, k], own))
        return RegressionMetrics(targets=tuple(found))

    def headline(self, metrics: RegressionMetrics) -> str:
        return "; ".join(
            f"{one.target} MAE {one.mae.value:.4g} [{one.mae.low:.4g}, {one.mae.high:.4g}] {one.unit}"
            f" (constant {one.constant_mae.value:.4g}), R2 {one.r2:.3f}"
            for one in metrics.targets
        )


def transformed(target: Target, value: Array) -> Array:
    """A physical value as it is learned."""
    return np.log10(value) if target.transform == "log10" else value


def physical(target: Target, learned: Array) -> Array:
    """A learned value in its physical unit."""
    return np.asarray(10.0**learned) if target.transform == "log10" else learned


def _reduced(one: FittedTarget, value: Array) -> Array:
    """A direction within one period: an image cannot tell the others from it."""
    return value if one.period is None else np.mod(value, one.period)


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


def _difference(one: FittedTarget, value: Array, true: Array) -> Array:
    """How far apart two values are; directions along the shorter way round."""
    if one.period is None or one.target.transform == "log10":
        return value - true
    return np.mod(value - true + one.period / 2, one.period) - one.period / 2


def _measured(one: FittedTarget, true: Array, predicted: Array, sigma: Array | None) -> TargetMetrics:
    off = _difference(one, predicted, true)
    error, constant = np.abs(off), np.abs(_difference(one, np.full_like(true, one.mean), true))
    physical_true = physical(one.target, true)
    relative = np.abs(physical(one.target, true + off) - physical_true) / np.maximum(
        np.abs(physical_true), 1e-300
    )
    usable = np.isfinite(relative) & (physical_true != 0)
    squared = float(np.mean(off**2))
    variance = float(true.var())
    return TargetMetrics(
        target=one.target.name,
        unit=one.unit,
        mae=bootstrap(lambda rows: float(error[rows].mean()), len(true)),
        rmse=squared**0.5,
        r2=1 - squared / variance if variance else 0.0,
        percentage_error=100 * float(np.median(relative[usable])) if usable.any() else None,
        constant_mae=bootstrap(lambda rows: float(constant[rows].mean()), len(true)),
        mae_gain=bootstrap(lambda rows: float((constant - error)[rows].mean()), len(true)),
        samples=len(true),
        sigma=None if sigma is None else float(np.median(sigma)),
        within_sigma=None if sigma is None else float((error < sigma).mean()),
    )
