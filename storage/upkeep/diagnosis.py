"""A store as its books should be, and what differs from it, whichever of its files are damaged.

Each book is determined by others: the marker by the manifest, the manifest by receipts and metadata, receipts
by the manifest, metadata by plan and recipe. For recipe and plan see `evidence`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from schemas.errors import StoreDamagedError, StoreMissingError
from schemas.frozen import sha256_of
from schemas.store import CommitMarker, FileRecord, Manifest, Receipt, StoredRecipe, StorePlan
from storage import layout
from storage.commit import (
    BOOKS,
    MANIFEST,
    MARKER,
    PLAN,
    RECIPE,
    SCHEMA,
    is_receipt_of,
    read_json,
    receipt_path,
)
from storage.files.durable import file_fault, sums
from storage.files.place import Root, place
from storage.formats import BACKENDS
from storage.layout import Span
from storage.reader import Store
from storage.reading.threads import threaded
from storage.strangers import Strangers, find_strangers
from storage.upkeep.evidence import Book, Evidence, book_of, gather, sound_plan, sound_recipe, sound_schema
from storage.verify import metadata_faults, shard_damage, splits_without_metadata

Faults = tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What a store should be; its manifest lists what shards that have to be made again must come out as."""

    store: Store
    manifest_bytes: bytes
    bad: Mapping[Span, Faults]
    """shards that have to be made again, with what is wrong"""
    books: Mapping[str, Book]
    """books and metadata that differ on the disk, by path"""
    metadata: Mapping[str, bytes]
    """all metadata as they come out here"""
    differing: Faults
    """damaged metadata that come out differently here"""
    strangers: Strangers

    @property
    def whole(self) -> bool:
        """Whether there is nothing to mend."""
        return not (self.bad or self.books or self.differing)

    def expected(self, span: Span) -> Receipt | None:
        """What a shard was, if anything tells it."""
        mine = (
            one for one in self.store.manifest.receipts if (one.split, one.shard) == (span.split, span.shard)
        )
        return next(mine, None)


def diagnose(root: str | Root, progress: Callable[[int], None] = lambda _: None) -> Diagnosis:
    """Read everything; what damaged books should say is taken from the others. Writes nothing."""
    root = place(root)
    check_there(root)
    evidence = gather(root)
    recipe = sound_recipe(evidence)
    stored = book_of(recipe.content, StoredRecipe)
    planned = sound_plan(evidence, stored)
    plan = book_of(planned.content, StorePlan)
    schema = sound_schema(evidence, plan)
    made = BACKENDS[plan.backend].metadata_files(plan, stored)
    given = {PLAN.as_posix(): planned, RECIPE.as_posix(): recipe}
    given |= {SCHEMA.as_posix(): schema} if schema else {}

    def manifest_of(receipts: Iterable[Receipt]) -> Manifest:
        return Manifest(
            recipe_digest=stored.digest,
            recipe_sha256=sha256_of(recipe.content),
            plan_digest=sha256_of(planned.content),
            schema_sha256=sha256_of(schema.content) if schema else None,
            receipts=tuple(receipts),
            metadata=_metadata_records(evidence, made),
        )

    draft = Store(root, plan, stored, manifest_of(()))
    broken = metadata_faults(draft)
    unreadable = splits_without_metadata(broken)
    known = _candidates(evidence, plan, sha256_of(planned.content))
    chosen, bad = _examine(draft, known, unreadable, progress)
    manifest = manifest_of(chosen.values())
    text = evidence.manifest_bytes if manifest == evidence.manifest else manifest.to_json().encode()
    exact = {record.path for record in manifest.metadata if _sha(made.get(record.path)) == record.sha256}
    books = {one.path: Book(made[one.path], "from plan and recipe") for one in broken if one.path in exact}
    books |= _differing_books(evidence, given, chosen, text, stored.digest)
    return Diagnosis(
        store=Store(root, plan, stored, manifest),
        manifest_bytes=text,
        bad=bad,
        books=books,
        metadata=made,
        differing=tuple(one.path for one in broken if one.path not in exact),
        strangers=find_strangers(root, plan, manifest),
    )


