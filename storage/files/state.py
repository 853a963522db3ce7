"""Where lensmill keeps what is neither data nor configuration."""

import contextlib
import os
from pathlib import Path


def state_folder() -> Path:
    """`LENSMILL_HOME`, or the XDG place."""
    if own := os.environ.get("LENSMILL_HOME"):
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "lensmill"


def private_folder(name: str) -> Path:
    """A folder of the state folder that its owner alone can look into, made if it is not there.

    Prefect's database and logs hold what runs were given, web addresses and keys of blocks among it.
    """
    state_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = state_folder() / name
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_mode & 0o077 and found.st_uid == os.getuid():
        # a file system without modes is the user's own choice
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
    return folder
