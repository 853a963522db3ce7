"""Rows gathered from a few shards, mapped or in memory, into one array."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from schemas.store import SCALE
from storage import profiles
from storage.reading.fields import Buffers, Field
from storage.shards.shard_file import ShardFile

Rows = NDArray[np.int64]
# Below this, numpy's indexing of many rows at once is faster than a copy of each, though it copies twice.
LONG_ROW_BYTES = 4096
# What is copied twice stays in a core's cache in between.
BLOCK_BYTES = 256 << 10
# With fewer rows to a shard, indexing costs more than it saves.
FEW_ROWS = 16


class ShardView(NamedTuple):
    """One array of a shard as `(chunk, row, number)`, lying on its file or in memory, and that memory."""

    values: NDArray[Any]
    memory: memoryview

    @classmethod
    def on(cls, values: NDArray[Any]) -> Self:
        """The view of these values; its memory has what stands between the chunks, too."""
        if not values.size:
            return cls(values, memoryview(b""))
        count = (values.shape[0] - 1) * values.strides[0] + values.shape[1] * values.strides[1]
        first = np.lib.stride_tricks.as_strided(values[0, 0], (1,), (values.itemsize,), writeable=False)
        whole: Any = np.lib.stride_tricks.as_strided(first.view(np.uint8), (count,), (1,), writeable=False)
        return cls(values, memoryview(whole))


class Source(Protocol):
    """One array of the shards of a group, shard k in slot k."""

    def gather(self, slots: Rows, rows: Rows, into: NDArray[Any]) -> None:
        """Copy row `rows[i]` of slot `slots[i]` to `into[i]`."""
        ...


class Buffered:
    """Shards one behind the other in one array, which numpy gathers from at once."""

    def __init__(self, values: NDArray[Any], shard_rows: int) -> None:
        self.values = values
        self.shard_rows = shard_rows

    def gather(self, slots: Rows, rows: Rows, into: NDArray[Any]) -> None:
        """`mode` spares numpy a copy that would keep `into` whole if a row did not exist; they all do."""
        np.take(self.values, slots * self.shard_rows + rows, axis=0, out=into, mode="clip")


class Views:
    """Shards lying on their files or in memory."""

    def __init__(self, views: Sequence[ShardView]) -> None:
        self.views = [view.values for view in views]
        self.memories = [view.memory for view in views]
        # a shard that only the library can read is one chunk
        self.sizes = np.array([view.shape[1] for view in self.views], np.int64)
        self.strides = np.array([view.strides[0] for view in self.views], np.int64)

    def gather(self, slots: Rows, rows: Rows, into: NDArray[Any]) -> None:
        """Stretches of rows in one go, long rows one by one, short ones by numpy's indexing of many."""
        flat = into.reshape(len(into), -1)
        chunks, places = np.divmod(rows, self.sizes[slots])
        if _follow_each_other(slots, rows):
            self._copy_stretch(int(slots[0]), int(rows[0]), flat)
        elif flat.itemsize * flat.shape[1] >= LONG_ROW_BYTES or len(rows) < FEW_ROWS * len(self.views):
            self._copy_rows(slots, chunks, places, flat)
        else:
            self._gather_blocks(slots, chunks, places, flat)

    def _copy_rows(self, slots: Rows, chunks: Rows, places: Rows, into: NDArray[Any]) -> None:
        """By slices of memory, which take less time to make than arrays."""
        size = into.itemsize * into.shape[1]
        offsets = chunks * self.strides[slots] + places * size
        target, sources = memoryview(into.data).cast("B"), self.memories
        for row, (slot, offset) in enumerate(zip(slots.tolist(), offsets.tolist(), strict=True)):
            target[row * size : (row + 1) * size] = sources[slot][offset : offset + size]

    def _copy_stretch(self, slot: int, first: int, into: NDArray[Any]) -> None:
        view = self.views[slot]
        size = view.shape[1]
        done = 0
        while done < len(into):
            chunk, place = divmod(first + done, size)
            count = min(size - place, len(into) - done)
            into[done : done + count] = view[chunk, place : place + count]
            done += count

    def _gather_blocks(self, slots: Rows, chunks: Rows, places: Rows, into: NDArray[Any]) -> None:
        order = np.argsort(slots, kind="stable")
        bounds = np.searchsorted(slots[order], np.arange(len(self.views) + 1))
        together = max(1, BLOCK_BYTES // (into.itemsize * into.shape[1]))
        for slot, view in enumerate(self.views):
            for first in range(bounds[slot], bounds[slot + 1], together):
                some = order[first : min(first + together, bounds[slot + 1])]
                into[some] = view[chunks[some], places[some]]


def _follow_each_other(slots: Rows, rows: Rows) -> bool:
    last = len(rows) - 1
    return bool(
        last >= 0
        and slots[0] == slots[last]
        and rows[last] - rows[0] == last
        and (slots == slots[0]).all()
        and (np.diff(rows) == 1).all()
    )


def view_of(shard: ShardFile) -> ShardView:
    """A mapped shard."""
    chunks = shard.chunks
    count = int(np.prod(chunks.shape[2:], dtype=np.int64))
    flat = (*chunks.strides[:2], chunks.itemsize)
    values = np.lib.stride_tricks.as_strided(chunks, (*chunks.shape[:2], count), flat, writeable=False)
    return ShardView.on(values)


class LoadedGroup:
    """All arrays that a batch needs of a few shards."""

    def __init__(self, shards: Sequence[int], shard_rows: int, sources: Mapping[str, Source]) -> None:
        self.shards = np.asarray(shards, np.int64)
        self.shard_rows = shard_rows
        self.sources = sources

    def fill(self, rows: Rows, fields: Sequence[Field], into: Buffers) -> None:
        """Copy these rows of the split, all of this group, into the arrays of a batch."""
        shards, local = np.divmod(rows, self.shard_rows)
        slots = np.searchsorted(self.shards, shards)
        for field in fields:
            self._fill_field(field, slots, local, into[field.name])

    def _fill_field(self, field: Field, slots: Rows, rows: Rows, into: NDArray[Any]) -> None:
        source = self.sources[field.array]
        if field.decoded:
            codes = np.empty(into.shape, np.uint16)
            source.gather(slots, rows, codes)
            scales = np.empty((len(rows), into.shape[1], 2), np.float32)
            self.sources[field.array + SCALE].gather(slots, rows, scales)
            profiles.decode(codes, scales, into)
        elif field.column is not None:
            params = np.empty((len(rows), field.columns), field.dtype)
            source.gather(slots, rows, params)
            into[:] = params[:, field.column]
        else:
            source.gather(slots, rows, into)
