"""How bytes become a store that can be trusted.

Every file is written whole under a temporary name, synced and renamed. A shard's receipt is written after its
files and is the only evidence that the shard exists. The manifest lists all receipts and the marker seals the
manifest; whatever dies in between leaves a store that readers refuse and a rerun completes.
"""

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from schemas.columns import column_faults
from schemas.errors import (
    ColumnError,
    PlaceError,
    StoreBusyError,
    StoreConflictError,
    StoreDamagedError,
    WriteError,
)
from schemas.frozen import sha256_of
from schemas.imported import Origin
from schemas.store import SCHEMA_VERSION, CommitMarker, FileRecord, Manifest, Receipt, StoredRecipe, StorePlan
from schemas.store_schema import schema_text
from storage import catalogue, layout, profiles
from storage.backend import Arrays, ShardFiles
from storage.catalogue import Table
from storage.files.durable import TEMPORARY, file_fault, sums, write_whole
from storage.files.file_lock import take
from storage.files.lease import confirm, leased
from storage.files.object_path import ObjectPath
from storage.files.place import Root
from storage.formats import BACKENDS
from storage.layout import Span
from storage.migrations import migrate, version_of
from storage.profiles import Encoded

Model = TypeVar("Model", bound=BaseModel)

BOOKS = Path("lensmill")
RECIPE = BOOKS / "recipe.json"
PLAN = BOOKS / "plan.json"
SCHEMA = BOOKS / "schema.json"
MANIFEST = BOOKS / "manifest.json"
MARKER = BOOKS / "COMMIT.json"
LOCK = BOOKS / "lock"
RECEIPTS = BOOKS / "receipts"
VERIFICATION = BOOKS / "verification.json"
# stands for an array that is not there
NOTHING = np.empty(0)


@contextlib.contextmanager
def writing(root: Root, held: Path = LOCK) -> Iterator[None]:
    """The right to write a store, one driver at a time; the kernel takes it back from a dead one.

    `held` is the lock's file, of something else that is written by one at a time.
    """
    if isinstance(root, ObjectPath):
        with leased(root, root / held):
            yield
        return
    try:
        (root / held).parent.mkdir(parents=True, exist_ok=True)
        lock = (root / held).open("w")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (WriteError if full else PlaceError)(
            f"cannot write a store at {root}: {error.strerror}",
            expected="a folder that can be created or is writable",
            advice=f"choose another --out or {'free space' if full else 'mend permissions'}",
        ) from error
    with lock:
        try:
            take(lock, "the store")
        except BlockingIOError as error:
            raise StoreBusyError(
                f"another process is writing {root}", advice="wait for it to end, or choose another --out"
            ) from error
        yield


def begin(root: Root, recipe: Origin, plan: StorePlan, stored: StoredRecipe | None = None) -> None:
    """Write recipe and plan, and sweep up what a killed writer left half-written. Needs `writing`.

    `stored` is the recipe as another store keeps it, which newer code may spell differently.
    """
    sweep(root)
    if not _holds_recipe(root, stored or stored_recipe(recipe)):
        unseal(root)
        write_whole(root / RECIPE, (stored or stored_recipe(recipe)).to_json().encode())
    if not (root / PLAN).is_file():
        write_whole(root / SCHEMA, schema_text(plan))
        write_whole(root / PLAN, plan.to_json().encode())


def sweep(root: Root) -> None:
    """Remove what killed writers left half-written; of objects there is no half."""
    if isinstance(root, ObjectPath):
        return
    for stray in root.rglob(f".*{TEMPORARY}"):
        stray.unlink(missing_ok=True)


def _holds_recipe(root: Root, recipe: StoredRecipe) -> bool:
    try:
        found = read_json(root / RECIPE, StoredRecipe)
        return found.digest == recipe.digest and found.recipe.digest == recipe.recipe.digest
    except StoreDamagedError:
        return False


def plan_digest(root: Root) -> str:
    """SHA-256 of the plan as stored: newer code may spell the same plan differently."""
    return sha256_of((root / PLAN).read_bytes())


def stored_recipe(recipe: Origin) -> StoredRecipe:
    """The recipe as a store keeps it."""
    return StoredRecipe(digest=recipe.digest, physics=recipe.physics_json, recipe=recipe)


