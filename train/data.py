"""Samples of a store in memory, and the order in which batches are made of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from schemas.errors import DataError, ResourceError
from schemas.registry import unknown_name
from storage.reader import Store

# Part of the free memory that images may take; the rest is for the network and its gradients.
MEMORY_SHARE = 0.6
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Samples:
    """Chosen rows of a split. `sample_id` and the store's seed are what a sample is known by."""

    image: NDArray[np.float32]
    label: NDArray[np.int32]
    params: NDArray[np.float64]
    sample_id: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)


def load_samples(
    store: Store, split: str, labels: tuple[int, ...], most_per_class: int | None = None
) -> Samples:
    """The samples of these classes, resident in memory."""
    found = np.asarray(store.read(split, "label"), dtype=np.int32)
    row = np.flatnonzero(np.isin(found, labels))
    if most_per_class is not None:
        row = np.sort(np.concatenate([row[found[row] == label][:most_per_class] for label in labels]))
    if not len(row):
        raise DataError(
            f"no sample of the classes with label {', '.join(map(str, labels))} in the {split} split",
            where=str(store.root),
        )
    _check_memory(store, len(row))
    return Samples(
        image=_gather(store, split, row),
        label=found[row],
        params=np.asarray(store.read(split, "params"), dtype=np.float64)[row],
        sample_id=np.asarray(store.read(split, "sample_id"), dtype=np.int64)[row],
        row=row,
    )


def _check_memory(store: Store, rows: int) -> None:
    needed = rows * int(np.prod(store.plan.array("image").tail)) * 4
    free = psutil.virtual_memory().available
    if needed > MEMORY_SHARE * free:
        raise ResourceError(
            f"{rows:,} images need {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            expected=f"at most {MEMORY_SHARE:.0%} of the free memory",
            advice="set data.max_per_class, or use a machine with more memory",
        )


def _gather(store: Store, split: str, row: NDArray[np.int64]) -> NDArray[np.float32]:
    images = np.empty((len(row), *store.plan.array("image").tail), dtype=np.float32)
    for first in range(0, store.plan.rows_of(split), ROWS_AT_ONCE):
        here = slice(*np.searchsorted(row, [first, first + ROWS_AT_ONCE]))
        if here.start < here.stop:
            block = store.read(split, "image", slice(first, first + ROWS_AT_ONCE))
            images[here] = block[row[here] - first]
    return images


def labels_of(store: Store, names: tuple[str, ...] | None, key: str = "data.classes") -> tuple[int, ...]:
    """The labels of classes by their names, which stand at `key`; all of the store without names."""
    known = {one.name: one.label for one in store.plan.classes}
    for name in names or ():
        if name not in known:
            some = ", ".join(known) if key == "data.classes" else next(iter(known))
            advice = f"name classes of the store: --set '{key}=[{some}]'"
            raise unknown_name("class", name, known, advice, where=f"{key}; the store {store.root}")
    return tuple(known[name] for name in names or known)


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Images and encoded targets as tensors that are indexed a whole batch at a time."""

    def __init__(self, images: NDArray[np.float32], target: Tensor) -> None:
        self.images = torch.from_numpy(images)
        self.target = target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: list[int]) -> tuple[Tensor, Tensor]:
        return self.images[index], self.target[index]


def batches(
    samples: Batches, size: int, shuffle_seed: int | None = None
) -> "DataLoader[tuple[Tensor, Tensor]]":
    """One gather per batch: memory is the only source, so worker processes would only copy."""
    order: RandomSampler | SequentialSampler
    if shuffle_seed is None:
        order = SequentialSampler(samples)
    else:
        order = RandomSampler(samples, generator=torch.Generator().manual_seed(shuffle_seed))
    # a last batch of one sample would break batch normalisation in training
    drop = shuffle_seed is not None and len(samples) >= size
    return DataLoader(samples, sampler=BatchSampler(order, size, drop_last=drop), batch_size=None)


def chunks(images: NDArray[np.float32], size: int) -> Iterator[Tensor]:
    """Images in order, a batch at a time, for prediction."""
    for first in range(0, len(images), size):
        yield torch.from_numpy(images[first : first + size])
