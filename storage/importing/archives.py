"""The arrays of a .npz or HDF5 file by their keys, not read: broken files are told in words of ours."""

import errno
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError, WriteError
from storage.files.array_file import header_of, mapped, objects_refused
from storage.files.unreadable import SHOWN_BYTES, UnreadableError, not_a, reason

# bytes of decompressed chunks that h5py keeps, since rows are in another order than the file
CHUNK_CACHE_BYTES = 256 << 20
COPIED_BYTES = 1 << 20
DAMAGED = "it is cut off or damaged"


@dataclass(frozen=True)
class Closed:
    """What has a key but is not read: an array of Python objects."""

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"

    def __getitem__(self, index: object) -> Any:
        raise objects_refused()


def npz_arrays(path: Path, opened: ExitStack) -> dict[str, Any]:
    """Members are unpacked to a temporary folder and mapped there: a zip file cannot be."""
    expected = "an archive of arrays, as numpy.savez writes it"
    begins = beginning(path, expected)
    if not zipfile.is_zipfile(path):
        cut = begins.startswith(b"PK\x03\x04")
        raise refusal(path, UnreadableError(DAMAGED) if cut else not_a(".npz file", begins), expected)
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="lensmill-npz-")))
    arrays = {}
    for name, member in _unpacked(path, folder, expected).items():
        try:
            header = header_of(member)
        except UnreadableError as error:
            raise refusal(path, UnreadableError(f"{name}.npy in it: {error}"), expected) from error
        arrays[name] = Closed(*header) if header.dtype.hasobject else mapped(member)
    return arrays


def _unpacked(path: Path, folder: Path, expected: str) -> dict[str, Path]:
    """The arrays of a .npz file as files; what else is packed with them stays where it is."""
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
            for number, member in enumerate(members):
                into = folder / f"{number}.npy"
                with archive.open(member) as packed, into.open("wb") as file:
                    shutil.copyfileobj(packed, file, COPIED_BYTES)
                found[member.filename.removesuffix(".npy")] = into
    # a broken archive makes its readers raise anything
    except Exception as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise WriteError(
                f"{path} cannot be unpacked to {folder}: {reason(error)}",
                advice="free space there, or set TMPDIR to a folder that has more",
            ) from error
        raise refusal(path, UnreadableError(DAMAGED), expected) from error
    return found


def hdf5_arrays(path: Path, opened: ExitStack) -> dict[str, Any]:
    """Data sets of an HDF5 file, wherever in it. Text is read; all else stays in the file."""
    import h5py

    expected = "an HDF5 file of arrays"
    begins = beginning(path, expected)
    if not h5py.is_hdf5(path):
        raise refusal(path, not_a("HDF5 file", begins), expected, "as HDF5")
    arrays: dict[str, Any] = {}

    def keep(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset) and found.shape is not None:
            text = h5py.check_string_dtype(found.dtype) is not None
            arrays[name] = found.asstr()[:].astype(str) if text and found.ndim == 1 else found

    try:
        file = opened.enter_context(h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES))
        file.visititems(keep)
    # so does a broken HDF5 file
    except Exception as error:
        raise refusal(path, UnreadableError(_length(error) or DAMAGED), expected, "as HDF5") from error
    return arrays


def _length(error: Exception) -> str:
    """Of a file that is cut off, the HDF5 library says how long it is and was."""
    found = re.search(r"truncated file: eof = (\d+), .*stored_eof = (\d+)", str(error))
    return f"it is cut off: {int(found[1]):,} of {int(found[2]):,} bytes" if found else ""


def whole(path: Path, key: str, arrays: Mapping[str, Any]) -> NDArray[Any]:
    """An array of a file, read."""
    try:
        return np.asarray(arrays[key][()])
    # h5py reads only now and raises anything
    except Exception as error:
        fault = error if isinstance(error, UnreadableError) else UnreadableError(DAMAGED)
        raise refusal(path, fault, "plain numbers or words", f"at {key}") from error


def beginning(path: Path, expected: str) -> bytes:
    """The first bytes of a file, by which formats are known."""
    try:
        with path.open("rb") as file:
            return file.read(SHOWN_BYTES)
    except OSError as error:
        raise refusal(path, error, expected) from error


def refusal(path: Path, fault: Exception, expected: str, how: str = "") -> DataError:
    """The error for a file with this fault."""
    return DataError(
        f"{path} cannot be read{f' {how}' if how else ''}: {reason(fault)}",
        expected=expected,
        advice=getattr(fault, "advice", "") or "fetch or make the file again",
    )
