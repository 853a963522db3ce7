"""Locks of files, which the kernel takes back from a process that died. All of ours are taken here."""

import fcntl
from pathlib import Path
from typing import IO, Any

from schemas.errors import PlaceError

MOUNTS = Path("/proc/self/mounts")
# what else may lie on such a file system, as it is told
STATE_FOLDER = "the state folder (LENSMILL_HOME)"


def take(file: IO[Any], of: str, *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open file until it is closed; a `BlockingIOError` where another process has the lock.

    Any other failure is the file system's, which nobody needs to wait for: Lustre that is mounted without
    `flock` says ENOSYS, NFS without its lock daemon ENOLCK. `of` says what to put elsewhere then.
    """
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise PlaceError(
            f"{file.name} cannot be locked: {error.strerror or error}",
            expected="a file system with locks, which keep two processes from writing at a time",
            where=file_system(Path(file.name)),
            advice=f"mount it with them (Lustre: -o flock; NFS: version 4, or lockd), or put {of} elsewhere",
        ) from error


def file_system(path: Path) -> str:
    """The kind of file system that a path is on, and where it is mounted; the path where nothing tells."""
    try:
        lines = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return str(path)
    # as the kernel writes blanks
    mounts = {fields[1].replace("\\040", " "): fields[2] for fields in lines}
    above = [str(one) for one in path.resolve().parents if str(one) in mounts]
    return f"{mounts[above[0]]} at {above[0]}" if above else str(path)