def write_shard(
    root: Root,
    recipe: Origin,
    plan: StorePlan,
    span: Span,
    arrays: Arrays,
    subhalos: Table | None = None,
    *,
    encoded: Encoded | None = None,
    versions: dict[str, str] | None = None,
    expected: Receipt | None = None,
) -> Receipt:
    """Check a shard against the specification, write its files, then its receipt.

    `encoded` is what to store in place of the arrays, if their codes are known already. `versions` are those
    that made it, where the plan says others. With `expected`, files that would differ
    from that receipt are refused before any is touched.
    """
    faults = shard_faults(recipe, plan, span, arrays, subhalos)
    if faults:
        raise ColumnError(
            f"{span} breaks the specification and was not written\n"
            + "\n".join(f"  - {fault}" for fault in faults),
            where=str(root),
            advice="a prior reaches beyond what a column allows, or the simulator is wrong",
        )
    stored, errors = encoded or profiles.encode(plan, arrays)
    if expected is not None:
        _refuse_other_bytes(span, _shard_files(plan, span, stored, subhalos), expected)
    receipt = Receipt(
        recipe_digest=plan.recipe_digest,
        plan_digest=plan_digest(root),
        split=span.split,  # type: ignore[arg-type]
        shard=span.shard,
        first_row=span.first_row,
        rows=span.rows,
        files=_write_files(root, _shard_files(plan, span, stored, subhalos)),
        errors=errors,
        versions=versions if expected is None else expected.versions,
    )
    write_whole(root / receipt_path(span), receipt.to_json().encode())
    return receipt


def _shard_files(plan: StorePlan, span: Span, arrays: Arrays, subhalos: Table | None) -> ShardFiles:
    return {
        **BACKENDS[plan.backend].shard_files(plan, span, arrays),
        **catalogue.shard_files(plan, span, subhalos),
    }


def _refuse_other_bytes(span: Span, files: ShardFiles, expected: Receipt) -> None:
    wanted = {record.path: record.sha256 for record in expected.files}
    differ = [path for path, content in files.items() if sums(content).sha256 != wanted.get(path)]
    if differ:
        raise StoreConflictError(
            f"{span}, made again here, has other bytes than its receipt says: {', '.join(differ)}",
            expected="bytes with the SHA-256 sums of the receipt; nothing was written",
        )


def _write_files(root: Root, files: ShardFiles) -> tuple[FileRecord, ...]:
    records = []
    for path, content in files.items():
        size, crc, sha = write_whole(root / path, content)
        records.append(FileRecord(path=path, size=size, crc32c=crc, sha256=sha))
    return tuple(records)


def shard_faults(
    recipe: Origin, plan: StorePlan, span: Span, arrays: Arrays, subhalos: Table | None = None
) -> list[str]:
    """Everything that is wrong with arrays and catalogue of a shard; empty when all is well."""
    faults = []
    for spec in plan.decoded:
        array = arrays.get(spec.name, NOTHING)
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
    for spec in plan.maps:
        # NaN and infinity show in an image's extremes, which need no temporary array
        with np.errstate(invalid="ignore"):
            lowest, highest = (find(arrays[spec.name], axis=(1, 2, 3)) for find in (np.min, np.max))
        broken = np.flatnonzero(~(np.isfinite(lowest) & np.isfinite(highest)))
        if len(broken):
            faults.append(f"{spec.name}: {len(broken)} of {span.rows} images not finite (row {broken[0]})")
    faults += column_faults(plan.columns, arrays["params"], arrays["label"], span.split)
    return faults + catalogue.faults(plan, arrays, subhalos)


def receipt_path(span: Span) -> Path:
    """Where the receipt of a shard is."""
    return RECEIPTS / span.split / f"{span.shard:06d}.json"


def valid_receipt(root: Root, plan: StorePlan, span: Span, thorough: bool = True) -> Receipt | None:
    """The receipt of a shard that can be kept: of this plan, with files whose bytes still match.

    All files are read. Not thorough leaves out SHA-256, which takes longer than everything else together and
    tells no more of a shard that was written just now.
    """
    path = root / receipt_path(span)
    if not path.is_file():
        return None
    try:
        receipt = read_json(path, Receipt)
    except StoreDamagedError:
        return None
    if not is_receipt_of(receipt, plan, plan_digest(root), span):
        return None
    return None if any(file_fault(root, one, thorough) for one in receipt.files) else receipt


def is_receipt_of(receipt: Receipt, plan: StorePlan, digest: str, span: Span) -> bool:
    """Whether a receipt tells of this shard, of this plan with this digest, and of all its files."""
    paths = [one.path for one in receipt.files]
    if paths != [*BACKENDS[plan.backend].shard_paths(plan, span), *catalogue.shard_paths(plan, span)]:
        return False
    mine = (plan.recipe_digest, digest, span.split, span.shard, span.first_row, span.rows)
    theirs = (
        receipt.recipe_digest,
        receipt.plan_digest,
        receipt.split,
        receipt.shard,
        receipt.first_row,
        receipt.rows,
    )
    return mine == theirs


