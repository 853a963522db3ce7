"""What might tell a pair of classes apart, one question each, all with the same share of the level."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from schemas.audit import AuditRow, Kind, Separation
from schemas.store import ClassSpec
from storage.audit.classifier import cross_fitted, most_features, normal_scores, with_products
from storage.audit.components import COMPONENTS, Components, principal_components
from storage.audit.evidence import Evidence
from storage.audit.separation import separate
from storage.audit.statistics import FLUX

Array = NDArray[np.float64]
Pair = tuple[ClassSpec, ClassSpec]
# Substructure changes the magnification a little, even where it takes its mass from the smooth lens: vortices
# of 3e9 to 1e11 solar masses leave an AUC of .478. So this much of total flux does not fail the audit.
FLUX_TOLERANCE = 0.05
FEWEST_PICTURED = 40


@dataclass(frozen=True)
class Question:
    """How well something tells two classes apart. `answer` takes the level of one test."""

    subject: str
    kind: Kind
    pair: Pair
    gates: bool
    tests: int
    answer: Callable[[float], tuple[Separation, ...]]
    tolerance: float = 0.0

    def ask(self, level: float) -> AuditRow:
        """The row of the audit."""
        return AuditRow(
            subject=self.subject,
            kind=self.kind,
            first=self.pair[0].name,
            second=self.pair[1].name,
            gates=self.gates,
            tolerance=self.tolerance,
            separations=self.answer(level),
        )


def questions_of(evidence: Evidence, strict: bool = False) -> list[Question]:
    """All questions, subject by subject: what gates first."""
    return [
        *_by_number(evidence, evidence.columns, "column", True),
        *_by_classifier(evidence, evidence.columns, "together", "all columns", True),
        *_by_number(evidence, _fluxes(evidence), "flux", True, 0.0 if strict else FLUX_TOLERANCE),
        *_by_number(evidence, _others(evidence), "image", strict),
        *_by_classifier(evidence, evidence.statistics, "image", "all image statistics", strict),
        *_by_number(evidence, evidence.derived, "derived", False),
        *_by_components(evidence),
    ]


def constant(values: Array) -> bool:
    """Whether a column never changes."""
    return bool((values == values[0]).all() or not np.isfinite(values).any())


def _fluxes(evidence: Evidence) -> dict[str, Array]:
    """Total flux, and that of each channel."""
    names = [name for name in evidence.statistics if name == FLUX or name.removeprefix(f"{FLUX}_").isdigit()]
    return {name: evidence.statistics[name] for name in names}


def _others(evidence: Evidence) -> dict[str, Array]:
    fluxes = _fluxes(evidence)
    return {name: values for name, values in evidence.statistics.items() if name not in fluxes}


def _by_number(
    evidence: Evidence, numbers: dict[str, Array], kind: Kind, gates: bool, tolerance: float = 0.0
) -> list[Question]:
    def answer(values: Array, pair: Pair, level: float) -> tuple[Separation, ...]:
        # a derived column may be filled in some splits only
        told = np.isfinite(values) | (kind != "derived")
        first, second = (values[told & (evidence.label == one.label)] for one in pair)
        return separate(first, second, level)

    return [
        Question(name, kind, pair, gates, 2, partial(answer, values, pair), tolerance)
        for name, values in numbers.items()
        if not constant(values)
        for pair in evidence.pairs
    ]


def _by_classifier(
    evidence: Evidence, numbers: dict[str, Array], kind: Kind, subject: str, gates: bool
) -> list[Question]:
    varying = [values for values in numbers.values() if not constant(values)]

    @cache
    def scores() -> Array:
        return np.stack([normal_scores(values) for values in varying], axis=1)

    def answer(pair: Pair, level: float) -> tuple[Separation, ...]:
        rows = np.isin(evidence.label, [one.label for one in pair])
        second = evidence.label[rows] == pair[1].label
        return (cross_fitted(with_products(scores()[rows]), second, level),)

    return [
        Question(subject, kind, pair, gates, 1, partial(answer, pair))
        for pair in evidence.pairs
        if len(varying) > 1 and len(varying) <= most_features(_size(evidence.label, pair))
    ]


def _size(label: NDArray[np.int32], pair: Pair) -> int:
    return int(np.isin(label, [one.label for one in pair]).sum())


def _by_components(evidence: Evidence) -> list[Question]:
    """Baselines that need no deep network: they never gate, for the substructure itself may show there."""
    label = evidence.label[evidence.pictured]

    @cache
    def scores() -> Array:
        return principal_components(evidence.images).scores(evidence.images)

    @cache
    def of_class(number: int) -> Components:
        return principal_components(evidence.images[np.flatnonzero(label == number)[::2]])

    def linear(pair: Pair, level: float) -> tuple[Separation, ...]:
        rows = np.isin(label, [one.label for one in pair])
        kept = scores()[rows][:, : most_features(int(rows.sum()))]
        kept = (kept - kept.mean(axis=0)) / np.maximum(kept.std(axis=0), np.finfo(np.float32).tiny)
        return (cross_fitted(kept, label[rows] == pair[1].label, level),)

    def left_over(pair: Pair, level: float) -> tuple[Separation, ...]:
        first, second = (np.flatnonzero(label == one.label) for one in pair)
        fitted = of_class(pair[0].label)
        return separate(
            fitted.left_over(evidence.images[first[1::2]]), fitted.left_over(evidence.images[second]), level
        )[:1]

    few = {one.label: int((label == one.label).sum()) for one in evidence.classes}
    return [
        Question(subject, "baseline", pair, False, 1, partial(answer, pair))
        for subject, answer in (
            (f"{COMPONENTS} principal components", linear),
            (f"left over by {COMPONENTS} components", left_over),
        )
        for pair in evidence.pairs
        if min(few[one.label] for one in pair) >= FEWEST_PICTURED
    ]
