"""The file of one Zarr shard, written and read without zarr-python: bytes and checksums, nothing else.

Inner chunks divide the rows alone. They are not compressed, or written here and read by zarr-python. Each is
followed by its crc32c. After the last come offset and length of each, then the crc32c of these. A chunk
wholly behind the data is absent, one in part is filled up.
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreDamagedError
from storage.files.durable import Part
from storage.files.object_path import ObjectPath
from storage.files.place import Root

ABSENT = np.iinfo(np.uint64).max
CHECKSUM_BYTES = 4
# An object of so many bytes is fetched whole: asking for its index first would take longer.
SMALL_BYTES = 1 << 20
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class ShardLayout:
    """How the rows of one array lie in its shards."""

    dtype: "np.dtype[Any]"
    shard_rows: int
    chunk_rows: int
    tail: tuple[int, ...]
    checksum_bytes: int = CHECKSUM_BYTES

    @property
    def chunks(self) -> int:
        """Chunks of a full shard."""
        return self.shard_rows // self.chunk_rows

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.tail, dtype=np.int64)) * self.dtype.itemsize

    @property
    def stride(self) -> int:
        """Bytes from one chunk to the next."""
        return self.chunk_rows * self.row_bytes + self.checksum_bytes


def encode(
    layout: ShardLayout, fill: float, rows: NDArray[Any], compress: Callable[[Bytes], bytes] | None = None
) -> Iterator[Part]:
    """The file of a shard that holds these rows, part by part; whole chunks are not copied."""
    rows, sizes = np.ascontiguousarray(rows, dtype=layout.dtype), []
    for first in range(0, len(rows), layout.chunk_rows):
        plain = _filled_up(layout, fill, rows[first : first + layout.chunk_rows])
        chunk = compress(plain) if compress else plain
        sizes.append(len(chunk) + CHECKSUM_BYTES)
        yield chunk
        yield _checksum(chunk)
    index = _index(layout, np.array(sizes, np.uint64)).tobytes()
    yield index
    yield _checksum(index)


def _index(layout: ShardLayout, sizes: NDArray[np.uint64], start: int = 0) -> NDArray[np.uint64]:
    """Offset and length of each chunk when chunks of these sizes follow each other from `start` on."""
    index = np.full((layout.chunks, 2), ABSENT, dtype="<u8")
    index[: len(sizes), 0] = start + np.cumsum(sizes) - sizes
    index[: len(sizes), 1] = sizes
    return index


def _filled_up(layout: ShardLayout, fill: float, rows: NDArray[Any]) -> Bytes:
    """The bytes of a chunk."""
    chunk = rows
    if len(rows) < layout.chunk_rows:
        chunk = np.full((layout.chunk_rows, *layout.tail), fill, dtype=layout.dtype)
        chunk[: len(rows)] = rows
    return chunk.reshape(-1).view(np.uint8)


def _checksum(content: Part) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(CHECKSUM_BYTES, "little")


class ShardFile:
    """A shard on the disk, mapped and not copied. Its index was checked, its chunks only when asked.

    Of one on S3 the bytes are in memory: all of them, or those of the chunks from `skipped` on.
    """

    def __init__(
        self, path: Root, layout: ShardLayout, content: Bytes, start: int, present: int, skipped: int = 0
    ) -> None:
        self.path = path
        self.layout = layout
        self.content = content
        self.start = start
        self.present = present
        self.skipped = skipped

    @classmethod
    def open(cls, path: Root, layout: ShardLayout) -> Self | None:
        """None where chunks do not follow each other at equal distances, which only zarr-python can read."""
        content = _fetched(path) if isinstance(path, ObjectPath) else _mapped(path)
        found = _affine(path, layout, content, len(content))
        return cls(path, layout, content, *found) if found else None

    @classmethod
    def fetch(cls, path: ObjectPath, layout: ShardLayout, first: int, stop: int) -> Self | None:
        """Only the chunks `first` to `stop` of an object, in two requests: its index, then these."""
        found = _affine(path, layout, *_fetched_end(path, 16 * layout.chunks + CHECKSUM_BYTES))
        if found is None:
            return None
        start, present = found
        stop = min(stop, present)
        if first >= stop:
            return cls(path, layout, np.empty(0, np.uint8), 0, 0, first)
        begin, end = (start + chunk * layout.stride for chunk in (first, stop))
        return cls(path, layout, _fetched(path, begin, end), 0, stop - first, first)

    @classmethod
    def at(cls, path: Path, layout: ShardLayout, start: int) -> Self:
        """One chunk that begins at a place known from elsewhere; it may have no checksum."""
        content = _mapped(path)
        if start + layout.stride > len(content):
            raise _damaged(path, f"{len(content):,} bytes are too few for its rows")
        return cls(path, layout, content, start, 1)

    @cached_property
    def chunks(self) -> NDArray[Any]:
        """`(chunk, row in the chunk, ...)`, lying on the file; what the last chunk has too much is fill."""
        one = self.layout
        shape = (self.present, one.chunk_rows, *one.tail)
        inner = np.empty(shape[1:], one.dtype).strides
        return np.ndarray(shape, one.dtype, self.content, self.start, (one.stride, *inner))

    def check(self, first: int = 0, stop: int | None = None) -> Self:
        """Every chunk of a range against its crc32c, if the format has them."""
        if not self.layout.checksum_bytes:
            return self
        for chunk in range(first, self.present if stop is None else stop):
            at = self.start + chunk * self.layout.stride
            end = at + self.layout.stride - CHECKSUM_BYTES
            if _checksum(self.content[at:end]) != self.content[end : end + CHECKSUM_BYTES].tobytes():
                raise _damaged(self.path, f"the checksum of chunk {self.skipped + chunk} differs")
        return self

    def copy(self, first: int, rows: NDArray[Any], checked: bool = True) -> None:
        """Fill `rows` from row `first` of the shard on; checked, every chunk that is touched is."""
        size, last = self.layout.chunk_rows, first + len(rows)
        if last > self.present * size:
            raise _damaged(self.path, f"it ends before row {self.skipped * size + last}")
        if checked:
            self.check(first // size, -(-last // size))
        into, row_bytes = rows.reshape(-1).view(np.uint8), self.layout.row_bytes
        for chunk in range(first // size, -(-last // size)):
            begin, end = max(first, chunk * size), min(last, (chunk + 1) * size)
            at = self.start + begin * row_bytes + chunk * self.layout.checksum_bytes
            count = (end - begin) * row_bytes
            into[(begin - first) * row_bytes :][:count] = self.content[at : at + count]


def _affine(path: Root, layout: ShardLayout, end: Bytes, size: int) -> tuple[int, int] | None:
    """Start and number of the chunks by the index at the end of a file of this size, if they are in order."""
    index_bytes = 16 * layout.chunks
    if len(end) < index_bytes + CHECKSUM_BYTES:
        raise _damaged(path, f"{len(end):,} bytes are too few for its index")
    index = end[-index_bytes - CHECKSUM_BYTES : -CHECKSUM_BYTES]
    if _checksum(index) != end[-CHECKSUM_BYTES:].tobytes():
        raise _damaged(path, "the checksum of its index differs")
    found = np.frombuffer(index.tobytes(), "<u8").reshape(-1, 2)
    present = int(np.count_nonzero(found[:, 0] != ABSENT))
    start = int(found[0, 0]) if present else 0
    fits = start + present * layout.stride <= size
    equal = np.full(present, layout.stride, np.uint64)
    return (start, present) if fits and np.array_equal(found, _index(layout, equal, start)) else None


def _fetched(path: ObjectPath, start: int = 0, stop: int | None = None) -> Bytes:
    try:
        found = path.read_whole() if stop is None else path.read_range(start, stop)
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror or error}") from error
    if stop is not None and len(found) != stop - start:
        raise _damaged(path, f"it ends before byte {stop:,}")
    return np.frombuffer(found, np.uint8)


def _fetched_end(path: ObjectPath, count: int) -> tuple[Bytes, int]:
    try:
        found, size = path.read_end(count)
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror or error}") from error
    return np.frombuffer(found, np.uint8), size


def _mapped(path: Path) -> Bytes:
    try:
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        # an empty file cannot be mapped
        raise _damaged(path, "it is empty") from error


def _damaged(path: Root, what: str) -> StoreDamagedError:
    return StoreDamagedError(
        f"the shard {path} is damaged: {what}",
        advice="find what is damaged: lensmill verify STORE; mend it: lensmill repair STORE",
    )
