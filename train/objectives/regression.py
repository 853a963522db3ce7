"""Numbers that describe a sample: squared error of standardised, optionally logarithmic columns."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from schemas.columns import ColumnSpec
from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe, Regression, Target
from schemas.registry import unknown_name
from schemas.run import FittedTarget, RegressionMetrics, RegressorHead, TargetMetrics
from storage.reader import Store
from train.augment import check_targets
from train.data import Samples, labels_of
from train.objectives.registry import OBJECTIVES, Predictions
from train.scores import bootstrap

Array = NDArray[np.float64]


@OBJECTIVES.register("regression")
class RegressionObjective:
    """One output per target, standardised inside and physical outside."""

    def __init__(self, head: RegressorHead) -> None:
        self.head = head

    @classmethod
    def fit(cls, experiment: ExperimentRecipe, store: Store) -> RegressorHead:
        assert isinstance(experiment.objective, Regression)
        known = {column.name: column for column in store.plan.columns}
        for target in experiment.objective.targets:
            if target.column not in known:
                raise unknown_name("column", target.column, known)
        columns = [known[target.column] for target in experiment.objective.targets]
        check_targets(experiment.augmentation, columns)
        _check_derived(experiment.objective, columns)
        _check_filled(store, columns)
        chosen = labels_of(store, experiment.data.classes)
        labels = tuple(label for label in chosen if all(label in column.labels for column in columns))
        if not labels:
            raise DataError(
                f"no chosen class has {' and '.join(column.name for column in columns)}",
                expected="targets that apply to at least one class in common",
                where="objective.targets, data.classes",
            )
        split = store.plan.splits[0].name
        rows = np.isin(store.read(split, "label"), labels)
        fitted = [
            _fitted(target, known[target.column].unit, store.column(split, target.column)[rows])
            for target in experiment.objective.targets
        ]
        return RegressorHead(targets=tuple(fitted), labels=labels)

    @property
    def outputs(self) -> int:
        return len(self.head.targets)

    @property
    def labels(self) -> tuple[int, ...]:
        return self.head.labels

    def encode(self, store: Store, samples: Samples) -> Tensor:
        learned = self._learned(store, samples)
        means = np.array([one.mean for one in self.head.targets])
        spreads = np.array([one.spread for one in self.head.targets])
        return torch.from_numpy(((learned - means) / spreads).astype(np.float32))

    def _learned(self, store: Store, samples: Samples) -> Array:
        """The targets as they are learned, before standardisation: (samples, targets)."""
        names = [column.name for column in store.plan.columns]
        for one in self.head.targets:
            if one.target.column not in names:
                raise unknown_name("column", one.target.column, names)
        columns = [samples.params[:, names.index(one.target.column)] for one in self.head.targets]
        return np.stack(
            [transformed(one.target, c) for one, c in zip(self.head.targets, columns, strict=True)], 1
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output, target)

    def _unstandardised(self, output: Array) -> Array:
        means = np.array([one.mean for one in self.head.targets])
        spreads = np.array([one.spread for one in self.head.targets])
        return output * spreads + means

    def predictions(self, output: Array) -> Predictions:
        learned = self._unstandardised(output)
        return {
            f"predicted_{one.target.column}": physical(one.target, learned[:, k])
            for k, one in enumerate(self.head.targets)
        }

    def truth(self, store: Store, samples: Samples) -> Predictions:
        learned = self._learned(store, samples)
        return {
            f"true_{one.target.column}": physical(one.target, learned[:, k])
            for k, one in enumerate(self.head.targets)
        }

    def measure(self, store: Store, samples: Samples, output: Array) -> RegressionMetrics:
        true, predicted = self._learned(store, samples), self._unstandardised(output)
        return RegressionMetrics(
            targets=tuple(
                _measured(one, true[:, k], predicted[:, k]) for k, one in enumerate(self.head.targets)
            )
        )

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


def _fitted(target: Target, unit: str, value: Array) -> FittedTarget:
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
    return FittedTarget(
        target=target, unit="dex" if target.transform == "log10" else unit, mean=mean, spread=spread
    )


def _measured(one: FittedTarget, true: Array, predicted: Array) -> TargetMetrics:
    error, constant = np.abs(predicted - true), np.abs(one.mean - true)
    physical_true = physical(one.target, true)
    relative = np.abs(physical(one.target, predicted) - physical_true) / np.maximum(
        np.abs(physical_true), 1e-300
    )
    usable = np.isfinite(relative) & (physical_true != 0)
    squared = float(np.mean((predicted - true) ** 2))
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
    )
