"""Files that are on the disk whole or not there, and whether they still hold what was written."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from schemas.errors import PlaceError, WriteError
from schemas.store import FileRecord
from storage.files.object_path import ObjectPath
from storage.files.place import Root

TEMPORARY = ".tmp"
# Part of a file, to be followed by the next.
Part = bytes | NDArray[np.uint8]
# Fits into a core's cache, so that checksums read it from there.
READ_BYTES = 512 << 10


class Written(NamedTuple):
    """What a file holds; checksums are hexadecimal."""

    size: int
    crc32c: str
    sha256: str


def write_result(path: Path, content: bytes, what: str) -> Path:
    """A file that a person asked for, such as a picture: whole, or as it was before."""
    if not path.parent.is_dir() or path.is_dir():
        told = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise PlaceError(
            f"cannot write {what} {path}: {told}",
            expected="a file in a folder that is there",
            advice="choose another --out, or make the folder",
        )
    try:
        write_whole(path, content)
    except WriteError as error:
        raise WriteError(
            error.found,
            expected=f"a path that can be written, with {len(content) // 1000 + 1} kB to spare",
            advice="free space or mend permissions, or choose another --out",
        ) from error
    return path


def write_whole(path: Root, content: bytes | Iterable[Part]) -> Written:
    """A file that is either there with all its bytes, on the disk and not in a cache, or not there."""
    parts = (content,) if isinstance(content, bytes) else content
    return _put_whole(path, parts) if isinstance(path, ObjectPath) else _rename_whole(path, parts)


def _put_whole(path: ObjectPath, parts: Iterable[Part]) -> Written:
    """One request: a server shows an object when it has all of it, and needs no temporary name."""
    whole = BytesIO()
    written = _pour(parts, whole)
    path.put(whole.getbuffer())
    return written


def _rename_whole(path: Path, parts: Iterable[Part]) -> Written:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        _make_folder(path.parent)
        with temporary.open("wb") as file:
            written = _pour(parts, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}",
            advice="free space or mend permissions, then run the command again; finished shards are kept",
        ) from error
    return written


def sums(content: bytes | Iterable[Part]) -> Written:
    """What a file of this content would hold."""
    return _pour((content,) if isinstance(content, bytes) else content)


def _pour(parts: Iterable[Part], file: Any = None) -> Written:
    """Write part by part, if to a file; each is summed while it is in the core's cache."""
    sha, crc, size = hashlib.sha256(), 0, 0
    for part in parts:
        sha.update(part)  # type: ignore[arg-type]  # numpy tells of its buffer from Python 3.12 on
        crc = google_crc32c.extend(crc, part)
        size += len(part)
        if file is not None:
            file.write(part)
    return Written(size, f"{crc:08x}", sha.hexdigest())


def _make_folder(folder: Path) -> None:
    """A folder that a power cut cannot take away again, its parents included."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """The rename itself is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_fault(root: Root, record: FileRecord, thorough: bool = True) -> str | None:
    """What is wrong with one file, read byte by byte; None when nothing is. Not thorough: without SHA-256."""
    try:
        found = _sums(_parts(root / record.path), thorough)
    except OSError as error:
        return f"{record.path}: {error.strerror}"
    if found.size != record.size:
        return f"{record.path}: {found.size:,} bytes, the receipt says {record.size:,}"
    if found.crc32c != record.crc32c or (thorough and found.sha256 != record.sha256):
        return f"{record.path}: the bytes changed since they were written (checksum differs)"
    return None


def _parts(path: Root) -> Iterator[NDArray[np.uint8]]:
    """A file part by part; each is gone when the next is asked for."""
    if isinstance(path, ObjectPath):
        yield from (np.frombuffer(part, np.uint8) for part in path.parts(READ_BYTES))
        return
    buffer = np.empty(READ_BYTES, np.uint8)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):  # type: ignore[arg-type]  # as above
            yield buffer[:count]


def _sums(parts: Iterable[NDArray[np.uint8]], thorough: bool) -> Written:
    sha, crc, size = hashlib.sha256(), 0, 0
    for part in parts:
        if thorough:
            sha.update(part)  # type: ignore[arg-type]  # as above
        crc = google_crc32c.extend(crc, part)
        size += len(part)
    return Written(size, f"{crc:08x}", sha.hexdigest())
