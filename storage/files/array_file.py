"""Arrays in .npy files that nobody vouches for: judged by their header before numpy makes room for them."""

import math
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from storage.files.unreadable import SHOWN_BYTES, UnreadableError, not_a, reason

FORM = ".npy file"
MAGIC = b"\x93NUMPY"
# the third version spells names of fields in UTF-8, else it is the second
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}


def objects_refused() -> UnreadableError:
    """Why an array of Python objects is not taken."""
    return UnreadableError(
        "it holds Python objects, which are never unpickled here",
        advice="save the numbers alone; words as numpy.array(words, dtype=str)",
    )


class Header(NamedTuple):
    """What a .npy file says of its array."""

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"


def read_header(file: IO[bytes], size: int) -> Header:
    """The header of a file of so many bytes, which must hold what it promises. Leaves `file` behind it."""
    begins = file.read(SHOWN_BYTES)
    if not begins.startswith(MAGIC):
        raise not_a(FORM, begins)
    file.seek(0)
    try:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    # whatever stands there is parsed as Python
    except Exception as error:
        raise UnreadableError("it is cut off or damaged in its header") from error
    if any(length < 0 for length in shape):
        raise UnreadableError("it is cut off or damaged in its header")
    # checked first, since numpy makes room for whatever the header promises
    promised = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and promised > size:
        told = f"it is cut off: too short for {shape} of {dtype}, {size:,} of {promised:,} bytes"
        raise UnreadableError(told, "it is cut off")
    return Header(shape, dtype)


def read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a file, into memory."""
    if read_header(file, size).dtype.hasobject:
        raise objects_refused()
    file.seek(0)
    return np.asarray(np.load(file, allow_pickle=False))


def header_of(path: Path) -> Header:
    """The header of a file on the disk."""
    with path.open("rb") as file:
        return read_header(file, path.stat().st_size)


def mapped(path: Path) -> NDArray[Any]:
    """An array in a file on the disk, not read."""
    try:
        if header_of(path).dtype.hasobject:
            raise objects_refused()
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as an array: {reason(error)}",
            expected="an array of plain numbers, as numpy.save writes it",
            advice=getattr(error, "advice", "") or "fetch or make the file again",
        ) from error
