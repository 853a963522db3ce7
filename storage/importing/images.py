"""Images of a source, read one by one: each in a file of its own, or stacked in an array."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.foreign import read_fits
from storage.importing.unpickler import load_objects

# of a file with one image; more is a mistake, or meant to fill the memory
MOST_BYTES = 256_000_000
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


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
        """One image. What is broken raises whatever its library raises."""
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
            raise ValueError(f"{size:,} bytes are too many for one image")
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
        return Picture(np.asarray(self.array[int(self.positions[position])]))


def read_npy(content: bytes) -> Picture:
    """The image in a .npy file, or the image and the mass of an array of both."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"version {version} of .npy is not known")
    shape, _, dtype = HEADERS[version](file)
    if dtype.kind == "O":
        return _with_mass(load_objects(file))
    if dtype.hasobject:
        raise ValueError(f"it holds {dtype}")
    # checked first, since numpy makes room for whatever the header promises
    if math.prod(shape) * dtype.itemsize > len(content) - file.tell():
        raise ValueError(f"it is cut off: too short for {shape} of {dtype}")
    file.seek(0)
    return Picture(np.load(file, allow_pickle=False))


def _with_mass(entries: list[Any]) -> Picture:
    numbers = [one for one in entries if isinstance(one, np.ndarray) and one.ndim >= 2]
    if len(entries) == 2 and len(numbers) == 1 and entries[0] is numbers[0]:
        mass = np.asarray(entries[1])
        if mass.size == 1 and mass.dtype.kind in "fiu":
            return Picture(numbers[0], float(mass.reshape(())))
    raise ValueError("it holds objects that are not an image and its mass")
