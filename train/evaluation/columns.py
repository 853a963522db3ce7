"""The columns of a store that a score may depend on, and the class that others are compared with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ColumnSpec
from schemas.imported import ImportedData
from train.evaluation.measured import Measured

DETECTABILITY = "detectability"
# Says which galaxy of a file is shown: a number without an order.
GALAXY_INDEX = "galaxy_index"


@dataclass(frozen=True)
class Column:
    """A physical quantity of each sample; NaN where it does not apply."""

    name: str
    unit: str
    labels: tuple[int, ...]
    values: NDArray[np.float64]

    @property
    def is_detectability(self) -> bool:
        """Whether it is the one that tells how well anybody could do."""
        return self.name == DETECTABILITY

    def applies_to(self, labels: NDArray[np.int32]) -> bool:
        """Whether samples of all these classes have it."""
        return set(np.unique(labels).tolist()) <= set(self.labels)


def physical_columns(measured: Measured) -> list[Column]:
    """Those that vary among the samples, without numbers of files and what only follows from others."""
    found = []
    for position, spec in enumerate(measured.store.plan.columns):
        values = measured.samples.params[:, position]
        if _is_physical(spec) and varies(values[np.isfinite(values)]):
            found.append(Column(spec.name, spec.unit, spec.labels, values))
    return found


def _is_physical(spec: ColumnSpec) -> bool:
    if spec.name == DETECTABILITY:
        return True
    return not spec.derived and not spec.name.endswith(GALAXY_INDEX)


def varies(values: NDArray[np.float64]) -> bool:
    """Whether there is more than one value, rounding aside."""
    return len(values) > 0 and float(np.ptp(values)) > 1e-9 * float(np.abs(values).max())


def smooth_label(measured: Measured) -> int | None:
    """The label of the class without substructure; None where there is no such class, several, or no recipe.

    Only classes that the run knows count.
    """
    origin = measured.store.origin
    if isinstance(origin, ImportedData):
        return None
    found = [
        one.label
        for one in origin.classes
        if one.substructure.kind == "none" and one.label in measured.run.objective.labels
    ]
    return found[0] if len(found) == 1 else None


def class_names(measured: Measured) -> dict[int, str]:
    """The names of the store's classes by label."""
    return {one.label: one.name for one in measured.store.plan.classes}
