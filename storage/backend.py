"""What a file format must offer. Backends turn arrays into bytes and back; only `commit` touches the disk.

A backend is a module-level object without state, filed under the name that recipes use.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.registry import Registry
from schemas.store import StoredRecipe, StorePlan
from storage.files.durable import Part
from storage.files.place import Root
from storage.layout import Span, span_of
from storage.shards.shard_file import ShardFile

Arrays = Mapping[str, NDArray[Any]]
# Contents by path in the store, whole or as parts that follow each other and are made as they are asked for.
ShardFiles = Mapping[str, bytes | Iterable[Part]]


class Backend(Protocol):
    """A file format."""

    entry: str
    """The file without which no reader of the format takes the folder for a data set."""

    def packages(self, profile: str) -> list[str]:
        """Libraries whose versions decide about the bytes of a profile."""
        ...

    def shard_files(self, plan: StorePlan, span: Span, arrays: Arrays) -> ShardFiles:
        """The files of one shard by their path in the store; no other shard shares one of them."""
        ...

    def shard_paths(self, plan: StorePlan, span: Span) -> list[str]:
        """The paths of those files, in the same order."""
        ...

    def metadata_files(self, plan: StorePlan, recipe: StoredRecipe) -> dict[str, bytes]:
        """What makes the finished store readable to everyone, in the order it is to be written."""
        ...

    def read(self, root: Root, plan: StorePlan, split: str, array: str, rows: slice) -> NDArray[Any]:
        """Rows of one array of a finished store, as they are stored."""
        ...

    def read_shard(
        self, root: Root, plan: StorePlan, span: Span, array: str, rows: slice = slice(None)
    ) -> NDArray[Any]:
        """Rows of one array of one shard, of which only its own files need to be there; steps are of 1."""
        ...

    def shard(self, root: Root, plan: StorePlan, span: Span, array: str) -> ShardFile | None:
        """One array of one shard, mapped; None where only the format's own library can read it."""
        ...


BACKENDS: Registry[Backend] = Registry("backend")


def read_by_shards(
    backend: Backend, root: Root, plan: StorePlan, split: str, array: str, rows: slice
) -> NDArray[Any]:
    """Rows of an array from the shards that hold them, one after the other."""
    wanted, spec = range(plan.rows_of(split))[rows], plan.array(array)
    start, stop = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
    found = np.empty((stop - start, *spec.tail), spec.dtype)
    for number in range(start // plan.shard_rows, -(-stop // plan.shard_rows)):
        span = span_of(plan, split, number * plan.shard_rows)
        first, last = max(start, span.first_row), min(stop, span.first_row + span.rows)
        inside = slice(first - span.first_row, last - span.first_row)
        found[first - start : last - start] = backend.read_shard(root, plan, span, array, inside)
    return found[:: wanted.step]
