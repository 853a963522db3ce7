"""Which rows a page looks at: stretches spread evenly over a split, and in them samples of each class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.store import StorePlan
from storage.reader import Store

# Of each split, at most. A stretch is of some hundred rows, so that few shards are opened.
MOST_ROWS = 20_480
STRETCHES = 32


@dataclass(frozen=True)
class Looked:
    """The rows of a split that are looked at."""

    split: str
    rows: NDArray[np.int64]
    label: NDArray[Any]
    sample_id: NDArray[Any]
    params: NDArray[Any]


def look(store: Store, split: str) -> Looked:
    """Read everything but pixels of the chosen rows of a split."""
    chosen = stretches(store.plan.rows_of(split))
    parts = {
        name: np.concatenate([store.read(split, name, rows) for rows in chosen])
        for name in ("label", "sample_id", "params")
    }
    return Looked(split, np.concatenate([np.arange(one.start, one.stop) for one in chosen]), **parts)


def stretches(rows: int) -> list[slice]:
    """All rows of a split, or stretches of the same length from its first row to its last."""
    if rows <= MOST_ROWS:
        return [slice(0, rows)]
    length = MOST_ROWS // STRETCHES
    starts = np.linspace(0, rows - length, STRETCHES).astype(int).tolist()
    return [slice(start, start + length) for start in starts]


def rows_of_class(plan: StorePlan, looked: Looked, position: int) -> int:
    """How many rows of a split a class has; an estimate where not all were looked at and no order is seen."""
    total, label = plan.rows_of(looked.split), plan.classes[position].label
    found = int((looked.label == label).sum())
    if len(looked.rows) == total:
        return found
    if takes_turns(plan, looked):
        return len(range(position, total, len(plan.classes)))
    return round(found / len(looked.rows) * total)


def takes_turns(plan: StorePlan, looked: Looked) -> bool:
    """Whether the classes follow each other row by row wherever one looks."""
    labels = np.array([one.label for one in plan.classes])
    return bool(np.array_equal(looked.label, labels[looked.rows % len(labels)]))


def spread(looked: Looked, label: int, count: int) -> NDArray[np.int64]:
    """Places among the rows looked at of `count` samples of a class, evenly spread."""
    found = np.flatnonzero(looked.label == label)
    if len(found) <= count:
        return found
    # in the middle of as many equal parts: a step of whole classes would meet the same galaxies again
    return np.asarray(found[((np.arange(count) + 0.5) * len(found) / count).astype(int)])
