"""From conditions to the rows of a split: by class, ranges of columns, samples, and parts of what is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError, UnknownNameError
from schemas.registry import unknown_name
from schemas.selection import ColumnRange, Selection
from storage.layout import Span, spans_of
from storage.reader import Store
from storage.reading.threads import threaded

Rows = NDArray[np.int64]
EVERYTHING = Selection()


@dataclass(frozen=True)
class Selected:
    """The rows of a split that a selection leaves, in rising order, and how many of each class they are."""

    selection: Selection
    rows: Rows
    classes: dict[str, int]

    def __len__(self) -> int:
        return len(self.rows)


def select(store: Store, selection: Selection = EVERYTHING) -> Selected:
    """The rows that meet all conditions; none is an error that says which condition left nothing."""
    _check_names(store, selection)
    label = np.asarray(store.read(selection.split, "label"), np.int32)
    rows = np.arange(len(label), dtype=np.int64)
    told = [f"the {selection.split} split has {len(rows):,}"]
    for condition, left in _conditions(store, selection, label):
        rows = left(rows)
        told.append(f"{condition} leaves {len(rows):,}")
        if not len(rows):
            raise DataError(
                f"no row of the store at {store.root} meets all conditions: " + ", ".join(told),
                expected="conditions that at least one row meets",
                advice="widen the last one that is named; `lensmill info STORE` tells of classes and columns",
            )
    counts = {one.name: int(np.count_nonzero(label[rows] == one.label)) for one in store.plan.classes}
    return Selected(selection, rows, {name: count for name, count in counts.items() if count})


def _check_names(store: Store, selection: Selection) -> None:
    """Refuse unknown names, all in one message."""
    known: dict[str, list[str]] = {
        "split": [split.name for split in store.plan.splits],
        "class": [one.name for one in store.plan.classes],
        "column": [column.name for column in store.plan.columns],
    }
    asked: dict[str, list[str]] = {
        "split": [selection.split],
        "class": list(selection.classes or ()),
        "column": [one.column for one in selection.ranges],
    }
    errors = [
        unknown_name(noun, name, known[noun])
        for noun, names in asked.items()
        for name in names
        if name not in known[noun]
    ]
    if errors:
        raise errors[0] if len(errors) == 1 else UnknownNameError("\n".join(map(str, errors)))


def _conditions(store: Store, selection: Selection, label: NDArray[np.int32]) -> Iterator[tuple[str, Any]]:
    """Each condition in words and as a function from the rows before it to those after."""
    one = selection
    labels = {known.name: known.label for known in store.plan.classes}
    if one.classes is not None:
        wanted = [labels[name] for name in one.classes]
        yield f"class {' or '.join(one.classes)}", lambda rows: rows[np.isin(label[rows], wanted)]
    for limits, keeps in zip(one.ranges, _within(store, one, label), strict=True):
        yield str(limits), lambda rows, keeps=keeps: rows[keeps[rows]]
    if one.sample_ids is not None:
        yield f"the {len(one.sample_ids):,} samples named", partial(_named, store, one)
    if one.every > 1:
        yield f"every {one.every}th of each class", partial(_every_of_each, label, one.every)
    if one.per_class is not None:
        yield f"{one.per_class:,} per class", partial(_front_of_each, label, one.per_class)
    if one.random is not None:
        yield f"{one.random:,} at random", partial(_drawn, one.random, one.random_seed)
    if one.first is not None:
        yield f"the first {one.first:,}", lambda rows: rows[: one.first]


def _named(store: Store, selection: Selection, rows: Rows) -> Rows:
    """The rows of samples by their numbers. A number that the split lacks is an error."""
    wanted = np.unique(np.array(selection.sample_ids, np.int64))
    found = np.asarray(store.read(selection.split, "sample_id"), np.int64)
    strange = wanted[~np.isin(wanted, found)]
    if len(strange):
        raise DataError(
            f"{len(strange):,} of {len(wanted):,} samples are not in the {selection.split} split"
            f" (such as sample {strange[0]})",
            where=str(store.root),
            advice="name the split that they are in, or leave them out",
        )
    return rows[np.isin(found[rows], wanted)]


def _every_of_each(label: NDArray[np.int32], step: int, rows: Rows) -> Rows:
    """Counted within each class: classes take turns, so a step over all rows may meet some of them only."""
    own = label[rows]
    return np.sort(np.concatenate([rows[own == one][::step] for one in np.unique(own)]))


def _front_of_each(label: NDArray[np.int32], most: int, rows: Rows) -> Rows:
    own = label[rows]
    return np.sort(np.concatenate([rows[own == one][:most] for one in np.unique(own)]))


def _drawn(most: int, seed: int, rows: Rows) -> Rows:
    generator = np.random.Generator(np.random.Philox(key=seed))
    return np.sort(generator.permutation(rows)[:most])


def _within(store: Store, selection: Selection, label: NDArray[np.int32]) -> list[NDArray[np.bool_]]:
    """For each range, which rows lie in it; shard by shard, for all columns may be gigabytes."""
    if not selection.ranges:
        return []
    spans = spans_of(store.plan, selection.split, slice(None))
    parts = threaded(partial(_within_shard, store, selection.ranges, label), spans)
    return [np.concatenate(one) for one in zip(*parts, strict=True)]


def _within_shard(
    store: Store, ranges: tuple[ColumnRange, ...], label: NDArray[np.int32], span: Span
) -> list[NDArray[np.bool_]]:
    rows = slice(span.first_row, span.first_row + span.rows)
    params = store.read(span.split, "params", rows)
    names = [column.name for column in store.plan.columns]
    kept = []
    for one in ranges:
        values = params[:, names.index(one.column)]
        # comparing NaN gives False, so that what does not apply is in no range
        inside = np.ones(len(values), bool)
        inside &= values >= one.low if one.low is not None else ~np.isnan(values)
        inside &= values <= one.high if one.high is not None else ~np.isnan(values)
        applies = store.plan.columns[names.index(one.column)].labels
        kept.append(inside | (one.keep_others & ~np.isin(label[rows], applies)))
    return kept
