"""The right to write a store on S3: an object that is put only where none is, and renewed while one writes.

The kernel takes a file's lock back from a dead process; nobody does of an object. So the right lapses when
its holder has not renewed it for a while, and the next one takes it over by a put that names the content it
saw. Clocks decide only how soon that is tried: whoever tries has watched the lock for longer than a living
holder leaves it alone, or knows that the holder was a process of this machine and is no more.
"""

import contextlib
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

import psutil
from pydantic import Field, ValidationError

from schemas.errors import LensmillError, StoreBusyError, WriteError
from schemas.frozen import Frozen, sha256_of
from storage.files.object_path import ObjectPath, Tagged
from storage.files.process_identity import boot_and_namespace

# How long a holder that gives no sign of life keeps the right, and how often it gives one in that time.
LEASE_SECONDS = 60.0
SIGNS = 4


class LockNote(Frozen):
    """What the lock says of its holder."""

    token: str = Field(description="drawn by the holder, so that it knows its own note")
    host: str
    machine: str = Field(description="boot and process namespace; the same only where process numbers are")
    process: int = Field(ge=0)
    process_started: float = Field(description="seconds since 1970, for people: clocks are stepped")
    since: datetime
    renewed: datetime
    lease_seconds: float = Field(gt=0)
    released: bool = False

    @property
    def who(self) -> str:
        """The holder, for people."""
        return f"process {self.process} on {self.host}"


def _note_of_mine() -> LockNote:
    now = datetime.now(UTC)
    return LockNote(
        token=secrets.token_hex(16),
        host=platform.node(),
        machine=_machine(),
        process=os.getpid(),
        process_started=psutil.Process().create_time(),
        since=now,
        renewed=now,
        lease_seconds=LEASE_SECONDS,
    )


@lru_cache(maxsize=1)
def _machine() -> str:
    boot, namespace = boot_and_namespace()
    # a name known to nobody else, where there is none: so nobody takes a process of ours for a dead one
    return sha256_of(f"{boot}\n {namespace}")[:32] if boot else secrets.token_hex(16)


class Lease:
    """The right as long as it is renewed; a thread does that."""

    def __init__(self, lock: ObjectPath, note: LockNote, tag: str) -> None:
        self.lock = lock
        self.note = note
        self.tag = tag
        self.lost = False
        self.confirmed = time.monotonic()
        self.ended = threading.Event()
        self.one_at_a_time = threading.Lock()
        self.thread = threading.Thread(target=self._keep, name="lensmill-lease", daemon=True)

    def renew(self, released: bool = False) -> bool:
        """Put the note again, if it is still ours; False when the right is lost."""
        with self.one_at_a_time:
            note = self.note.model_copy(update={"renewed": datetime.now(UTC), "released": released})
            before = time.monotonic()
            tag = None if self.lost else _put(self.lock, note, self.tag)
            if tag is None:
                self.lost = True
                return False
            self.note, self.tag, self.confirmed = note, tag, before
            return True

    def _keep(self) -> None:
        while not self.lost and not self.ended.wait(self.note.lease_seconds / SIGNS):
            # a server that does not answer may answer the next time
            with contextlib.suppress(LensmillError):
                self.renew()
            if time.monotonic() - self.confirmed > self.note.lease_seconds:
                self.lost = True

    def end(self) -> None:
        """Let others write at once, if the server can be told."""
        self.ended.set()
        self.thread.join()
        with contextlib.suppress(LensmillError):
            self.renew(released=True)


# Of this process, by the store.
HELD: dict[ObjectPath, Lease] = {}


@contextlib.contextmanager
def leased(root: ObjectPath, lock: ObjectPath) -> Iterator[None]:
    """The right to write a store while inside."""
    note = _note_of_mine()
    tag = _put(lock, note, None) or _take_over(root, lock, note)
    _check_conditions_count(root, lock, note)
    HELD[root] = lease = Lease(lock, note, tag)
    lease.thread.start()
    try:
        yield
    finally:
        del HELD[root]
        lease.end()


