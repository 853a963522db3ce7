"""Files that only grow, a line at a time, with several processes writing."""

import os
from pathlib import Path

from schemas.errors import WriteError
from storage.files.file_lock import take

NEWLINE = b"\n"


def append_line(path: Path, line: str) -> None:
    """Add a line, which is on the disk when this returns. What a kill left of another stays apart."""
    assert "\n" not in line
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            # the lock ends with the file, or with the process
            take(file, "this file", wait=True)
            file.write((b"" if _ends_whole(path) else NEWLINE) + line.encode() + NEWLINE)
            file.flush()
            os.fsync(file.fileno())
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}", advice="free space or mend permissions"
        ) from error


def read_lines(path: Path) -> list[str]:
    """All whole lines, oldest first; of a file that is not there none. A torn last line is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    *whole, _ = content.split(NEWLINE)
    return [line.decode(errors="replace") for line in whole if line]


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == NEWLINE