def discard(root: Root, span: Span) -> None:
    """Take back the receipt of a shard that is to be made again, and the marker that vouched for it."""
    if (root / receipt_path(span)).exists():
        unseal(root)
        (root / receipt_path(span)).unlink()


def unseal(root: Root) -> None:
    """Take marker and entries away before anything below changes, for us and for other readers."""
    (root / MARKER).unlink(missing_ok=True)
    # what was found before says nothing of what comes now
    (root / VERIFICATION).unlink(missing_ok=True)
    for backend in BACKENDS.values():
        (root / backend.entry).unlink(missing_ok=True)


def seal(
    root: Root,
    recipe: Origin,
    plan: StorePlan,
    receipts: list[Receipt],
    stored: StoredRecipe | None = None,
    beside: Mapping[str, bytes] = MappingProxyType({}),
) -> Manifest:
    """Write the metadata, the manifest and last the marker. Nobody else may be writing any more.

    `beside` are further files that the manifest is to vouch for, by their path.
    """
    confirm_right(root)
    # of workers that died while the others went on
    sweep(root)
    stored = stored or stored_recipe(recipe)
    text, schema = stored.to_json().encode(), schema_text(plan)
    write_whole(root / RECIPE, text)
    write_whole(root / SCHEMA, schema)
    manifest = Manifest(
        recipe_digest=stored.digest,
        recipe_sha256=sha256_of(text),
        plan_digest=plan_digest(root),
        schema_sha256=sha256_of(schema),
        receipts=tuple(receipts),
        metadata=_write_files(root, {**beside, **BACKENDS[plan.backend].metadata_files(plan, stored)}),
    )
    text = manifest.to_json().encode()
    write_whole(root / MANIFEST, text)
    # again: what only one may do is done within moments of asking
    confirm_right(root)
    write_whole(root / MARKER, _marker(stored.digest, text))
    return manifest


def confirm_right(root: Root) -> None:
    """A lock on a disk is held until it is let go; one on S3 may have lapsed meanwhile."""
    if isinstance(root, ObjectPath):
        confirm(root)


def _marker(recipe_digest: str, manifest: bytes) -> bytes:
    marker = CommitMarker(recipe_digest=recipe_digest, manifest_sha256=sha256_of(manifest))
    return marker.to_json().encode()


def is_sealed(root: Root) -> bool:
    """Whether all books and metadata are there and fit together; the shards are not looked at."""
    try:
        manifest = read_json(root / MANIFEST, Manifest)
        marker, recipe = read_json(root / MARKER, CommitMarker), (root / RECIPE).read_bytes()
    except (StoreDamagedError, OSError):
        return False
    return (
        marker.recipe_digest == manifest.recipe_digest
        and marker.manifest_sha256 == sha256_of((root / MANIFEST).read_bytes())
        and manifest.plan_digest == plan_digest(root)
        and manifest.recipe_sha256 == sha256_of(recipe)
        and holds_schema(root, manifest)
        and not any(file_fault(root, one) for one in manifest.metadata)
    )


def holds_schema(root: Root, manifest: Manifest) -> bool:
    """Whether the JSON Schema is there as the manifest has it; stores of version 1 have none."""
    if manifest.schema_sha256 is None:
        return True
    path = root / SCHEMA
    return path.is_file() and sha256_of(path.read_bytes()) == manifest.schema_sha256


def read_json(path: Root, model: type[Model]) -> Model:
    """A file of the store's books as its model, whatever version wrote it."""
    try:
        return model.model_validate_json(of_this_version(path.read_bytes(), model, path))
    except OSError as error:
        raise StoreDamagedError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "text"
        raise StoreDamagedError(
            f"{path} is not what lensmill wrote: {key}: {first['msg']}",
            expected=f"a {model.__name__} in JSON",
            advice="rebuild it from the others: lensmill repair STORE",
        ) from error


def of_this_version(content: bytes, model: type[BaseModel], path: Root) -> bytes:
    """What a book says, in the words of this version; what is damaged is left to the model to judge."""
    try:
        book = from_json(content)
        version = version_of(book)
    except (ValueError, AttributeError):
        return content
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StoreConflictError(
            f"{path} has schema version {version}",
            expected=f"version {SCHEMA_VERSION} or below",
            advice="the store was written by a newer lensmill: install that version",
        )
    if version == SCHEMA_VERSION:
        return content
    try:
        return json.dumps(migrate(model, book)).encode()
    except (KeyError, TypeError, AttributeError):
        return content
