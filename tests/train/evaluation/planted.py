"""Measurements with known dependences: made-up samples and outputs on the books of a real store."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ColumnSpec
from schemas.store import ClassSpec
from storage.reader import Store
from train.data import Samples
from train.evaluation.measured import Measured
from train.objectives import Objective
from train.records.run_folder import Run

CLASSES = (
    ClassSpec(name="no_sub", label=0),
    ClassSpec(name="cdm", label=1),
    ClassSpec(name="vortex", label=2),
)
EVERYBODY = (0, 1, 2)


def column(name: str, labels: tuple[int, ...] = EVERYBODY, unit: str = "1", **more: Any) -> ColumnSpec:
    """A column of the planted store."""
    return ColumnSpec(name=name, unit=unit, description=name, labels=labels, **more)


class Pictures:
    """Images in memory, as samples ask for them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self.images = images
        self.tail = images.shape[1:]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.images[rows]


class PlantedRun:
    """What sections need of a run."""

    def __init__(self, objective: Objective, network: Any = None, record: Any = None) -> None:
        self.objective, self.network, self.record = objective, network, record


def measured(
    store: Store,
    objective: Objective,
    label: NDArray[np.int32],
    values: dict[ColumnSpec, NDArray[np.float64]],
    output: NDArray[np.float64],
    images: NDArray[np.float32] | None = None,
    network: Any = None,
) -> Measured:
    """A measurement with these columns and outputs; NaN is put where a column does not apply."""
    params = [np.where(np.isin(label, spec.labels), one, np.nan) for spec, one in values.items()]
    count = len(label)
    shown = np.zeros((count, 1, 4, 4), np.float32) if images is None else images
    samples = Samples(
        label=label,
        params=np.stack(params, axis=1) if params else np.empty((count, 0)),
        sample_id=np.arange(count),
        row=np.arange(count),
        images=cast(Any, Pictures(shown)),
    )
    plan = store.plan.model_copy(update={"columns": tuple(values)})
    run = cast(Run, PlantedRun(objective, network))
    return Measured(run, replace(store, plan=plan), samples, output, "test")
