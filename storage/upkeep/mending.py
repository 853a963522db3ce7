"""Putting a damaged store in order: no reader takes it for whole meanwhile, and a refusal changes nothing."""

import contextlib
from collections.abc import Iterator, Mapping

from schemas.errors import StoreConflictError
from schemas.frozen import sha256_of
from schemas.store import CommitMarker, FileRecord, Manifest, Receipt
from storage import layout
from storage.commit import MANIFEST, MARKER, confirm_right, receipt_path, sweep, unseal
from storage.files.durable import sums, write_whole
from storage.formats import BACKENDS
from storage.layout import Span
from storage.upkeep.diagnosis import Diagnosis


def _of_the_seal(path: str) -> bool:
    """Whether a file is away while the store is under repair."""
    return path == MARKER.as_posix() or path in {backend.entry for backend in BACKENDS.values()}


@contextlib.contextmanager
def opened(found: Diagnosis) -> Iterator[dict[str, bytes]]:
    """Take the seal off, write all books below it, and take back the receipts of bad shards. Yields the seal.

    Where shards come out differently, receipts and seal are put back: all that was written is as sealed.
    """
    root = found.store.root
    entries = [backend.entry for backend in BACKENDS.values()]
    seal = {
        path: (root / path).read_bytes() for path in (*entries, MARKER.as_posix()) if (root / path).is_file()
    }
    sweep(root)
    unseal(root)
    for path, book in found.books.items():
        if not _of_the_seal(path):
            write_whole(root / path, book.content)
    for span in found.bad:
        (root / receipt_path(span)).unlink(missing_ok=True)
    try:
        yield seal
    except StoreConflictError:
        for span in found.bad:
            if receipt := found.expected(span):
                write_whole(root / receipt_path(span), receipt.to_json().encode())
        for path, content in seal.items():
            write_whole(root / path, content)
        raise


def close(found: Diagnosis, seal: Mapping[str, bytes], made: Mapping[Span, Receipt]) -> Manifest:
    """Write metadata, manifest and last the marker, with the receipts of the shards that were made again."""
    root, store = found.store.root, found.store
    before = {layout.span_of_receipt(one): one for one in store.manifest.receipts}
    now = before | dict(made)
    manifest = store.manifest.model_copy(
        update={
            "receipts": tuple(now[span] for span in layout.spans(store.plan)),
            "metadata": _write_metadata(found, seal),
        }
    )
    same = manifest == store.manifest
    text = found.manifest_bytes if same else manifest.to_json().encode()
    marker = CommitMarker(recipe_digest=manifest.recipe_digest, manifest_sha256=sha256_of(text))
    confirm_right(root)
    kept = seal.get(MARKER.as_posix()) if same and MARKER.as_posix() not in found.books else None
    if not same:
        write_whole(root / MANIFEST, text)
    # again: what only one may do is done within moments of asking
    confirm_right(root)
    write_whole(root / MARKER, kept or marker.to_json().encode())
    return manifest


def _write_metadata(found: Diagnosis, seal: Mapping[str, bytes]) -> tuple[FileRecord, ...]:
    """The entries, which are away with the seal; all metadata where some come out differently here."""
    root, records = found.store.root, found.store.manifest.metadata
    if found.differing:
        written = {path: write_whole(root / path, content) for path, content in found.metadata.items()}
        fresh = {path: FileRecord(path=path, **one._asdict()) for path, one in written.items()}
        return tuple(({one.path: one for one in records} | fresh).values())
    for record in records:
        if _of_the_seal(record.path):
            kept = seal.get(record.path, b"")
            sound = sums(kept).sha256 == record.sha256
            write_whole(root / record.path, kept if sound else found.metadata[record.path])
    return records
