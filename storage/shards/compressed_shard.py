"""Rows of a shard whose chunks are compressed, without zarr-python: what is lost is an error, not fill."""

from collections.abc import Callable
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreDamagedError
from storage.files.place import Root
from storage.shards.shard_file import ABSENT, CHECKSUM_BYTES, ShardLayout

Decompress = Callable[[bytes], bytes]


def read_rows(
    path: Root, layout: ShardLayout, decompress: Decompress, first: int, rows: NDArray[Any]
) -> None:
    """Fill `rows` from row `first` of the shard on; every chunk that is touched is checked."""
    size, last = layout.chunk_rows, first + len(rows)
    content = _content(path)
    index = _index(path, content, layout)
    for chunk in range(first // size, -(-last // size)):
        offset, length = (int(number) for number in index[chunk])
        if offset == ABSENT or offset + length > len(content) - index.nbytes:
            raise _damaged(path, f"it has no chunk {chunk}")
        plain = decompress(_checked(path, content[offset : offset + length], f"chunk {chunk}"))
        values = np.frombuffer(plain, layout.dtype).reshape(size, *layout.tail)
        begin, end = max(first, chunk * size), min(last, (chunk + 1) * size)
        rows[begin - first : end - first] = values[begin - chunk * size : end - chunk * size]


def _content(path: Root) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror or error}") from error


def _index(path: Root, content: bytes, layout: ShardLayout) -> NDArray[np.uint64]:
    end = _checked(path, content[-16 * layout.chunks - CHECKSUM_BYTES :], "its index")
    if len(end) != 16 * layout.chunks:
        raise _damaged(path, f"{len(content):,} bytes are too few for its index")
    return np.frombuffer(end, "<u8").reshape(-1, 2)


def _checked(path: Root, part: bytes, what: str) -> bytes:
    """A part without the crc32c that it ends in."""
    inside, checksum = part[:-CHECKSUM_BYTES], part[-CHECKSUM_BYTES:]
    if int(google_crc32c.value(inside)).to_bytes(CHECKSUM_BYTES, "little") != checksum:
        raise _damaged(path, f"the checksum of {what} differs")
    return inside


def _damaged(path: Root, what: str) -> StoreDamagedError:
    return StoreDamagedError(
        f"the shard {path} is damaged: {what}",
        advice="find what is damaged: lensmill verify STORE; mend it: lensmill repair STORE",
    )
