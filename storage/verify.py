"""Every byte of a finished store against its receipts, every row against the specification."""

from collections.abc import Callable
from functools import partial

from pydantic import Field

from schemas.errors import StoreDamagedError
from schemas.frozen import Frozen
from schemas.store import CommitMarker, Digest, Receipt
from storage import catalogue, layout
from storage.backend import Arrays
from storage.commit import MARKER, read_json, receipt_path, shard_faults
from storage.durable import file_fault
from storage.layout import Span
from storage.place import Root
from storage.reader import Store, open_books
from storage.threads import threaded


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

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(root: Root, progress: Callable[[int], None] = lambda _: None) -> Verification:
    """Read everything; all faults are reported, not the first."""
    store = open_books(root)
    sealed = read_json(root / MARKER, CommitMarker).manifest_sha256
    receipts = store.manifest.receipts
    faults = _missing_shards(store) + _book_faults(store)
    for done, found in enumerate(threaded(partial(_shard_faults, store), receipts), start=1):
        faults += found
        progress(done)
    return Verification(
        store=str(root),
        recipe=store.plan.recipe_name,
        digest=store.stored.digest,
        shards=len(receipts),
        rows=sum(receipt.rows for receipt in receipts),
        bytes=sum(record.size for receipt in receipts for record in receipt.files),
        manifest_sha256=sealed,
        faults=tuple(faults),
    )


def _missing_shards(store: Store) -> list[str]:
    listed = {(receipt.split, receipt.shard) for receipt in store.manifest.receipts}
    return [
        f"{span}: not in the manifest"
        for span in layout.spans(store.plan)
        if (span.split, span.shard) not in listed
    ]


def _book_faults(store: Store) -> list[str]:
    """Metadata and receipts as the manifest has them."""
    faults = [fault for record in store.manifest.metadata if (fault := file_fault(store.root, record))]
    for receipt in store.manifest.receipts:
        span = Span(receipt.split, receipt.shard, receipt.first_row, receipt.rows)
        path = receipt_path(span)
        try:
            if read_json(store.root / path, Receipt) != receipt:
                faults.append(f"{span}: {path} is not the receipt that the manifest lists")
        except StoreDamagedError:
            faults.append(f"{span}: {path} is missing or unreadable")
    return faults


def _shard_faults(store: Store, receipt: Receipt) -> list[str]:
    span = Span(receipt.split, receipt.shard, receipt.first_row, receipt.rows)
    broken = [fault for record in receipt.files if (fault := file_fault(store.root, record))]
    if broken:
        return [f"{span}: {fault}" for fault in broken]
    rows = slice(span.first_row, span.first_row + span.rows)
    try:
        arrays: Arrays = {spec.name: store.read(span.split, spec.name, rows) for spec in store.plan.decoded}
        subhalos = catalogue.read(store.root, store.plan, span) if store.plan.catalogue else None
    except StoreDamagedError as error:
        return [f"{span}: {error.found}"]
    return [f"{span}: {fault}" for fault in shard_faults(store.origin, store.plan, span, arrays, subhalos)]
