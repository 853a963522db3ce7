"""Files of the state folder: for the user's eyes alone, and whole or not there."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import WriteError


def mine(path: Path) -> bool:
    """Whether a file is the user's and nobody else can read it."""
    state = path.lstat()
    return state.st_uid == os.getuid() and not state.st_mode & 0o077 and not path.is_symlink()


def write_private(path: Path, text: str) -> None:
    """Put a file in the place of the one that is there; one that says the same is left alone."""
    with contextlib.suppress(OSError):
        if path.read_text() == text and mine(path):
            return
    with _beside(path, text) as whole:
        whole.replace(path)


def create_private(path: Path, text: str) -> None:
    """A file, unless there is one: of two processes at once the first decides what it says."""
    with _beside(path, text) as whole, contextlib.suppress(FileExistsError):
        os.link(whole, path)


@contextlib.contextmanager
def _beside(path: Path, text: str) -> Iterator[Path]:
    """A whole file on the disk, by another name; gone at the end, unless it was renamed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror}",
            advice="free space there, or name another state folder in LENSMILL_HOME",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
