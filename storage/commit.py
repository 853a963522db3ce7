"""How bytes become a store that can be trusted.

Every file is written whole under a temporary name, synced and renamed. A shard's receipt is written after its
files and is the only evidence that the shard exists. The manifest lists all receipts and the marker seals the
manifest; whatever dies in between leaves a store that readers refuse and a rerun completes.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import google_crc32c
import numpy as np
from pydantic import BaseModel, ValidationError

from schemas.columns import column_faults
from schemas.dataset import DatasetRecipe
from schemas.errors import (
    ColumnError,
    StoreBusyError,
    StoreConflictError,
    StoreDamagedError,
    WriteError,
)
from schemas.frozen import sha256_of
from schemas.store import FORMAT_VERSION, CommitMarker, FileRecord, Manifest, Receipt, StoredRecipe, StorePlan
from storage import layout
from storage.backend import BACKENDS, Arrays
from storage.layout import Span

Model = TypeVar("Model", bound=BaseModel)

BOOKS = Path("lensmill")
RECIPE = BOOKS / "recipe.json"
PLAN = BOOKS / "plan.json"
MANIFEST = BOOKS / "manifest.json"
MARKER = BOOKS / "COMMIT.json"
LOCK = BOOKS / "lock"
RECEIPTS = BOOKS / "receipts"
TEMPORARY = ".tmp"


def write_whole(path: Path, content: bytes) -> None:
    """A file that is either there with all its bytes, on the disk and not in a cache, or not there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        _make_folder(path.parent)
        with temporary.open("wb") as file:
            file.write(content)
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


