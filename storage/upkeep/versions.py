"""A folder of versions of a data set: their names, which of them is the latest, and the book of them.

FOLDER/v0001.zarr    stores, one a version
FOLDER/latest        the name of the newest one that was verified and audited
FOLDER/lineage.json  the book; where it is lost, it is written anew from the stores
FOLDER/audits/       what the audit of each version found
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from schemas.audit import Audit
from schemas.errors import StoreConflictError, StoreDamagedError, StoreError, StoreUnreachableError
from schemas.lineage import State, Version, VersionBook, lineage_of_physics
from schemas.store import Manifest, StoredRecipe, StorePlan
from storage.commit import BOOKS, MANIFEST, MARKER, PLAN, RECIPE, read_json
from storage.files.durable import write_whole
from storage.files.object_path import ObjectPath
from storage.files.place import Root
from storage.upkeep.verification import is_of_this_seal, last_record

LATEST, BOOK, LOCK, AUDITS = "latest", "lineage.json", Path("lineage.lock"), "audits"
# stands for digests that cannot be read
NOTHING = "0" * 64
VERSION = re.compile(r"v([0-9]{4}|[1-9][0-9]{4,})\.zarr")


def version_name(number: int) -> str:
    """The folder of a version."""
    return f"v{number:04d}.zarr"


def numbers(root: Root) -> list[int]:
    """The numbers of all versions that are there, finished or not."""
    found = [VERSION.fullmatch(path.name) for path in root.iterdir()] if root.is_dir() else []
    return sorted(int(one[1]) for one in found if one)


def is_finished(root: Root, number: int) -> bool:
    """Whether a version is sealed."""
    return (root / version_name(number) / MARKER).is_file()


def next_version(root: Root) -> int:
    """The version to make: the newest if it is unfinished, else the one after it."""
    newest = max(numbers(root), default=0)
    return newest if newest and not is_finished(root, newest) else newest + 1


def latest_of(root: Root) -> int | None:
    """The number that `latest` names; None where there is no such file, or it names no version."""
    try:
        found = VERSION.fullmatch((root / LATEST).read_bytes().decode(errors="replace").strip())
    except OSError:
        return None
    return int(found[1]) if found else None


def name_latest(root: Root, number: int) -> None:
    """Let `latest` name a version, from one moment to the next."""
    write_whole(root / LATEST, f"{version_name(number)}\n".encode())


def has_book(root: Root) -> bool:
    """Whether there is a book; folders from before there were books have none."""
    return (root / BOOK).is_file()


def read_book(root: Root) -> VersionBook:
    """The book, or what the stores tell where there is none. What stores it does not know are added."""
    path = root / BOOK
    book = VersionBook()
    if path.is_file():
        content = path.read_bytes()
        try:
            book = VersionBook.model_validate_json(content)
        except ValidationError as error:
            raise _unreadable(path, content, error) from error
    for number in numbers(root):
        if book.find(number) is None:
            book = book.having(look(root, number))
    return book


def _unreadable(path: Root, content: bytes, error: ValidationError) -> StoreError:
    first = error.errors(include_url=False)[0]
    try:
        version = from_json(content).get("format_version", 1)
    except (ValueError, AttributeError):
        version = 1
    if isinstance(version, int) and version > 1:
        return StoreConflictError(
            f"{path} has format version {version}", expected="version 1", advice="install a newer lensmill"
        )
    key = ".".join(map(str, first["loc"])) or "text"
    return StoreDamagedError(
        f"{path} is not what lensmill wrote: {key}: {first['msg']}",
        expected="a book of versions in JSON",
        advice="mend it, or move it away: it is written anew from the stores, but for what `keep` lists",
    )


def write_book(root: Root, book: VersionBook) -> VersionBook:
    """Write the book and hand it back."""
    write_whole(root / BOOK, book.to_json().encode())
    return book


def note(root: Root, number: int, **changes: Any) -> Version:
    """Change what the book says of a version, on the disk when this returns."""
    book = read_book(root)
    version = book.find(number)
    assert version is not None, f"version {number} is in no book"
    now = Version.model_validate(version.model_dump() | changes)
    write_book(root, book.having(now))
    return now


def catch_up(root: Root) -> VersionBook:
    """Write down what became of versions since the last time, by hand or by a kill."""
    book, there = read_book(root), set(numbers(root))
    for one in book.there:
        if one.number not in there:
            gone = "" if one.state == "removing" else "not there any more"
            update = {"state": "removed", "bytes": 0, "reason": gone or one.reason}
            book = book.having(one.model_copy(update=update))
        elif one.state in ("unfinished", "left") and is_finished(root, one.number):
            book = book.having(look(root, one.number).model_copy(update={"began": one.began}))
        elif one.state == "damaged" and (now := look(root, one.number)).verified:
            # mended and verified by hand
            book = book.having(now)
    return write_book(root, book)


def look(root: Root, number: int) -> Version:
    """A version as its own books tell of it; one whose books cannot be read counts as damaged."""
    store = root / version_name(number)
    try:
        stored, plan = read_json(store / RECIPE, StoredRecipe), read_json(store / PLAN, StorePlan)
        lineage = lineage_of_physics(stored.physics)
    except StoreUnreachableError:
        # nothing is known of it
        raise
    except StoreError as error:
        began = (store / BOOKS).is_dir() and not is_finished(root, number)
        state: State = "left" if began else "damaged"
        unknown = {"lineage": NOTHING, "recipe": "unknown", "seed": 0, "digest": NOTHING}
        return Version.model_validate({**unknown, "number": number, "state": state, "reason": error.found})
    found = Version(
        number=number,
        lineage=lineage,
        recipe=plan.recipe_name,
        seed=getattr(stored.recipe, "seed", 0),
        digest=stored.digest,
        state="unfinished",
        began=_time_of(store / PLAN),
        packages=dict(plan.provenance.versions),
    )
    return _sealed(root, found) if is_finished(root, number) else found


def _sealed(root: Root, version: Version) -> Version:
    store = root / version_name(version.number)
    record, audit = last_record(store), read_audit(root, version.number)
    sound = record is not None and record.sound and is_of_this_seal(store, record)
    passed = audit is not None and (audit.passed or not gates(audit))
    size, rows = size_and_rows(store)
    return version.model_copy(
        update={
            "state": "leaks" if audit and not passed else "good" if sound and passed else "sealed",
            "reason": f"labels leak: {audit.leaks[0]}" if audit and audit.leaks else "",
            "made": _time_of(store / MARKER),
            "verified": record.time if record and sound else None,
            "audit": None if audit is None else "passed" if audit.passed else "leaks",
            "bytes": size,
            "rows": rows,
        }
    )


def size_and_rows(store: Root) -> tuple[int, int]:
    """Bytes and rows by the manifest; nothing where that cannot be read."""
    try:
        receipts = read_json(store / MANIFEST, Manifest).receipts
    except StoreUnreachableError:
        raise
    except StoreError:
        return 0, 0
    return sum(file.size for one in receipts for file in one.files), sum(one.rows for one in receipts)


def audit_path(root: Root, number: int) -> Root:
    """Where the audit of a version is kept."""
    return root / f"{AUDITS}/v{number:04d}.json"


def read_audit(root: Root, number: int) -> Audit | None:
    """What the audit of a version found; None where there was none."""
    try:
        return Audit.model_validate_json(audit_path(root, number).read_bytes())
    except (OSError, ValidationError):
        return None


def gates(audit: Audit, asked: bool | None = None) -> bool:
    """Whether leaks refuse a version. A replica repeats published data with all that is wrong with them."""
    return audit.about.family != "replica" if asked is None else asked


def _time_of(path: Root) -> datetime | None:
    """When a file was written, as far as the disk or the server remembers."""
    try:
        seconds = path.read_tagged().modified if isinstance(path, ObjectPath) else path.stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)
