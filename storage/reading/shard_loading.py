"""Shards made ready to gather from: mapped, read whole into memory of ours, or by the format's library."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreDamagedError
from schemas.store import ArraySpec
from storage.formats import BACKENDS
from storage.layout import Span, span_of
from storage.reader import Store
from storage.reading.shard_rows import Buffered, LoadedGroup, ShardView, Source, Views, view_of
from storage.reading.threads import threaded
from storage.shards.shard_file import CHECKSUM_BYTES, ShardFile

Way = Literal["mapped", "read"]
# Of buffers to one call; the system's limit is 1024 on Linux.
VECTORS = 512
# The memory of a group, used again for a later one.
Memory = dict[str, NDArray[Any]]
Viewer = Callable[[ArraySpec, Span], ShardView]


class ShardLoader:
    """Loads groups of shards of one split. `checked`: every chunk of a map against its crc32c, too.

    The small arrays always are. `mapped` copies nothing and leaves memory to the system's page cache, which
    is told what will be needed; `read` copies whole shards, for file systems where mapping is slow.
    """

    def __init__(
        self, store: Store, split: str, arrays: Sequence[str], way: Way = "mapped", checked: bool = False
    ) -> None:
        self.store = store
        self.split = split
        self.specs = [store.plan.array(name) for name in arrays]
        self.way = way
        self.checked = checked

    def load(
        self, shards: Sequence[int], memory: Memory | None = None, view: Viewer | None = None
    ) -> LoadedGroup:
        """A group of shards. `view` gives mapped ones in place of `self.view`: those that are kept, say."""
        size = self.store.plan.shard_rows
        spans = [span_of(self.store.plan, self.split, shard * size) for shard in shards]
        for span in spans:
            self.store.touch(span.split, slice(span.first_row, span.first_row + span.rows))
        memory = {} if memory is None else memory
        return LoadedGroup(
            shards,
            size,
            {spec.name: self._source(spec, spans, memory, view or self.view) for spec in self.specs},
        )

    def view(self, spec: ArraySpec, span: Span) -> ShardView:
        """One array of one shard, mapped where that is possible."""
        file = self._mapped(spec, span)
        return view_of(file) if file else ShardView.on(self._by_library(spec, span)[np.newaxis])

    def _source(self, spec: ArraySpec, spans: Sequence[Span], memory: Memory, view: Viewer) -> Source:
        if self.way == "mapped" or spec not in self.store.plan.maps:
            # to map takes less than to start a thread; to check and to decompress are work
            work = self.checked or self.store.plan.profile == "archive"
            return Views(list((threaded if work else map)(partial(view, spec), spans)))
        size = self.store.plan.shard_rows
        buffer = memory.get(spec.name)
        if buffer is None or len(buffer) < len(spans) * size:
            buffer = memory[spec.name] = np.empty((len(spans) * size, *spec.tail), spec.dtype)
        slots = [buffer[slot * size : (slot + 1) * size] for slot in range(len(spans))]
        list(threaded(lambda pair: self._read_into(spec, *pair), zip(spans, slots, strict=True)))
        return Buffered(buffer, size)

    def _read_into(self, spec: ArraySpec, span: Span, into: NDArray[Any]) -> None:
        file = self._mapped(spec, span, advise=False)
        if file and isinstance(file.path, Path):
            read_whole(file, into, self.checked)
        elif file:
            # of an object all bytes are here already
            file.copy(0, into[: span.rows], self.checked)
        else:
            into[: span.rows] = self._by_library(spec, span).reshape(span.rows, *spec.tail)

    def _mapped(self, spec: ArraySpec, span: Span, advise: bool = True) -> ShardFile | None:
        store = self.store
        file = BACKENDS[store.plan.backend].shard(store.root, store.plan, span, spec.name)
        if file is None:
            return None
        if file.present * file.layout.chunk_rows < span.rows:
            raise StoreDamagedError(
                f"the shard {file.path} is damaged: it ends before row {span.rows}",
                advice="find what is damaged: lensmill verify STORE",
            )
        if advise:
            if isinstance(file.path, Path):
                _will_need(file.path)
            if self.checked or spec not in store.plan.maps:
                file.check()
        return file

    def _by_library(self, spec: ArraySpec, span: Span) -> NDArray[Any]:
        rows = slice(span.first_row, span.first_row + span.rows)
        values = self.store.codes(self.split, spec.name, rows)
        return values.reshape(span.rows, -1)


def _will_need(path: Path) -> None:
    """Ask the system to have a file in memory soon, in one large read and without waiting for it."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def read_whole(file: ShardFile, into: NDArray[Any], checked: bool = False) -> None:
    """Read all rows of a shard at once, what stands between its chunks aside."""
    layout = file.layout
    chunk_bytes = layout.chunk_rows * layout.row_bytes
    aside = np.empty((file.present, layout.stride - chunk_bytes), np.uint8)
    chunks = into.reshape(-1).view(np.uint8)[: file.present * chunk_bytes].reshape(file.present, chunk_bytes)
    parts = [part for pair in zip(chunks, aside, strict=True) for part in pair if len(part)]
    assert isinstance(file.path, Path), "objects are read whole"
    _scatter(file.path, file.start, parts)
    if checked and aside.shape[1] == CHECKSUM_BYTES:
        for number, (chunk, sum_) in enumerate(zip(chunks, aside, strict=True)):
            if int(google_crc32c.value(chunk)) != int.from_bytes(sum_.tobytes(), "little"):
                raise StoreDamagedError(
                    f"the shard {file.path} is damaged: the checksum of chunk {number} differs",
                    advice="find what is damaged: lensmill verify STORE",
                )


def _scatter(path: Path, at: int, parts: list[NDArray[np.uint8]]) -> None:
    """Fill parts from a file one behind the other. By position, so that no process moves another's place."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while parts:
            count = os.preadv(descriptor, parts[:VECTORS], at)  # type: ignore[arg-type]
            if not count:
                raise StoreDamagedError(f"the shard {path} is damaged: it ends at byte {at:,}")
            at += count
            parts = _behind(parts, count)
    finally:
        os.close(descriptor)


def _behind(parts: list[NDArray[np.uint8]], count: int) -> list[NDArray[np.uint8]]:
    """What is left to fill after so many bytes; a system may read less than it was asked for."""
    for number, part in enumerate(parts):
        if count < len(part):
            return [part[count:], *parts[number + 1 :]]
        count -= len(part)
    return []
