"""Selected rows of a store in memory, loaded by all cores at once; or streamed where they do not fit."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np
import psutil
from numpy.typing import NDArray

from schemas.errors import DataError, ResourceError
from schemas.registry import unknown_name
from schemas.selection import Selection
from storage.layout import Span, spans_of
from storage.reader import Store
from storage.reading.batches import Batch, Batches, Rows
from storage.reading.epochs import Batching, Epoch
from storage.reading.fields import Buffers, Field, check_buffers, fields_of, new_buffers, stored_arrays
from storage.reading.selection import EVERYTHING, Selected, select
from storage.reading.shard_loading import ShardLoader, Way
from storage.reading.streaming import Streamed, checked_rows
from storage.reading.threads import threaded

# Part of the free memory that rows may take; the rest is for the network and its gradients.
MEMORY_SHARE = 0.6
Progress = Callable[[int], None]
Mode = Literal["auto", "resident", "streamed"]


def open_rows(
    store: Store,
    selection: Selection = EVERYTHING,
    names: Sequence[str] = ("image", "label"),
    mode: Mode = "auto",
    codes: bool = False,
    way: Way = "mapped",
    checked: bool = False,
    progress: Progress = lambda _: None,
) -> "Resident | Streamed":
    """The selected rows of a store as a source of batches: in memory if they fit, else streamed.

    The batches of an epoch are the same in both. `names` are arrays and columns of parameters; `codes` gives
    quantised maps as they are stored; `checked` compares every chunk with its crc32c when it is read.
    """
    for noun, given, known in (("mode", mode, Mode), ("way", way, Way)):
        if given not in get_args(known):
            raise unknown_name(noun, given, list(get_args(known)))
    selected = select(store, selection)
    fits = _needed(fields_of(store.plan, names, codes), len(selected)) <= MEMORY_SHARE * _free()
    if mode == "resident" or (mode == "auto" and fits):
        return Resident(store, selected, names, codes, checked, progress)
    return Streamed(store, selected, names, codes, way, checked)


class Resident:
    """Selected rows in one array per field; `arrays` may be handed over whole, to a GPU for instance."""

    def __init__(
        self,
        store: Store,
        selected: Selected,
        names: Sequence[str] = ("image", "label"),
        codes: bool = False,
        checked: bool = False,
        progress: Progress = lambda _: None,
    ) -> None:
        self.selected = selected
        self.shard_rows = store.plan.shard_rows
        self.fields = fields_of(store.plan, names, codes)
        _check_memory(store, self.fields, len(selected))
        self.arrays = new_buffers(self.fields, len(selected))
        self._place = _places(selected, store.plan.rows_of(selected.selection.split))
        loader = ShardLoader(
            store, selected.selection.split, stored_arrays(self.fields), "mapped", checked=checked
        )
        spans = spans_of(store.plan, selected.selection.split, slice(None))
        for done, _ in enumerate(threaded(partial(self._load, loader), spans), start=1):
            progress(done)

    def _load(self, loader: ShardLoader, span: Span) -> None:
        here = slice(*np.searchsorted(self.selected.rows, [span.first_row, span.first_row + span.rows]))
        if here.start < here.stop:
            part = {name: array[here] for name, array in self.arrays.items()}
            loader.load([span.shard]).fill(self.selected.rows[here], self.fields, part)

    def memory_bytes(self, _: Batching | None = None) -> int:
        """What the rows take."""
        return sum(array.nbytes for array in self.arrays.values())

    def epoch(self, batching: Batching, number: int, start: int = 0, into: Sequence[Buffers] = ()) -> Batches:
        """The batches of an epoch from batch `start` on."""
        return Batches(self, Epoch(batching, self.selected.rows, self.shard_rows, number), start, into)

    def take(self, rows: Rows, into: Buffers | None = None) -> Batch:
        """These rows of the split, in this order, all of them selected ones."""
        rows = checked_rows(rows, len(self._place) if self._place is not None else len(self.selected))
        if self._place is not None and len(rows) and (self._place[rows] < 0).any():
            strange = rows[self._place[rows] < 0][0]
            raise DataError(f"row {strange} is not in memory", expected="rows that were selected")
        if into is not None:
            check_buffers(self.fields, len(rows), into)
        arrays = new_buffers(self.fields, len(rows)) if into is None else into
        arrays = {one.name: arrays[one.name][: len(rows)] for one in self.fields}
        self.fill(rows, self.fields, arrays)
        return Batch(0, rows, arrays)

    def held(self, epoch: Epoch, start: int) -> Iterator[tuple[Rows, "Resident"]]:
        """Groups of an epoch, all of them held here."""
        for group in epoch.groups(start):
            yield group.rows, self

    def fill(self, rows: Rows, fields: Sequence[Field], into: Buffers) -> None:
        """Copy rows of the split into the arrays of a batch."""
        places = rows if self._place is None else self._place[rows]
        for one in fields:
            # `clip` spares numpy a copy that would keep the batch whole if a row did not exist
            np.take(self.arrays[one.name], places, axis=0, out=into[one.name], mode="clip")


def _places(selected: Selected, count: int) -> NDArray[np.int64] | None:
    """Where each row of the split is among the selected ones, -1 if it is none; None where all are."""
    if len(selected) == count:
        return None
    places = np.full(count, -1, np.int64)
    places[selected.rows] = np.arange(len(selected))
    return places


def _needed(fields: Sequence[Field], rows: int) -> int:
    return rows * sum(one.row_bytes for one in fields)


def _free() -> int:
    return int(psutil.virtual_memory().available)


def _check_memory(store: Store, fields: Sequence[Field], rows: int) -> None:
    needed, free = _needed(fields, rows), _free()
    if needed > MEMORY_SHARE * free:
        raise ResourceError(
            f"{rows:,} rows need {needed / 1e9:.2f} GB of memory, {free / 1e9:.2f} GB are free",
            expected=f"at most {MEMORY_SHARE:.0%} of the free memory",
            where=str(store.root),
            advice="stream them (mode streamed), select fewer, or use a machine with more memory",
        )
