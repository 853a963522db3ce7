"""Histograms of columns whose axes follow from the values."""

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ColumnSpec
from schemas.page import PageColumn
from schemas.store import StorePlan
from storage.page.numbers import shown_unit

Values = NDArray[np.float64]
# Up to so many distinct values have a bar each.
DISTINCT = 12
# A logarithmic axis begins to help where the middle 98 percent span so much.
WIDE = 4.0
# Values that differ by less than this share are one, up to rounding.
SAME = 1e-9
FEWEST_BINS, MOST_BINS = 12, 40


def count_column(plan: StorePlan, column: ColumnSpec, values: Values, label: NDArray[np.int32]) -> PageColumn:
    """The histogram of a column's values, which are NaN where it does not apply."""
    known = values[np.isfinite(values)]
    scale, edges = _axis(known)
    by_class = [values[(label == one.label) & np.isfinite(values)] for one in plan.classes]
    return PageColumn(
        name=column.name,
        unit=shown_unit(column.unit),
        description=column.description,
        only=_only(plan, column),
        scale=scale,  # type: ignore[arg-type]
        edges=tuple(edges.tolist()),
        counts=tuple(tuple(_counts(scale, edges, one).tolist()) for one in by_class),
    )


def _axis(known: Values) -> tuple[str, Values]:
    """How the axis divides, and the edges of its bins."""
    if not len(known):
        return "none", known
    distinct = np.unique(known)
    low, high = distinct[0], distinct[-1]
    if high - low <= SAME * max(abs(low), abs(high)):
        return "values", distinct[:1]
    if len(distinct) <= DISTINCT:
        return "values", distinct
    bins = int(np.clip(2 * len(known) ** (1 / 3), FEWEST_BINS, MOST_BINS))
    if np.array_equal(known, np.round(known)) and high - low < 2 * MOST_BINS:
        # whole numbers: bins that are as wide as each other in numbers
        width = int(np.ceil((high - low + 1) / MOST_BINS))
        return "linear", np.arange(low - 0.5, high + 0.5 + width, width)
    if _is_log_like(known):
        # rounding must not leave the ends outside
        return "log", np.r_[low, np.geomspace(low, high, bins + 1)[1:-1], high]
    return "linear", np.linspace(low, high, bins + 1)


def _is_log_like(known: Values) -> bool:
    """Whether the values lie more evenly on a logarithmic axis."""
    low, middle, high = np.percentile(known, [1, 50, 99])
    if known.min() <= 0 or high < WIDE * low:
        return False
    linear = (middle - low) / (high - low)
    logarithmic = np.log(middle / low) / np.log(high / low)
    return bool(abs(logarithmic - 0.5) < abs(linear - 0.5))


def _counts(scale: str, edges: Values, values: Values) -> NDArray[np.int64]:
    if scale == "none":
        return np.zeros(0, np.int64)
    if scale == "values":
        at = np.searchsorted(edges, values).clip(max=len(edges) - 1)
        return np.bincount(at, minlength=len(edges))
    return np.histogram(values, edges)[0]


def _only(plan: StorePlan, column: ColumnSpec) -> str:
    names = [one.name for one in plan.classes if one.label in column.labels]
    said = [", ".join(names)] if len(names) < len(plan.classes) else []
    said += [" and ".join(column.splits)] if column.splits is not None else []
    return ", ".join(said)
