"""Whether a store can be made, or continued, at a path. Nothing here writes."""

import os
import shutil
from pathlib import Path
from typing import Any

from schemas.errors import PlaceError, StoreConflictError, StoreError, StoreTakenError, WriteError
from schemas.imported import Origin
from schemas.store import StorePlan
from storage import layout
from storage.commit import BOOKS, PLAN, read_json, receipt_path
from storage.files.object_path import ObjectPath
from storage.files.place import Root

# What people call parts of a plan.
OPTIONS = {"shard_rows": "--shard-size", "backend": "storage.backend", "profile": "storage.profile"}


def check_target(root: Root, recipe: Origin, plan: StorePlan) -> None:
    """Refuse a path where this store cannot be made or continued. Writes nothing."""
    if isinstance(root, ObjectPath):
        _check_objects(root, plan)
    check_place(root)
    if (root / PLAN).is_file():
        _check_plan(root, recipe, plan)


def check_place(root: Root) -> None:
    """Refuse a path where no store can be, whatever it is to hold; quick, to be done before long work."""
    if isinstance(root, Path):
        _check_folder(root)
    if not (root / PLAN).is_file():
        foreign = [one.name for one in root.iterdir() if one.name != BOOKS.name] if root.exists() else []
        if foreign:
            raise StoreTakenError(
                f"{root} is not empty and no lensmill store (it holds {sorted(foreign)[0]!r})",
                expected="an empty or new folder, or a store of this recipe",
                advice="choose another --out",
            )


def _check_objects(root: ObjectPath, plan: StorePlan) -> None:
    """Whether a bucket may be written is known when the lock is put there."""
    if plan.backend != "zarr":
        raise PlaceError(
            f"cannot write a store of {plan.backend} at {root}",
            expected="storage.backend: zarr, whose files can be read in part over a network",
            advice="choose zarr, or a path on a disk",
        )
    if root.is_file():
        raise PlaceError(
            f"{root} is an object", expected="a prefix where nothing is yet", advice="choose another --out"
        )


def _check_folder(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise PlaceError(
            f"{root} is a file",
            expected="a folder, or a path where nothing is yet",
            advice="choose another --out",
        )
    existing = _nearest_existing(root)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        told, advice = "is a file", "choose another --out"
        if existing.is_dir():
            told, advice = "is not writable", "choose another --out or mend permissions"
        raise PlaceError(
            f"cannot write a store at {root}: {existing} {told}",
            expected="a folder that can be created or is writable",
            advice=advice,
        )


def _check_plan(root: Root, recipe: Origin, plan: StorePlan) -> None:
    found = read_json(root / PLAN, StorePlan)
    if found.recipe_digest != plan.recipe_digest:
        raise StoreTakenError(
            f"the store at {root} holds recipe {found.recipe_name!r}, digest {found.recipe_digest}",
            expected=f"recipe {recipe.name!r}, digest {plan.recipe_digest}",
            advice="choose another --out, or move the old store away",
        )
    if found.model_copy(update={"recipe_name": plan.recipe_name}) != plan:
        raise StoreTakenError(
            f"the store at {root} was begun with {_difference(found, plan)}",
            expected=_difference(plan, found),
            advice=_advice(root, found),
        )


def _advice(root: Root, found: StorePlan) -> str:
    if found.provenance.conversions:
        return f"it was converted: mend it by `lensmill repair {root}`, or by that `lensmill convert`"
    return (
        "use the same options and versions as before, or choose another --out;"
        f" if its books were damaged: lensmill repair {root}"
    )


def plan_there(root: Root, plan: StorePlan) -> StorePlan:
    """The plan of the store at a path, if versions are all that tells it from this one; else this one."""
    try:
        found = read_json(root / PLAN, StorePlan)
    except StoreError:
        return plan
    made_by = plan.provenance.model_copy(update={"versions": found.provenance.versions})
    same = plan.model_copy(update={"provenance": made_by, "recipe_name": found.recipe_name}) == found
    return plan.model_copy(update={"provenance": made_by}) if same else plan


def is_complete(root: Root, plan: StorePlan) -> bool:
    """Whether every shard has a receipt; what they are worth is seen later. A path without a store is not."""
    return all((root / receipt_path(span)).is_file() for span in layout.spans(plan))


def check_versions(root: Root, plan: StorePlan, here: dict[str, str]) -> None:
    """Refuse to make shards beside those of other versions, which may have other bytes."""
    before = plan.provenance.versions
    differ = [name for name in here if here[name] != before.get(name)]
    if (root / PLAN).is_file() and differ:
        theirs = ", ".join(f"{name} {before.get(name)}" for name in differ)
        raise StoreConflictError(
            f"the store at {root} was begun with {theirs}",
            expected=", ".join(f"{name} {here[name]}" for name in differ),
            where=f"digest {plan.recipe_digest}, the same in both",
            advice="use the versions of before, or choose another --out; of a damaged store, `lensmill repair"
            " STORE` makes the missing shards again if they come out as the same bytes",
        )


def _difference(one: StorePlan, other: StorePlan) -> str:
    theirs, mine = (_told(plan) for plan in (other, one))
    if mine["profile"] != theirs["profile"]:
        # arrays and scales follow from it
        del mine["arrays"]
    provenance, their_provenance = mine.pop("provenance"), theirs.pop("provenance")
    versions, their_versions = provenance.pop("versions"), their_provenance.pop("versions")
    pairs = [
        *((key, value, theirs.get(key)) for key, value in mine.items()),
        *((key, value, their_provenance.get(key)) for key, value in provenance.items()),
        *((key, value, their_versions.get(key)) for key, value in versions.items()),
    ]
    return ", ".join(f"{OPTIONS.get(key, key)} {mine_}" for key, mine_, theirs_ in pairs if mine_ != theirs_)


def _told(plan: StorePlan) -> dict[str, Any]:
    """A plan as people compare it: arrays by name and shape, a catalogue by its number of columns."""
    arrays = ", ".join(f"{spec.name} {spec.tail}" for spec in plan.arrays)
    catalogue = f"of {len(plan.catalogue)} columns" if plan.catalogue else "none"
    told = plan.model_dump(mode="json") | {"arrays": arrays, "catalogue": catalogue}
    steps = [
        f"from {one.backend} {one.profile} {one.manifest_sha256[:12]}" for one in plan.provenance.conversions
    ]
    told["provenance"]["conversions"] = " and ".join(steps) or "none"
    return told


def _nearest_existing(root: Path) -> Path:
    return next(path for path in (root, *root.absolute().parents) if path.exists())


def check_space(root: Root, needed: int, advice: str = "free space or choose another --out") -> None:
    """Refuse what the disk cannot hold, before anything is written. A bucket has no end that we know."""
    if isinstance(root, ObjectPath):
        return
    existing = _nearest_existing(root)
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise WriteError(
            f"{existing} has {_spelt(free)} free",
            expected=f"{_spelt(needed)} for the shards that are to be written",
            advice=advice,
        )


def bytes_present(root: Root) -> int:
    """What a store that is to be continued already holds."""
    if isinstance(root, ObjectPath):
        return sum(root.sizes().values())
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0


def _spelt(count: int) -> str:
    """Bytes in the largest unit, up to GB, of which there is one or more."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count} bytes"
