"""Removing a store so that nobody takes what is left for data, whenever the removal is killed.

The seal goes first: from then on readers refuse the store, as they do one that was never finished. What
lensmill did not write there (a note, a link) keeps the store; links are never followed.
"""

import os
import shutil
from pathlib import Path

from schemas.errors import StoreConflictError, StoreError, WriteError
from schemas.store import Manifest, StoredRecipe, StorePlan
from storage.commit import BOOKS, LOCK, MANIFEST, PLAN, RECIPE, read_json, unseal, writing
from storage.files.object_path import ObjectPath
from storage.files.place import Root
from storage.formats import BACKENDS
from storage.strangers import is_half_written, known_files


def check_removable(root: Root) -> None:
    """Refuse what holds files that lensmill did not write, or whose own cannot be told. Changes nothing."""
    _check_no_link(root)
    foreign = sorted(_files(root) - _own(root))
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise StoreConflictError(
            f"{root} holds files that lensmill did not write: {foreign[0]}{more}",
            expected="a store with nothing else in its folder",
            advice="move them away, or remove the store yourself",
        )


def remove(root: Root, begun: bool = False) -> None:
    """Delete a store that nobody is writing. `begun`: a removal that was killed is gone on with."""
    if begun:
        _check_no_link(root)
    else:
        check_removable(root)
    if isinstance(root, ObjectPath):
        if root.is_dir():
            _remove_objects(root)
    elif root.is_dir():
        with writing(root):
            unseal(root)
            _remove_tree(root)


def _remove_objects(root: ObjectPath) -> None:
    with writing(root):
        unseal(root)
        for path in root.sizes():
            if path != LOCK.as_posix():
                (root / path).unlink(missing_ok=True)
    # the note of the lock is put a last time when it is let go
    (root / LOCK).unlink(missing_ok=True)


def _remove_tree(root: Path) -> None:
    try:
        # does not follow links, wherever they are put meanwhile
        shutil.rmtree(root)
    except OSError as error:
        raise WriteError(
            f"cannot remove {root}: {error.strerror or error}", advice="mend permissions; it is gone on with"
        ) from error


def _check_no_link(root: Root) -> None:
    if isinstance(root, Path) and (root.is_symlink() or (root / BOOKS).is_symlink()):
        raise StoreConflictError(
            f"{root} is a link to another place", expected="a folder", advice="remove it yourself"
        )


def _own(root: Root) -> set[str]:
    """What a store of this plan may have, sealed or not; without a plan no more than its books."""
    if not (root / PLAN).is_file():
        return known_files(None, ())
    plan, stored = read_json(root / PLAN, StorePlan), read_json(root / RECIPE, StoredRecipe)
    try:
        metadata = [one.path for one in read_json(root / MANIFEST, Manifest).metadata]
    except StoreError:
        metadata = list(BACKENDS[plan.backend].metadata_files(plan, stored))
    return known_files(plan, metadata)


def _files(root: Root) -> set[str]:
    """Everything but folders by its path in the store, links included."""
    if isinstance(root, ObjectPath):
        return set(root.sizes())
    found = set()
    for folder, below, names in os.walk(root, followlinks=False):
        links = [name for name in below if (Path(folder) / name).is_symlink()]
        found |= {
            (Path(folder) / name).relative_to(root).as_posix()
            for name in [*names, *links]
            if not is_half_written(name) or name in links
        }
    return found
