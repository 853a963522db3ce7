"""Every byte of a finished store against its receipts, every row against the specification.

Altered books are refused on opening. Everything else that is wrong is listed: shards, metadata, receipts, and
files that readers would take for data although nobody wrote them.
"""

from collections.abc import Callable
from functools import partial

from pydantic import Field

from schemas.errors import StoreDamagedError
from schemas.frozen import Frozen
from schemas.store import CommitMarker, Digest, Receipt, Split
from storage import catalogue, layout
from storage.backend import Arrays
from storage.commit import MARKER, read_json, receipt_path, shard_faults
from storage.files.durable import file_fault
from storage.files.place import Root
from storage.reader import Store, open_books
from storage.reading.threads import threaded
from storage.strangers import find_strangers


class BadShard(Frozen):
    """A shard whose files or rows are not as they should be."""

    split: Split
    shard: int = Field(ge=0)
    faults: tuple[str, ...] = Field(min_length=1)


class BadFile(Frozen):
    """A file of metadata, a receipt, or a file that does not belong."""

    path: str = Field(description="relative to the store")
    fault: str


class Verification(Frozen):
    """What `verify` found."""

    store: str
    recipe: str
    digest: str
    shards: int = Field(ge=0)
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    manifest_sha256: Digest = Field(description="of the manifest that all was compared with")
    faults: tuple[str, ...] = Field(description="one line each; empty when the store is sound")
    bad_shards: tuple[BadShard, ...] = Field(default=(), description="shards that repair would make again")
    bad_books: tuple[BadFile, ...] = Field(default=(), description="metadata and receipts not as sealed")
    strangers: tuple[str, ...] = Field(
        default=(), description="files that nobody wrote where readers look; to be removed by hand"
    )
    beside: tuple[str, ...] = Field(default=(), description="files that do not belong and harm nobody")

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(root: str | Root, progress: Callable[[int], None] = lambda _: None) -> Verification:
    """Read everything; all faults are reported, not the first."""
    store = open_books(root)
    root = store.root
    sealed = read_json(root / MARKER, CommitMarker).manifest_sha256
    receipts = store.manifest.receipts
    books = metadata_faults(store) + _receipt_faults(store)
    unreadable = splits_without_metadata(books)
    shards = _missing_shards(store)
    checked = threaded(partial(shard_damage, store, unreadable=unreadable), receipts)
    for done, (receipt, found) in enumerate(zip(receipts, checked, strict=True), start=1):
        if found:
            shards.append(BadShard(split=receipt.split, shard=receipt.shard, faults=found))
        progress(done)
    strangers = find_strangers(root, store.plan, store.manifest)
    return Verification(
        store=str(root),
        recipe=store.plan.recipe_name,
        digest=store.stored.digest,
        shards=len(receipts),
        rows=sum(receipt.rows for receipt in receipts),
        bytes=sum(record.size for receipt in receipts for record in receipt.files),
        manifest_sha256=sealed,
        faults=(
            *(f"shard {one.shard} of {one.split}: {fault}" for one in shards for fault in one.faults),
            *(one.fault for one in books),
            *(
                f"{path}: does not belong to the store, and readers may take it for data"
                for path in strangers.read
            ),
        ),
        bad_shards=tuple(shards),
        bad_books=tuple(books),
        strangers=strangers.read,
        beside=strangers.beside,
    )


def _missing_shards(store: Store) -> list[BadShard]:
    listed = {(receipt.split, receipt.shard) for receipt in store.manifest.receipts}
    return [
        BadShard(split=span.split, shard=span.shard, faults=("not in the manifest",))  # type: ignore[arg-type]
        for span in layout.spans(store.plan)
        if (span.split, span.shard) not in listed
    ]


def metadata_faults(store: Store) -> list[BadFile]:
    """Metadata that are not as the manifest has them."""
    checked = ((record.path, file_fault(store.root, record)) for record in store.manifest.metadata)
    return [BadFile(path=path, fault=fault) for path, fault in checked if fault]


def splits_without_metadata(books: list[BadFile]) -> set[str]:
    """Splits whose rows cannot be read for what became of their metadata; their shards' bytes still can."""
    return {one.path.partition("/")[0] for one in books if "/" in one.path}


def _receipt_faults(store: Store) -> list[BadFile]:
    """Receipts that are not as the manifest has them."""
    found = []
    for receipt in store.manifest.receipts:
        span = layout.span_of_receipt(receipt)
        path = receipt_path(span)
        try:
            if read_json(store.root / path, Receipt) == receipt:
                continue
            fault = f"{span}: {path} is not the receipt that the manifest lists"
        except StoreDamagedError:
            fault = f"{span}: {path} is missing or unreadable"
        found.append(BadFile(path=path.as_posix(), fault=fault))
    return found


def shard_damage(store: Store, receipt: Receipt, unreadable: set[str]) -> tuple[str, ...]:
    """What is wrong with the files and rows of a shard; rows are left out where their split is unreadable."""
    broken = tuple(fault for record in receipt.files if (fault := file_fault(store.root, record)))
    if broken or receipt.split in unreadable:
        return broken
    span = layout.span_of_receipt(receipt)
    rows = slice(span.first_row, span.first_row + span.rows)
    try:
        arrays: Arrays = {spec.name: store.read(span.split, spec.name, rows) for spec in store.plan.decoded}
        subhalos = catalogue.read(store.root, store.plan, span) if store.plan.catalogue else None
    except StoreDamagedError as error:
        return (error.found,)
    return tuple(shard_faults(store.origin, store.plan, span, arrays, subhalos))
