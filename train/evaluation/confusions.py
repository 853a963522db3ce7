"""What a classifier takes for what."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from schemas.report import Confused
from train.evaluation.columns import Column, physical_columns, varies
from train.evaluation.measured import Measured
from train.objectives.classification import ClassificationObjective

Rows = NDArray[np.bool_]
# Many classes have more pairs than anybody reads.
MOST = 20
# Medians of fewer samples are anecdotes.
FEWEST_SAMPLES = 5
LEVEL = 0.05


def confused(measured: Measured) -> tuple[Confused, ...]:
    """Pairs of classes that are mixed up, the most frequent first."""
    objective = measured.run.objective
    if not isinstance(objective, ClassificationObjective):
        return ()
    true = objective.positions(measured.samples.label)
    said = measured.output.argmax(axis=1)
    counts = np.zeros((objective.outputs, objective.outputs), dtype=np.int64)
    np.add.at(counts, (true, said), 1)
    pairs = [(int(counts[a, b]), a, b) for a, b in np.ndindex(counts.shape) if a != b and counts[a, b]]
    columns = physical_columns(measured)
    return tuple(
        Confused(
            true=objective.names[a],
            taken_for=objective.names[b],
            samples=count,
            share=count / int(counts[a].sum()),
            differs=_difference(columns, (true == a) & (said == b), (true == a) & (said == a)),
        )
        for count, a, b in sorted(pairs, key=lambda pair: -pair[0])[:MOST]
    )


def _difference(columns: list[Column], mistaken: Rows, right: Rows) -> str:
    """The column that sets the mistaken ones apart most, in words; empty if that may be chance."""
    found = [(*_apart(one.values, mistaken, right), one) for one in columns]
    found = [one for one in found if one[0] * len(columns) < LEVEL]
    if not found:
        return ""
    _, lower, column = max(found, key=lambda one: abs(one[1] - 0.5))
    here, there = (_spelt(float(np.nanmedian(column.values[rows]))) for rows in (mistaken, right))
    unit = "" if column.unit in ("", "1") else f" {column.unit}"
    which = "lower" if lower > 0.5 else "higher"
    return f"{which} {column.name}: median {here} against {there}{unit}"


def _spelt(value: float) -> str:
    return f"{value:.3g}".replace("e+", "e")


def _apart(values: NDArray[np.float64], mistaken: Rows, right: Rows) -> tuple[float, float]:
    """The chance of such a difference in ranks, and how often a mistaken sample is below a right one."""
    one, other = (values[rows & np.isfinite(values)] for rows in (mistaken, right))
    if min(len(one), len(other)) < FEWEST_SAMPLES or not varies(np.concatenate([one, other])):
        return 1.0, 0.5
    test = mannwhitneyu(one, other)
    return float(test.pvalue), 1 - float(test.statistic) / (len(one) * len(other))
