"""An array of a Zarr store read shard by shard without zarr-python, where it is laid out as ours are."""

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from storage.files.object_path import ObjectPath
from storage.files.place import Root
from storage.shards.shard_file import SMALL_BYTES, ShardFile, ShardLayout

CRC32C = {"name": "crc32c"}
PLAIN = [{"name": "bytes", "configuration": {"endian": "little"}}, CRC32C]
# endianness is left out where numbers are single bytes
PLAIN_BYTES = [{"name": "bytes"}, CRC32C]
KEYS = {"name": "default", "configuration": {"separator": "/"}}


@dataclass(frozen=True)
class ShardedArray:
    """The folder of an array, how many rows it has and how its shards are laid out."""

    folder: Root
    rows: int
    layout: ShardLayout

    @classmethod
    def open(cls, folder: Root) -> Self | None:
        """None where the array is laid out in a way that is left to zarr-python."""
        try:
            metadata = json.loads((folder / "zarr.json").read_bytes())
            rows, layout = metadata["shape"][0], _layout(metadata)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None
        return cls(folder, rows, layout) if layout else None

    def shard(self, number: int) -> ShardFile | None:
        """One shard, mapped; None where its chunks do not follow each other at equal distances."""
        return ShardFile.open(self._path(number), self.layout)

    def _path(self, number: int) -> Root:
        return self.folder.joinpath("c", str(number), *("0" for _ in self.layout.tail))

    def _part(self, number: int, first: int, last: int) -> ShardFile | None:
        """A shard, of which rows `first` to `last` are needed; what is far away comes in part."""
        path, chunk_rows = self._path(number), self.layout.chunk_rows
        begin, end = first // chunk_rows, -(-last // chunk_rows)
        there = -(-min(self.layout.shard_rows, self.rows - number * self.layout.shard_rows) // chunk_rows)
        small = there * self.layout.stride <= SMALL_BYTES
        if not isinstance(path, ObjectPath) or small or 2 * (end - begin) > there:
            return ShardFile.open(path, self.layout)
        return ShardFile.fetch(path, self.layout, begin, end)

    def read(self, rows: slice = slice(None), checked: bool = True) -> NDArray[Any] | None:
        """Rows as an array of its own; None where a shard, or a step between rows, is left to zarr-python."""
        start, stop, step = rows.indices(self.rows)
        if step != 1:
            return None
        size = self.layout.shard_rows
        found = np.empty((max(stop - start, 0), *self.layout.tail), self.layout.dtype)
        for number in range(start // size, -(-stop // size)) if len(found) else ():
            first, last = max(start, number * size), min(stop, (number + 1) * size)
            shard = self._part(number, first - number * size, last - number * size)
            if shard is None:
                return None
            skipped = number * size + shard.skipped * self.layout.chunk_rows
            shard.copy(first - skipped, found[first - start : last - start], checked)
        return found


def _layout(metadata: Any) -> ShardLayout | None:
    """The layout that an array's `zarr.json` describes, if it is one that this module reads."""
    (sharding,) = metadata["codecs"]
    inner = sharding["configuration"]
    dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
    plain = [PLAIN, PLAIN_BYTES] if dtype.itemsize == 1 else [PLAIN]
    tail = tuple(metadata["shape"][1:])
    shard_shape, chunk_shape = metadata["chunk_grid"]["configuration"]["chunk_shape"], inner["chunk_shape"]
    known = (
        metadata["zarr_format"] == 3
        and metadata["chunk_key_encoding"] == KEYS
        and metadata["chunk_grid"]["name"] == "regular"
        and sharding["name"] == "sharding_indexed"
        and inner["codecs"] in plain
        and inner["index_codecs"] == PLAIN
        and inner.get("index_location", "end") == "end"
        and not metadata.get("storage_transformers")
        and tuple(shard_shape[1:]) == tuple(chunk_shape[1:]) == tail
        and dtype.kind in "iuf"
    )
    return ShardLayout(dtype, shard_shape[0], chunk_shape[0], tail) if known else None