def checksums(content: bytes) -> tuple[str, str]:
    """crc32c and sha256, both hexadecimal."""
    return f"{google_crc32c.value(content):08x}", sha256_of(content)


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """The right to write a store, one driver at a time; the kernel takes it back from a dead one."""
    try:
        (root / BOOKS).mkdir(parents=True, exist_ok=True)
        lock = (root / LOCK).open("w")
    except OSError as error:
        raise WriteError(
            f"cannot write a store at {root}: {error.strerror}",
            expected="a folder that can be created or is writable",
            advice="choose another --out or mend permissions",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreBusyError(
                f"another process is writing {root}", advice="wait for it to end, or choose another --out"
            ) from error
        yield


def check_target(root: Path, recipe: DatasetRecipe, plan: StorePlan) -> None:
    """Refuse a path where this store cannot be made or continued. Writes nothing."""
    if root.exists() and not root.is_dir():
        raise WriteError(f"{root} is a file", expected="a folder, or a path where nothing is yet")
    existing = _nearest_existing(root)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        fault = "is not writable" if existing.is_dir() else "is a file"
        raise WriteError(
            f"cannot write a store at {root}: {existing} {fault}",
            expected="a folder that can be created or is writable",
            advice="choose another --out or mend permissions",
        )
    if not (root / PLAN).is_file():
        foreign = [one.name for one in root.iterdir() if one.name != BOOKS.name] if root.exists() else []
        if foreign:
            raise StoreConflictError(
                f"{root} is not empty and no lensmill store (it holds {sorted(foreign)[0]!r})",
                expected="an empty or new folder, or a store of this recipe",
                advice="choose another --out",
            )
        return
    found = read_json(root / PLAN, StorePlan)
    if found.recipe_digest != recipe.digest:
        raise StoreConflictError(
            f"the store at {root} holds recipe {found.recipe_name!r}, digest {found.recipe_digest}",
            expected=f"recipe {recipe.name!r}, digest {recipe.digest}",
            advice="choose another --out, or move the old store away",
        )
    if found.model_copy(update={"recipe_name": plan.recipe_name}) != plan:
        raise StoreConflictError(
            f"the store at {root} was begun with {_difference(found, plan)}",
            expected=_difference(plan, found),
            advice="use the same options and versions as before, or choose another --out",
        )


def _difference(one: StorePlan, other: StorePlan) -> str:
    theirs = other.model_dump(mode="json")
    mine = one.model_dump(mode="json")
    provenance, their_provenance = mine.pop("provenance"), theirs.pop("provenance")
    versions, their_versions = provenance.pop("versions"), their_provenance.pop("versions")
    pairs = [
        *((key, value, theirs.get(key)) for key, value in mine.items()),
        *((key, value, their_provenance.get(key)) for key, value in provenance.items()),
        *((key, value, their_versions.get(key)) for key, value in versions.items()),
    ]
    return ", ".join(f"{key} {mine_}" for key, mine_, theirs_ in pairs if mine_ != theirs_)


def begin(root: Path, recipe: DatasetRecipe, plan: StorePlan) -> None:
    """Write recipe and plan, and sweep up what a killed writer left half-written. Needs `writing`."""
    for stray in root.rglob(f".*{TEMPORARY}"):
        stray.unlink(missing_ok=True)
    if not _holds_recipe(root, recipe):
        unseal(root)
        write_whole(root / RECIPE, stored_recipe(recipe).to_json().encode())
    if not (root / PLAN).is_file():
        write_whole(root / PLAN, plan.to_json().encode())


def _holds_recipe(root: Path, recipe: DatasetRecipe) -> bool:
    try:
        found = read_json(root / RECIPE, StoredRecipe)
        return found.digest == found.recipe.digest == recipe.digest
    except StoreDamagedError:
        return False


def plan_digest(root: Path) -> str:
    """SHA-256 of the plan as stored: newer code may spell the same plan differently."""
    return sha256_of((root / PLAN).read_bytes())


def stored_recipe(recipe: DatasetRecipe) -> StoredRecipe:
    """The recipe as a store keeps it."""
    return StoredRecipe(digest=recipe.digest, physics=recipe.physics_json, recipe=recipe)


def _nearest_existing(root: Path) -> Path:
    return next(path for path in (root, *root.absolute().parents) if path.exists())


def check_space(root: Path, needed: int) -> None:
    """Refuse what the disk cannot hold, before anything is simulated."""
    existing = _nearest_existing(root)
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise WriteError(
            f"{existing} has {_gigabytes(free)} free",
            expected=f"{_gigabytes(needed)} for the shards that are to be written",
            advice="free space, choose another --out, or lower samples_per_class",
        )


def bytes_present(root: Path) -> int:
    """What a store that is to be continued already holds."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB"


def write_shard(root: Path, recipe: DatasetRecipe, plan: StorePlan, span: Span, arrays: Arrays) -> Receipt:
    """Check a shard against the specification, write its files, then its receipt."""
    faults = shard_faults(recipe, plan, span, arrays)
    if faults:
        raise ColumnError(
            f"{span} breaks the specification and was not written\n"
            + "\n".join(f"  - {fault}" for fault in faults),
            where=str(root),
            advice="a prior reaches beyond what a column allows, or the simulator is wrong",
        )
    files = BACKENDS[plan.backend].shard_files(plan, span, arrays)
    receipt = Receipt(
        recipe_digest=plan.recipe_digest,
        plan_digest=plan_digest(root),
        split=span.split,  # type: ignore[arg-type]
        shard=span.shard,
        first_row=span.first_row,
        rows=span.rows,
        files=_write_files(root, files),
    )
    write_whole(root / receipt_path(span), receipt.to_json().encode())
    return receipt


def _write_files(root: Path, files: dict[str, bytes]) -> tuple[FileRecord, ...]:
    records = []
    for path, content in files.items():
        write_whole(root / path, content)
        crc, sha = checksums(content)
        records.append(FileRecord(path=path, size=len(content), crc32c=crc, sha256=sha))
    return tuple(records)


def shard_faults(recipe: DatasetRecipe, plan: StorePlan, span: Span, arrays: Arrays) -> list[str]:
    """Everything that is wrong with the arrays of a shard; empty when all is well."""
    faults = []
    for spec in plan.arrays:
        array = arrays[spec.name]
        if array.shape != (span.rows, *spec.tail) or array.dtype != np.dtype(spec.dtype):
            faults.append(
                f"{spec.name} is {array.dtype}{array.shape}, expected {spec.dtype}{(span.rows, *spec.tail)}"
            )
    if faults:
        return faults
    expected = layout.sample_ids(recipe, span)
    for name, wanted in (("sample_id", expected), ("label", layout.labels_of(recipe, expected))):
        wrong = np.flatnonzero(arrays[name] != wanted)
        if len(wrong):
            row = wrong[0]
            faults.append(
                f"{name}: {len(wrong)} of {span.rows} rows wrong (row {row}:"
                f" {arrays[name][row]} instead of {wanted[row]})"
            )
    # a sum is finite only if every addend is: one pass, no temporary
    with np.errstate(invalid="ignore"):
        sums = arrays["image"].sum(axis=(1, 2, 3), dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(sums))
    if len(broken):
        faults.append(f"image: {len(broken)} of {span.rows} images not finite (row {broken[0]})")
    return faults + column_faults(plan.columns, arrays["params"], arrays["label"])


def receipt_path(span: Span) -> Path:
    """Where the receipt of a shard is."""
    return RECEIPTS / span.split / f"{span.shard:06d}.json"


def valid_receipt(root: Path, plan: StorePlan, span: Span) -> Receipt | None:
    """The receipt of a shard that can be kept: of this plan, with files whose bytes still match."""
    path = root / receipt_path(span)
    if not path.is_file():
        return None
    try:
        receipt = read_json(path, Receipt)
    except StoreDamagedError:
        return None
    paths = [one.path for one in receipt.files]
    if paths != BACKENDS[plan.backend].shard_paths(plan, span):
        return None
    mine = (plan.recipe_digest, plan_digest(root), span.split, span.shard, span.first_row, span.rows)
    theirs = (
        receipt.recipe_digest,
        receipt.plan_digest,
        receipt.split,
        receipt.shard,
        receipt.first_row,
        receipt.rows,
    )
    return receipt if mine == theirs and not any(file_fault(root, one) for one in receipt.files) else None


def discard(root: Path, span: Span) -> None:
    """Take back the receipt of a shard that is to be made again, and the marker that vouched for it."""
    if (root / receipt_path(span)).exists():
        unseal(root)
        (root / receipt_path(span)).unlink()


def file_fault(root: Path, record: FileRecord) -> str | None:
    """What is wrong with one file of a shard, checked byte by byte; None when nothing is."""
    try:
        content = (root / record.path).read_bytes()
    except OSError as error:
        return f"{record.path}: {error.strerror}"
    if len(content) != record.size:
        return f"{record.path}: {len(content):,} bytes, the receipt says {record.size:,}"
    if checksums(content) != (record.crc32c, record.sha256):
        return f"{record.path}: the bytes changed since they were written (checksum differs)"
    return None


def unseal(root: Path) -> None:
    """Take marker and entries away before anything below changes, for us and for other readers."""
    (root / MARKER).unlink(missing_ok=True)
    for backend in BACKENDS.values():
        (root / backend.entry).unlink(missing_ok=True)


def seal(root: Path, recipe: DatasetRecipe, plan: StorePlan, receipts: list[Receipt]) -> Manifest:
    """Write the metadata, the manifest and last the marker."""
    text = stored_recipe(recipe).to_json().encode()
    write_whole(root / RECIPE, text)
    manifest = Manifest(
        recipe_digest=recipe.digest,
        recipe_sha256=sha256_of(text),
        plan_digest=plan_digest(root),
        receipts=tuple(receipts),
        metadata=_write_files(root, BACKENDS[plan.backend].metadata_files(plan, stored_recipe(recipe))),
    )
    text = manifest.to_json().encode()
    write_whole(root / MANIFEST, text)
    write_whole(root / MARKER, _marker(recipe.digest, text))
    return manifest


def _marker(recipe_digest: str, manifest: bytes) -> bytes:
    marker = CommitMarker(recipe_digest=recipe_digest, manifest_sha256=sha256_of(manifest))
    return marker.to_json().encode()


def is_sealed(root: Path) -> bool:
    """Whether all books and metadata are there and fit together; the shards are not looked at."""
    try:
        manifest = read_json(root / MANIFEST, Manifest)
        marker, recipe = (root / MARKER).read_bytes(), (root / RECIPE).read_bytes()
    except (StoreDamagedError, OSError):
        return False
    return (
        marker == _marker(manifest.recipe_digest, (root / MANIFEST).read_bytes())
        and manifest.plan_digest == plan_digest(root)
        and manifest.recipe_sha256 == sha256_of(recipe)
        and not any(file_fault(root, one) for one in manifest.metadata)
    )


def read_json(path: Path, model: type[Model]) -> Model:
    """A file of the store's books as its model."""
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreDamagedError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        _refuse_newer(path)
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "text"
        raise StoreDamagedError(
            f"{path} is not what lensmill wrote: {key}: {first['msg']}",
            expected=f"a {model.__name__} in JSON",
            advice="restore the file from a copy, or simulate the store again",
        ) from error


def _refuse_newer(path: Path) -> None:
    """A store that a later lensmill wrote is sound, only unknown here."""
    try:
        found = json.loads(path.read_bytes()).get("format_version", FORMAT_VERSION)
    except (ValueError, AttributeError):
        return
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise StoreConflictError(
            f"{path} has format {found}",
            expected=f"format {FORMAT_VERSION} or below",
            advice="the store was written by a newer lensmill: install that version",
        )
