"""Stores below a folder, found by their books."""

import os
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import StoreMissingError
from storage.commit import BOOKS, PLAN
from storage.files.object_path import ObjectPath
from storage.files.place import Root


def stores_below(root: Root) -> Iterator[Root]:
    """Every store in a folder or below, finished or not, in the order of their paths; itself if it is one."""
    if not root.is_dir():
        raise StoreMissingError(
            f"there is no folder {root}", expected="a folder with stores below it", advice="check the path"
        )
    yield from _objects(root) if isinstance(root, ObjectPath) else _folders(root)


def _objects(root: ObjectPath) -> Iterator[Root]:
    for path in sorted(root.sizes()):
        if path == PLAN.as_posix():
            yield root
        elif path.endswith(f"/{PLAN.as_posix()}"):
            yield root / path.removesuffix(f"/{PLAN.as_posix()}")


def _folders(root: Path) -> Iterator[Root]:
    """Links are followed, and each real folder is looked at once."""
    seen: set[Path] = set()
    for here, below, _ in os.walk(root, followlinks=True):
        real = Path(here).resolve()
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        if (real / BOOKS).is_dir() and (real / PLAN).is_file():
            below.clear()
            yield Path(here)
        else:
            below.sort()