def check_there(root: Root) -> None:
    """Refuse a path that never held a store."""
    if not (root / BOOKS).is_dir():
        raise StoreMissingError(
            f"there is no lensmill store at {root}",
            expected=f"a folder with {BOOKS}",
            advice="check the path",
        )


def _sha(content: bytes | None) -> str | None:
    return None if content is None else sha256_of(content)


def _metadata_records(evidence: Evidence, made: Mapping[str, bytes]) -> tuple[FileRecord, ...]:
    """As sealed; else those on the disk that the manifest vouches for, the others as they come out here."""
    listed = {one.path: one for one in evidence.manifest.metadata} if evidence.manifest else {}
    if evidence.sealed:
        return tuple(listed.values())
    kept = {path: one for path, one in listed.items() if not file_fault(evidence.root, one)}
    fresh = {path: FileRecord(path=path, **sums(content)._asdict()) for path, content in made.items()}
    return tuple((fresh | kept).values())


def _candidates(evidence: Evidence, plan: StorePlan, digest: str) -> dict[Span, list[Receipt]]:
    """Receipts that a shard may have: the sealed one, or whatever receipts and manifest tell."""
    listed = evidence.manifest.receipts if evidence.manifest else ()
    told = listed if evidence.sealed else (*evidence.receipts, *listed)
    found: dict[Span, list[Receipt]] = {span: [] for span in layout.spans(plan)}
    for one in told:
        span = layout.span_of_receipt(one)
        if span in found and is_receipt_of(one, plan, digest, span):
            found[span].append(one)
    return found


def _examine(
    store: Store,
    known: Mapping[Span, list[Receipt]],
    unreadable: set[str],
    progress: Callable[[int], None],
) -> tuple[dict[Span, Receipt], dict[Span, Faults]]:
    """The receipt of every shard that has one, and what is wrong with the shards that fit none of theirs."""
    chosen: dict[Span, Receipt] = {}
    bad: dict[Span, Faults] = {}
    looked = threaded(partial(_look, store, unreadable), known.values())
    for done, (span, (receipt, faults)) in enumerate(zip(known, looked, strict=True), start=1):
        if receipt is not None:
            chosen[span] = receipt
        if faults:
            bad[span] = faults
        progress(done)
    return chosen, bad


def _look(store: Store, unreadable: set[str], candidates: list[Receipt]) -> tuple[Receipt | None, Faults]:
    first: Faults = ()
    for receipt in candidates:
        faults = shard_damage(store, receipt, unreadable)
        if not faults:
            return receipt, ()
        first = first or faults
    return (candidates[0], first) if candidates else (None, ("nothing vouches for it",))


def _differing_books(
    evidence: Evidence, given: dict[str, Book], chosen: Mapping[Span, Receipt], manifest: bytes, digest: str
) -> dict[str, Book]:
    """Books that are not on the disk as they should be."""
    marker = CommitMarker(recipe_digest=digest, manifest_sha256=sha256_of(manifest))
    if marker != evidence.marker:
        given[MARKER.as_posix()] = Book(marker.to_json().encode(), "from the manifest")
    if manifest != evidence.manifest_bytes:
        given[MANIFEST.as_posix()] = Book(manifest, "from receipts and metadata")
    for span, receipt in chosen.items():
        if not _is_there(evidence.root, span, receipt):
            given[receipt_path(span).as_posix()] = Book(receipt.to_json().encode(), "from the manifest")
    return {path: book for path, book in given.items() if book.how}


def _is_there(root: Root, span: Span, receipt: Receipt) -> bool:
    try:
        return read_json(root / receipt_path(span), Receipt) == receipt
    except StoreDamagedError:
        return False
