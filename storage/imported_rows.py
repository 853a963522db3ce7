"""Which imported sample is in which row: shuffled by a seed, splits in their shares, classes in proportion.

A sample's number is its place in the sorted source, so a number leads back to a file.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import SPLITS, split_pattern
from schemas.imported import ImportedData

Ids = NDArray[np.int64]


@lru_cache(maxsize=4)
def rows_of(data: ImportedData) -> dict[str, Ids]:
    """The samples of each split in the order of their rows. Eight bytes a sample, kept for the last few."""
    parts: dict[str, list[Ids]] = {split: [] for split in SPLITS}
    for label, by_split in _drawn(data).items():
        for split, ids in by_split.items():
            parts[split].append(np.stack([_spread(len(ids)), np.full(len(ids), label), ids]))
    return {split: _interleaved(found) for split, found in parts.items()}


def _drawn(data: ImportedData) -> dict[int, dict[str, Ids]]:
    """Samples of each class and split in a shuffled order."""
    found: dict[int, dict[str, Ids]] = {}
    for position, (group, first) in enumerate(zip(data.groups, starts(data), strict=True)):
        ids = first + _shuffled(data.shuffle_seed, position, group.count)
        here = found.setdefault(group.label, {})
        if group.split is not None:
            here[group.split] = np.concatenate([here.get(group.split, ids[:0]), ids])
        else:
            assert data.splits is not None
            pattern = split_pattern(data.splits)[np.arange(len(ids)) % data.splits.denominator]
            here |= {split: ids[pattern == k] for k, split in enumerate(SPLITS)}
    return found


def _shuffled(seed: int, group: int, count: int) -> Ids:
    """A permutation that no version of numpy changes: the order of raw numbers of a fixed generator."""
    raw = np.random.Philox(key=seed, counter=[0, 0, 0, group]).random_raw(count)
    return np.argsort(raw, kind="stable")


def _spread(count: int) -> Ids:
    """Places of so many samples, evenly from 0 to 2^62, so that any stretch of rows has classes alike."""
    return np.asarray(((np.arange(count) + 0.5) / max(count, 1) * 2.0**62), dtype=np.int64)


def _interleaved(parts: list[Ids]) -> Ids:
    if not parts:
        return np.empty(0, np.int64)
    place, label, ids = np.concatenate(parts, axis=1)
    return np.ascontiguousarray(ids[np.lexsort((label, place))])


def starts(data: ImportedData) -> Ids:
    """The number of the first sample of each group."""
    counts = [group.count for group in data.groups]
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


def group_of(data: ImportedData, sample_id: Ids) -> Ids:
    """Which group each sample is in."""
    return np.searchsorted(starts(data), sample_id, side="right") - 1


def labels_of(data: ImportedData, sample_id: Ids) -> NDArray[np.int32]:
    """The label of each sample."""
    return np.array([group.label for group in data.groups], np.int32)[group_of(data, sample_id)]


def locate(data: ImportedData, sample_id: int) -> tuple[str, int]:
    """The split and row of a sample."""
    for split, ids in rows_of(data).items():
        found = np.flatnonzero(ids == sample_id)
        if len(found):
            return split, int(found[0])
    raise AssertionError(f"sample {sample_id} is in no split")
