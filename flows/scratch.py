"""Temporary folders of a process, which killed processes leave behind."""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil


@contextlib.contextmanager
def scratch_folder(prefix: str, above: Path | None = None) -> Iterator[Path]:
    """A folder for this process alone; those that dead ones left with the same prefix are removed.

    The last sign of the prefix stands behind the process's number as well.
    """
    above = above or Path(tempfile.gettempdir())
    mark = prefix[-1]
    for left in above.glob(f"{glob.escape(prefix)}*{mark}*"):
        owner = left.name.removeprefix(prefix).partition(mark)[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}{mark}", dir=above) as folder:
        yield Path(folder)
