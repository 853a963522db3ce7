"""Selected rows of a store of any size, a few shards at a time."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np

from schemas.errors import DataError
from schemas.store import ArraySpec
from storage.layout import Span, spans_of
from storage.reader import Store
from storage.reading.batches import Batch, Batches, Rows, asked_to_close
from storage.reading.epochs import Batching, Epoch
from storage.reading.fields import Buffers, check_buffers, fields_of, new_buffers, stored_arrays
from storage.reading.selection import Selected
from storage.reading.shard_loading import Memory, ShardLoader, Way
from storage.reading.shard_rows import LoadedGroup, ShardView, Source, Views

# Views that random rows keep. Each holds a file open, of which a process may have 1024 as a rule.
KEPT_VIEWS = 256
# Of those that are no maps but decoded copies.
KEPT_BYTES = 512 << 20


class Streamed:
    """Batches from shards: one group is gathered from while the next is loaded.

    So `read` takes the memory of two groups of `mixed` shards; `mapped` takes none but the page cache. Shards
    that only the format's library can read are held decompressed, two groups of them, in both ways.
    """

    def __init__(
        self,
        store: Store,
        selected: Selected,
        names: Sequence[str] = ("image", "label"),
        codes: bool = False,
        way: Way = "mapped",
        checked: bool = False,
    ) -> None:
        self.store = store
        self.selected = selected
        self.fields = fields_of(store.plan, names, codes)
        self.loader = ShardLoader(
            store, selected.selection.split, stored_arrays(self.fields), way=way, checked=checked
        )
        self._kept = KeptViews(self.loader)

    def memory_bytes(self, batching: Batching) -> int:
        """The most memory of our own that an epoch takes beside its batches, if nothing is mapped."""
        shards = len(np.unique(self.selected.rows // self.store.plan.shard_rows))
        rows = min(batching.mixed or shards, shards) * self.store.plan.shard_rows
        row = sum(
            int(np.prod(spec.tail, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
            for spec in self.loader.specs
        )
        return 2 * rows * row

    def epoch(self, batching: Batching, number: int, start: int = 0, into: Sequence[Buffers] = ()) -> Batches:
        """The batches of an epoch from batch `start` on."""
        epoch = Epoch(batching, self.selected.rows, self.store.plan.shard_rows, number)
        return Batches(self, epoch, start, into)

    def take(self, rows: Rows, into: Buffers | None = None) -> Batch:
        """These rows of the split, in this order, whether they were selected or not."""
        rows = checked_rows(rows, self.store.plan.rows_of(self.loader.split))
        if into is not None:
            check_buffers(self.fields, len(rows), into)
        arrays = new_buffers(self.fields, len(rows)) if into is None else into
        arrays = {one.name: arrays[one.name][: len(rows)] for one in self.fields}
        size = self.store.plan.shard_rows
        shards = np.unique(rows // size)
        sources: dict[str, Source] = {
            spec.name: Views([self._kept.view(spec, self._spans[shard]) for shard in shards.tolist()])
            for spec in self.loader.specs
        }
        if len(rows):
            LoadedGroup(shards.tolist(), size, sources).fill(rows, self.fields, arrays)
        return Batch(0, rows, arrays)

    @cached_property
    def _spans(self) -> list[Span]:
        return list(spans_of(self.store.plan, self.loader.split, slice(None)))

    def held(self, epoch: Epoch, start: int) -> Iterator[tuple[Rows, LoadedGroup]]:
        """Groups with their rows; the next is loaded by a thread meanwhile."""
        memories: tuple[Memory, Memory] = ({}, {})
        pool = ThreadPoolExecutor(1, "lensmill-shards")
        groups, wait = epoch.groups(start), True
        try:
            group = next(groups, None)
            # a shard that was mapped before needs no page faults; one that is to be checked is, each time
            view = None if self.loader.checked else self._kept.view
            loading = pool.submit(self.loader.load, group.shards, memories[0], view) if group else None
            turn = 0
            while group and loading:
                holder, rows = loading.result(), group.rows
                group, turn = next(groups, None), 1 - turn
                loading = pool.submit(self.loader.load, group.shards, memories[turn], view) if group else None
                yield rows, holder
        except GeneratorExit:
            # an epoch that was forgotten may be collected in a thread that its own loader waits for
            wait = asked_to_close()
            raise
        finally:
            pool.shutdown(wait=wait, cancel_futures=True)


class KeptViews:
    """Shards that random rows were taken from, the most recent ones kept. Safe with threads and forks."""

    def __init__(self, loader: ShardLoader) -> None:
        self.loader = loader
        self._forget()

    def view(self, spec: ArraySpec, span: Span) -> ShardView:
        """One array of one shard."""
        if self._owner != os.getpid():
            # another thread may have held the lock while this process was forked off
            self._forget()
        key = (spec.name, span.shard)
        with self._lock:
            if key in self._views:
                self._views.move_to_end(key)
                return self._views[key]
        self.loader.store.touch(span.split, slice(span.first_row, span.first_row + span.rows))
        view = self.loader.view(spec, span)
        with self._lock:
            self._views[key] = view
            while len(self._views) > 1 and (len(self._views) > KEPT_VIEWS or self._copied() > KEPT_BYTES):
                self._views.popitem(last=False)
        return view

    def _copied(self) -> int:
        # a map cannot be written
        arrays = [view.values for view in self._views.values()]
        return sum(array.nbytes for array in arrays if array.flags.writeable)

    def _forget(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._views: OrderedDict[tuple[str, int], ShardView] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"loader": self.loader}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.loader = state["loader"]
        self._forget()


def checked_rows(rows: Any, count: int) -> Rows:
    """Row numbers as an array; what is no row of a split of so many is refused."""
    found = np.asarray(rows)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and len(found)):
        raise DataError(
            f"rows are {found.dtype} of shape {found.shape}",
            expected="one row of whole numbers",
            advice="of a mask, np.flatnonzero(mask) are the rows" if found.dtype == bool else "",
        )
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < count:
        wrong = int(found.min()) if found.min() < 0 else int(found.max())
        raise DataError(f"there is no row {wrong}", expected=f"0 to {count - 1}")
    return found.astype(np.int64)
