"""In which order the rows of an epoch come: a pure function of seed, epoch, rows and rank.

Shards are taken in a drawn order, a few together as a group; the rows of a group come in an order drawn over
the whole group. So a reader holds a group or two and reads each shard once, from front to end. All draws are
raw numbers of Philox, which numpy promises never to change, turned into an order by sorting them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from schemas.errors import DataError
from schemas.request import Request

Rows = NDArray[np.int64]
# What a draw is for. The counter's lowest word is Philox's own.
OF_SHARDS, IN_A_SHARD, IN_A_GROUP = range(3)
# As many as there are numbers for.
EPOCHS = 2**63


class Batching(Request):
    """How epochs are made of rows; a run record keeps it.

    Ranks get equally many rows, so equally many batches of the same sizes, and no row twice. `keep` leaves
    out fewer rows than there are ranks and makes the last batch smaller; `drop` leaves out what fills no
    batch on every rank. What is left out differs from epoch to epoch when rows are shuffled.
    """

    batch: int = Field(ge=1, description="rows of a batch")
    seed: int = Field(default=0, ge=0, lt=2**53)
    shuffle: bool = Field(default=True, description="if not, rows come as they are stored")
    mixed: int | None = Field(
        default=4, ge=1, description="shards mixed together; null: all, a uniform shuffle"
    )
    last: Literal["keep", "drop"] = "keep"
    rank: int = Field(default=0, ge=0)
    world: int = Field(default=1, ge=1, description="how many ranks there are")

    @model_validator(mode="after")
    def _rank_is_one_of_them(self) -> Self:
        if self.rank >= self.world:
            raise ValueError(f"there is no rank {self.rank} among {self.world}, which count from 0")
        return self


@dataclass(frozen=True)
class Piece:
    """A stretch of the selected rows of one shard: all of them, or a part of an order drawn over them."""

    shard: int
    start: int
    stop: int
    whole: bool


@dataclass(frozen=True)
class Group:
    """Shards that are held together, in rising order, and the rows wanted of them in their order."""

    shards: tuple[int, ...]
    rows: Rows


class Epoch:
    """One epoch of one rank over rows of a split (rising, each once) that lie in shards of `shard_rows`."""

    def __init__(self, batching: Batching, rows: Rows, shard_rows: int, number: int) -> None:
        if not isinstance(number, int | np.integer) or not 0 <= number < EPOCHS:
            raise DataError(f"there is no epoch {number!r}", expected="a whole number from 0 on")
        self.batching = batching
        self.rows = rows
        self.shard_rows = shard_rows
        self.number = number
        world, batch = batching.world, batching.batch
        drop = batching.last == "drop"
        self.length = len(rows) // (world * batch) * batch if drop else len(rows) // world
        if not self.length:
            needed = f"{world * batch:,}: a batch on every rank" if drop else f"{world:,}: one on every rank"
            raise DataError(
                f"{len(rows):,} rows are too few for {world} ranks and batches of {batch}",
                expected=f"at least {needed}",
                advice="select more rows, lower the batch size, or keep the last batch",
            )

    def __len__(self) -> int:
        """How many batches there are, on every rank."""
        return -(-self.length // self.batching.batch)

    def groups(self, start: int = 0) -> Iterator[Group]:
        """What is left from batch `start` on, group by group. What lies before is not even drawn."""
        skip = start * self.batching.batch
        for number, pieces in enumerate(self._grouped_pieces):
            count = sum(piece.stop - piece.start for piece in pieces)
            if skip < count:
                rows = self._order(number, pieces)[skip:]
                yield Group(tuple(np.unique(rows // self.shard_rows).tolist()), rows)
            skip = max(skip - count, 0)

    @cached_property
    def _bounds(self) -> tuple[Rows, Rows]:
        """Shards with selected rows, and where those of each begin and end among all selected ones."""
        shards, first = np.unique(self.rows // self.shard_rows, return_index=True)
        return shards, np.append(first, len(self.rows))

    @cached_property
    def _grouped_pieces(self) -> list[list[Piece]]:
        pieces = self._pieces()
        count = -(-len(pieces) // (self.batching.mixed or len(pieces)))
        # of nearly equal size: a last group of one shard would be mixed with nothing
        bounds = [len(pieces) * group // count for group in range(count + 1)]
        return [pieces[first:stop] for first, stop in pairwise(bounds)]

    def _pieces(self) -> list[Piece]:
        """This rank's part of all shards laid end to end, so that few shards have two readers."""
        shards, bounds = self._bounds
        order = self._drawn(OF_SHARDS, 0, len(shards)) if self.batching.shuffle else np.arange(len(shards))
        counts = np.diff(bounds)[order]
        ends = np.cumsum(counts)
        begin = self.batching.rank * self.length
        end = begin + self.length
        pieces = []
        first, last = np.searchsorted(ends, begin, side="right"), np.searchsorted(ends, end, side="left")
        for place in range(int(first), int(last) + 1):
            before = int(ends[place] - counts[place])
            start, stop = max(begin, before) - before, min(end, int(ends[place])) - before
            pieces.append(Piece(int(order[place]), start, stop, whole=stop - start == counts[place]))
        return pieces

    def _order(self, number: int, pieces: list[Piece]) -> Rows:
        rows = np.concatenate([self._rows_of(piece) for piece in pieces])
        if not self.batching.shuffle:
            return rows
        # ranks have groups of the same number
        return rows[self._drawn(IN_A_GROUP, number * self.batching.world + self.batching.rank, len(rows))]

    def _rows_of(self, piece: Piece) -> Rows:
        _, bounds = self._bounds
        rows = self.rows[bounds[piece.shard] : bounds[piece.shard + 1]]
        if self.batching.shuffle and not piece.whole:
            # whose rows the ranks at both sides get, and which are left out, must not depend on their place
            rows = rows[self._drawn(IN_A_SHARD, piece.shard, len(rows))]
        return rows[piece.start : piece.stop]

    def _drawn(self, purpose: int, index: int, count: int) -> Rows:
        """An order of so many things."""
        counter = np.array([0, index, purpose, self.number], np.uint64)
        raw = np.random.Philox(key=self.batching.seed, counter=counter).random_raw(count)
        return np.argsort(raw, kind="stable")


def spread(epoch: Epoch) -> float:
    """How far apart the rows of one shard come, as a part of what a uniform shuffle gives: 1 is uniform.

    The mean distance of two such rows in the epoch, over a third of its length. Groups of k of S shards give
    about k / S. Samples are drawn independently, so this costs no bias within an epoch: it says how much the
    company of a sample changes from one epoch to the next.
    """
    order = np.concatenate([group.rows for group in epoch.groups()]) // epoch.shard_rows
    apart, pairs = 0.0, 0
    for shard in np.unique(order):
        places = np.flatnonzero(order == shard).astype(np.float64)
        count = len(places)
        # the sum of all distances of ordered numbers
        apart += float(np.sum(places * (2 * np.arange(count) - count + 1)))
        pairs += count * (count - 1) // 2
    return apart / max(pairs, 1) * 3 / len(order)
