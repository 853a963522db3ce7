"""Images of a source, read one by one: each in a file of its own, or stacked in an array."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.files.array_file import objects_refused, read_header
from storage.files.unreadable import UnreadableError
from storage.foreign import read_fits
from storage.importing.unpickler import RefusedError, load_objects

# of a file with one image; more is a mistake, or meant to fill the memory
MOST_BYTES = 256_000_000


class Picture(NamedTuple):
    """One image as its file has it, with the mass that may stand beside it."""

    values: NDArray[Any]
    mass: float | None = None


class Images(Protocol):
    """Images of one class, in the order of the source."""

    def __len__(self) -> int: ...

    def name(self, position: int) -> str:
        """What leads a person to an image."""
        ...

    def read(self, position: int) -> Picture:
        """One image. What is broken raises `UnreadableError`, or whatever its library raises."""
        ...


@dataclass(frozen=True)
class FileImages:
    """A file for each image; `names` are relative to `root`."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, position: int) -> str:
        return self.names[position]

    def read(self, position: int) -> Picture:
        path = self.root / self.names[position]
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UnreadableError(
                f"{size:,} bytes are too many for one image", "too many bytes for one image"
            )
        content = path.read_bytes()
        if path.suffix.lower() == ".npy":
            return read_npy(content)
        return Picture(read_fits(io.BytesIO(content)))


@dataclass(frozen=True)
class StackedImages:
    """Some entries of an array that is read entry by entry, such as a mapped file."""

    stack: str
    array: Any
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def name(self, position: int) -> str:
        return f"{self.stack}[{self.positions[position]}]"

    def read(self, position: int) -> Picture:
        try:
            return Picture(np.asarray(self.array[int(self.positions[position])]))
        # parts of a file are read only now, and h5py and astropy raise anything
        except Exception as error:
            raise UnreadableError("the file is damaged or cut off where this image is") from error


def read_npy(content: bytes) -> Picture:
    """The image in a .npy file, or the image and the mass of an array of both."""
    return read_picture(io.BytesIO(content), len(content))


def read_picture(file: IO[bytes], size: int) -> Picture:
    """The same from an open file of so many bytes."""
    dtype = read_header(file, size).dtype
    if dtype.kind == "O":
        return _with_mass(_objects(file.read()))
    if dtype.hasobject:
        raise objects_refused()
    file.seek(0)
    return Picture(np.load(file, allow_pickle=False))


def _objects(pickled: bytes) -> list[Any]:
    try:
        return load_objects(io.BytesIO(pickled))
    except RefusedError:
        raise
    # a broken pickle makes its reader raise anything
    except Exception as error:
        raise UnreadableError("its pickle is damaged or cut off") from error


def _with_mass(entries: list[Any]) -> Picture:
    numbers = [one for one in entries if isinstance(one, np.ndarray) and one.ndim >= 2]
    if len(entries) == 2 and len(numbers) == 1 and entries[0] is numbers[0]:
        mass = np.asarray(entries[1])
        if mass.size == 1 and mass.dtype.kind in "fiu":
            return Picture(numbers[0], float(mass.reshape(())))
    raise UnreadableError(
        "it holds objects that are not an image and its mass", advice="save the numbers alone with numpy.save"
    )
