"""Images of galaxies in a user's HDF5 file, as Galaxy10 DECaLS has them; never read as a whole."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError, first_line

CHANNELS = 3
FEWEST_PIXELS = 2
MOST_PIXELS = 4096
_EXPECTED = (
    "HDF5 with `images` (N, y, x, 3) of uint8; `ans` (N) and `redshift` (N) to choose galaxies by them"
)
_ADVICE = (
    "Galaxy10_DECals.h5 (2.5 GB) is at github.com/henrysky/Galaxy10;"
    " name a file of that form: --set source.file=PATH"
)
# decoded images that are kept, and what HDF5 may keep of the chunks that it decompressed
KEPT_BYTES = 256 << 20
CHUNK_BYTES = 64 << 20
READ_BYTES = 4 << 20


@dataclass(frozen=True)
class GalaxyTable:
    """What a file holds beside the images themselves."""

    path: Path
    sha256: str
    count: int
    ans: NDArray[Any] | None
    redshift: NDArray[Any] | None


def no_file(name: str) -> RecipeError:
    """That a recipe needs a file which nobody named."""
    return RecipeError(
        f"the recipe {name!r} takes its sources from images of galaxies, and no file is given",
        expected=_EXPECTED,
        where="source.file",
        advice=_ADVICE,
    )


def look_at_galaxies(path: Path) -> GalaxyTable:
    """The table of a file, if it is one of galaxies. Read once, until the file changes."""
    try:
        status = path.stat() if path.is_file() else None
        there = path.exists()
    except (OSError, ValueError) as error:
        raise _refusal(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if status is None:
        raise _refusal(path, "is no file" if there else "does not exist")
    return _table(path.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _table(path: Path, size: int, changed: int) -> GalaxyTable:  # noqa: ARG001 - tell a changed file
    try:
        with h5py.File(path, "r") as file:
            images = _images(file, path)
            found = GalaxyTable(
                path,
                _sha256(path),
                len(images),
                *(_column(file, path, n, len(images)) for n in ("ans", "redshift")),
            )
    except OSError as error:
        raise _refusal(path, f"cannot be read as HDF5: {first_line(error)}") from error
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _images(file: h5py.File, path: Path) -> Any:
    images = file.get("images")
    if not isinstance(images, h5py.Dataset):
        held = ", ".join(sorted(file)) or "nothing"
        raise _refusal(path, f"has no data set `images` (it holds {held})")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != CHANNELS:
        raise _refusal(path, f"has `images` of {images.dtype} and shape {images.shape}")
    if not len(images):
        raise _refusal(path, "has no galaxy: `images` is empty")
    if not all(FEWEST_PIXELS <= side <= MOST_PIXELS for side in images.shape[1:3]):
        raise _refusal(path, f"has images of {images.shape[1]} x {images.shape[2]} pixels")
    return images


def _column(file: h5py.File, path: Path, name: str, count: int) -> NDArray[Any] | None:
    column = file.get(name)
    if column is None:
        return None
    if not isinstance(column, h5py.Dataset) or column.shape != (count,) or column.dtype.kind not in "fiu":
        found = f"{column.dtype} of shape {column.shape}" if isinstance(column, h5py.Dataset) else "a group"
        raise _refusal(path, f"has `{name}` as {found} for {count} images")
    return np.asarray(column[:])


def _refusal(path: Path, what: str) -> RecipeError:
    return RecipeError(
        f"the file of galaxies {path} {what}",
        expected=_EXPECTED,
        where=f"source.file, looked for at {path.absolute()}",
        advice=_ADVICE,
    )


class GalaxyFile:
    """Images by their number. The file is opened when the first is asked for, in the process that asks."""

    def __init__(self, path: Path, sha256: str) -> None:
        self.path = path
        self.sha256 = sha256
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._file: h5py.File | None = None

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images (n, y, x, 3); those asked for last are kept in memory."""
        missing = [number for number in np.unique(numbers).tolist() if number not in self._kept]
        if missing:
            images = self._open()["images"]
            for number in missing:
                self._kept[number] = self._read(images, number)
        found = np.stack([self._kept[number] for number in numbers.tolist()])
        for number in numbers.tolist():
            self._kept.move_to_end(number)
        while len(self._kept) * found[0].nbytes > KEPT_BYTES:
            self._kept.popitem(last=False)
        return found

    def _open(self) -> h5py.File:
        if self._file is None:
            check_same(look_at_galaxies(self.path), self.sha256)
            self._file = h5py.File(self.path, "r", rdcc_nbytes=CHUNK_BYTES)
        return self._file

    def _read(self, images: Any, number: int) -> NDArray[np.uint8]:
        try:
            return np.asarray(images[number])
        except OSError as error:
            reason = first_line(error)
            raise _refusal(self.path, f"cannot be read at galaxy {number}: {reason}") from error


def check_same(table: GalaxyTable, sha256: str) -> None:
    """Refuse a file that is not the one a data set was begun with."""
    if table.sha256 != sha256:
        raise RecipeError(
            f"the file of galaxies {table.path} is another than before: its SHA-256 is {table.sha256}",
            expected=f"SHA-256 {sha256}",
            where="source.file",
            advice="restore the file, name a copy of it by --set source.file=PATH, or make a new data set",
        )
