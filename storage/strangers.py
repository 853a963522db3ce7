"""Files in the folder of a store that are no part of it.

Other readers take some of them for data: pandas reads every table of a folder, zarr every `zarr.json`. Those
are faults. A note or a picture beside the data harms nobody and is only told.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from schemas.dataset import SPLITS
from schemas.store import Manifest, StorePlan
from storage import catalogue, layout
from storage.commit import LOCK, MANIFEST, MARKER, PLAN, RECEIPTS, RECIPE, SCHEMA, VERIFICATION, receipt_path
from storage.files.durable import TEMPORARY
from storage.files.place import Root
from storage.formats import BACKENDS


class Strangers(NamedTuple):
    """By their path in the store."""

    read: tuple[str, ...]
    """where readers look: in the folder of a split, among the receipts, or named as a format's entry"""
    beside: tuple[str, ...]
    """anywhere else"""


def find_strangers(root: Root, plan: StorePlan, manifest: Manifest) -> Strangers:
    """What is there beside the files of the plan. What killed writers left half-written does not count."""
    known = _known(plan, manifest)
    read, beside = list[str](), list[str]()
    entries = {backend.entry for backend in BACKENDS.values()}
    for path, name in _files(root):
        if path not in known and not is_half_written(name):
            inside = path.startswith((*(f"{split}/" for split in SPLITS), f"{RECEIPTS.as_posix()}/"))
            (read if inside or name in entries else beside).append(path)
    return Strangers(tuple(sorted(read)), tuple(sorted(beside)))


def _known(plan: StorePlan, manifest: Manifest) -> set[str]:
    return known_files(plan, [record.path for record in manifest.metadata])


def known_files(plan: StorePlan | None, metadata: Iterable[str]) -> set[str]:
    """All files that a store of this plan may have; without a plan its books alone."""
    known = {one.as_posix() for one in (RECIPE, PLAN, SCHEMA, MANIFEST, MARKER, LOCK, VERIFICATION)}
    known |= set(metadata)
    if plan is None:
        return known
    for span in layout.spans(plan):
        known.add(receipt_path(span).as_posix())
        known |= {*BACKENDS[plan.backend].shard_paths(plan, span), *catalogue.shard_paths(plan, span)}
    return known


def is_half_written(name: str) -> bool:
    """Whether a file is what a killed writer left."""
    return name.startswith(".") and name.endswith(TEMPORARY)


def _files(root: Root) -> Iterator[tuple[str, str]]:
    """Path in the store and name of every file."""
    for path in root.rglob("*"):
        if path.is_file():
            yield str(path).removeprefix(f"{root}/"), path.name
