"""Batches one after the other, from whatever holds the rows."""

import os
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from storage.reading.epochs import Batching, Epoch
from storage.reading.fields import Buffers, Field, check_buffers, new_buffers
from storage.reading.selection import Selected

Rows = NDArray[np.int64]
# Of each thread: whether it closes an epoch. One that is closed otherwise was forgotten and is collected.
_closing = threading.local()


def asked_to_close() -> bool:
    """Whether an epoch that is closed in this thread is closed because somebody asked for it."""
    return getattr(_closing, "asked", False)


@dataclass(frozen=True)
class Batch:
    """Rows of a split by field: `batch["image"]`. `rows` says which they are, in the same order."""

    number: int
    rows: Rows
    arrays: Mapping[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __len__(self) -> int:
        return len(self.rows)


class Holder(Protocol):
    """What rows can be copied from."""

    def fill(self, rows: Rows, fields: Sequence[Field], into: Buffers) -> None:
        """Copy rows of the split into the arrays of a batch."""
        ...


class RowSource(Protocol):
    """The selected rows of a store, held in memory or streamed from it; both give the same batches."""

    selected: Selected
    fields: tuple[Field, ...]

    def memory_bytes(self, batching: Batching) -> int:
        """The most memory that an epoch takes, beside that of its batches."""
        ...

    def epoch(
        self, batching: Batching, number: int, start: int = 0, into: Sequence[Buffers] = ()
    ) -> "Batches":
        """The batches of an epoch from batch `start` on.

        With `into`, memory of the caller (pinned, say) is filled in turn instead of new memory for each
        batch; a batch is then gone once all of them were filled again.
        """
        ...

    def take(self, rows: Rows, into: Buffers | None = None) -> Batch:
        """These rows of the split, in this order."""
        ...

    def held(self, epoch: Epoch, start: int) -> Iterator[tuple[Rows, Holder]]:
        """The rows of an epoch in their order, in groups, each with what holds them."""
        ...


class Batches:
    """An iterator over the batches of an epoch.

    Its place is a number: `position` is the batch that comes next. A copy in a process that was forked off,
    or that it was pickled for, goes on from there on its own: no thread, file or memory is shared.
    """

    def __init__(self, source: RowSource, epoch: Epoch, start: int = 0, into: Sequence[Buffers] = ()) -> None:
        if not isinstance(start, int | np.integer) or not 0 <= start <= len(epoch):
            raise DataError(
                f"there is no batch {start!r} to start from",
                expected=f"0 to {len(epoch)}, the end: the epoch has {len(epoch):,} batches",
            )
        for buffers in into:
            check_buffers(source.fields, min(epoch.batching.batch, epoch.length), buffers)
        self.source = source
        self.epoch = epoch
        self.position = start
        self.into = into
        self._running: Generator[Batch] | None = None
        self._owner = os.getpid()

    def __len__(self) -> int:
        """How many are left."""
        return max(len(self.epoch) - self.position, 0)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._running is None or self._owner != os.getpid():
            # the threads of the process that this one was forked off are not here
            self._running, self._owner = self._run(), os.getpid()
        batch = next(self._running)
        self.position += 1
        return batch

    def close(self) -> None:
        """End the threads of an epoch that is left before its end; `next` would go on from `position`."""
        if self._running is not None and self._owner == os.getpid():
            _closing.asked = True
            try:
                self._running.close()
            finally:
                _closing.asked = False
        self._running = None

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "epoch": self.epoch, "position": self.position}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["source"], state["epoch"], state["position"])  # type: ignore[misc]

    def _run(self) -> Generator[Batch]:
        """A batch may begin in one group and end in the next."""
        number, fields, size = self.position, self.source.fields, self.epoch.batching.batch
        left = self.epoch.length - number * size
        rows, arrays, filled = np.empty(0, np.int64), {}, 0
        for wanted, holder in self.source.held(self.epoch, number):
            done = 0
            while done < len(wanted):
                if not filled:
                    rows, arrays = np.empty(min(size, left), np.int64), self._memory(number, min(size, left))
                count = min(len(rows) - filled, len(wanted) - done)
                here = wanted[done : done + count]
                rows[filled : filled + count] = here
                holder.fill(here, fields, _part(arrays, filled, filled + count))
                filled, done = filled + count, done + count
                if filled == len(rows):
                    yield Batch(number, rows, arrays)
                    number, left, filled = number + 1, left - len(rows), 0

    def _memory(self, number: int, rows: int) -> dict[str, NDArray[Any]]:
        if not self.into:
            return new_buffers(self.source.fields, rows)
        given = self.into[number % len(self.into)]
        return _part({one.name: given[one.name] for one in self.source.fields}, 0, rows)


def _part(arrays: Buffers, start: int, stop: int) -> dict[str, NDArray[Any]]:
    return {name: array[start:stop] for name, array in arrays.items()}