def confirm(root: ObjectPath) -> None:
    """Before what only one may do: is the right still ours? It is, for a whole lease, when this returns."""
    lease = HELD.get(root)
    if lease is not None and not lease.renew():
        raise StoreBusyError(
            f"the right to write {root} was lost: {_told(lease)}",
            expected=f"a sign of life every {lease.note.lease_seconds:g} s, which the lock did not get",
            advice="run the same command again when the other one is done; finished shards are kept",
        )


def _put(lock: ObjectPath, note: LockNote, tag: str | None) -> str | None:
    """The tag of the note that was put over the one with this tag, or over none; None when it was not."""
    content = note.to_json().encode()
    found = lock.create(content) if tag is None else lock.replace(content, tag)
    if found is None:
        with contextlib.suppress(FileNotFoundError):
            there = lock.read_tagged()
            # a request whose answer got lost was sent twice, and refused the second time
            return there.tag if there.content == content else None
    return found


def _take_over(root: ObjectPath, lock: ObjectPath, note: LockNote) -> str:
    there = _look(root, lock)
    theirs = _read(there)
    if theirs is None:
        raise WriteError(
            f"cannot write a store at {root}: its lock is not one of lensmill's",
            where=str(lock),
            advice="see what else writes there; delete that object if nothing does",
        )
    if not (theirs.released or _died_here(theirs) or _lapsed(lock, there, theirs)):
        raise _busy(root, there, theirs)
    tag = _put(lock, note, there.tag)
    if tag is None:
        now = _look(root, lock)
        raise _busy(root, now, _read(now) or theirs)
    return tag


def _look(root: ObjectPath, lock: ObjectPath) -> Tagged:
    try:
        return lock.read_tagged()
    except FileNotFoundError:
        raise StoreBusyError(
            f"another process is writing {root}, and its lock was deleted just now",
            advice="run the command again",
        ) from None


def _read(there: Tagged) -> LockNote | None:
    try:
        return LockNote.model_validate_json(there.content)
    except ValidationError:
        return None


def _died_here(theirs: LockNote) -> bool:
    """Whether the holder was a process of this machine that is no more.

    Another one may have its number by now; then the right lapses, as it does anywhere else.
    """
    return theirs.machine == _machine() and not psutil.pid_exists(theirs.process)


def _lapsed(lock: ObjectPath, there: Tagged, theirs: LockNote) -> bool:
    """Whether the lock is old by the server's time, and stays as it is for twice as long as it may."""
    if time.time() < there.modified + theirs.lease_seconds:
        return False
    time.sleep(2 * theirs.lease_seconds / SIGNS)
    try:
        return lock.read_tagged().tag == there.tag
    except FileNotFoundError:
        return False


def _busy(root: ObjectPath, there: Tagged, theirs: LockNote) -> StoreBusyError:
    until = datetime.fromtimestamp(there.modified + theirs.lease_seconds, UTC)
    return StoreBusyError(
        f"another process is writing {root}: {theirs.who}, since {_clock(theirs.since)}",
        advice=f"wait for it to end, or choose another --out; if it died, run the command again after"
        f" {_clock(until)}, when its right lapses without a sign of life",
    )


def _told(lease: Lease) -> str:
    with contextlib.suppress(LensmillError, OSError):
        found = _read(lease.lock.read_tagged())
        if found is not None and found.token != lease.note.token and not found.released:
            return f"{found.who} has it since {_clock(found.since)}"
    return "its lock could not be renewed in time"


def _clock(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def _check_conditions_count(root: ObjectPath, lock: ObjectPath, note: LockNote) -> None:
    """A server that puts an object although one is there cannot keep two writers apart."""
    if lock.create(note.to_json().encode()) is not None:
        raise WriteError(
            f"cannot write a store at {root}: its server ignores If-None-Match",
            expected="a server with conditional puts, as Amazon S3 and its newer imitations have",
            advice="simulate to a disk and copy the finished store",
        )
