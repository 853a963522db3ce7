"""The right to write a store on S3: one at a time, taken over from the dead, lost by the silent."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from flows.generate import Order
from schemas.errors import StoreBusyError, WriteError
from storage import commit, layout
from storage.files import lease
from storage.files.lease import HELD, LockNote
from storage.files.object_path import ObjectPath
from tests.s3 import S3

# waits for a word, tries, says how it went, and holds on until its input ends
CONTENDER = """
import sys
from schemas.errors import StoreBusyError
from storage.commit import writing
from storage.files.place import place
print("ready", flush=True)
sys.stdin.readline()
try:
    with writing(place(sys.argv[1])):
        print("won", flush=True)
        sys.stdin.read()
except StoreBusyError as error:
    print("busy:", error.found, flush=True)
"""


@pytest.fixture
def root(s3: S3) -> ObjectPath:
    """A place where nothing is."""
    return s3.new_root("busy.zarr")


@contextmanager
def _contender(root: ObjectPath) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CONTENDER, str(root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def _try(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _note(root: ObjectPath) -> LockNote:
    return LockNote.model_validate_json((root / commit.LOCK).read_bytes())


def _lock_from_elsewhere(root: ObjectPath, **changes: Any) -> LockNote:
    """As another machine would have left it."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "token": "0" * 32,
        "host": "elsewhere",
        "machine": "f" * 32,
        "process": os.getpid(),
        "process_started": 0.0,
        "since": now,
        "renewed": now,
        "lease_seconds": 3600.0,
    }
    note = LockNote(**fields | changes)
    (root / commit.LOCK).put(note.to_json().encode())
    return note


def test_of_two_processes_one_wins_and_a_dead_one_holds_nothing(root: ObjectPath) -> None:
    with _contender(root) as one, _contender(root) as other:
        for process in (one, other):
            _try(process)
        said = {process: _said(process) for process in (one, other)}
        assert sorted(text[:4] for text in said.values()) == ["busy", "won\n"]
        winner = next(process for process, text in said.items() if text == "won\n")
        told = next(text for text in said.values() if text.startswith("busy"))
        assert f"another process is writing {root}: process {winner.pid} on " in told
        with pytest.raises(StoreBusyError, match=f"process {winner.pid} on .*, since .* UTC") as caught:
            commit.writing(root).__enter__()
        assert "run the command again after" in caught.value.advice
        # no time to let go
        winner.kill()
        winner.wait(timeout=30)
        with commit.writing(root):
            assert _note(root).process == os.getpid()


def test_who_lets_go_lets_others_in_at_once(root: ObjectPath) -> None:
    with commit.writing(root):
        first = _note(root)
        assert not first.released
        with pytest.raises(StoreBusyError):
            commit.writing(root).__enter__()
        # who was refused took nothing away
        assert _note(root).token == first.token
    assert _note(root).released
    assert not HELD
    with pytest.raises(StoreBusyError), commit.writing(root):
        commit.writing(root).__enter__()
    assert _note(root).token != first.token
    assert _note(root).released


def test_a_holder_elsewhere_keeps_the_right_until_its_lease_is_over(root: ObjectPath) -> None:
    note = _lock_from_elsewhere(root)
    with pytest.raises(StoreBusyError, match=f"process {os.getpid()} on elsewhere"):
        commit.writing(root).__enter__()
    assert _note(root) == note
    _lock_from_elsewhere(root, lease_seconds=0.01)
    with commit.writing(root):
        assert _note(root).host != "elsewhere"


def test_a_clock_that_was_stepped_takes_nothing_from_a_process_of_this_machine(root: ObjectPath) -> None:
    note = _lock_from_elsewhere(root, machine=lease._machine(), process_started=0.0)
    with pytest.raises(StoreBusyError, match=f"process {os.getpid()} on elsewhere"):
        commit.writing(root).__enter__()
    assert _note(root) == note


def test_whoever_renews_is_alive_whatever_the_clocks_say(
    root: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lock_from_elsewhere(root, lease_seconds=0.01)
    # its sign of life comes while we watch
    monkeypatch.setattr(time, "sleep", lambda _: _lock_from_elsewhere(root, lease_seconds=0.02))
    with pytest.raises(StoreBusyError, match="on elsewhere"):
        commit.writing(root).__enter__()


def test_of_two_that_take_over_one_wins(root: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    _lock_from_elsewhere(root, lease_seconds=0.01)
    real = ObjectPath.replace

    def beaten(self: ObjectPath, content: bytes, tag: str) -> str | None:
        # between our look and our put
        _lock_from_elsewhere(root, host="quicker")
        return real(self, content, tag)

    monkeypatch.setattr(ObjectPath, "replace", beaten)
    with pytest.raises(StoreBusyError, match="on quicker"):
        commit.writing(root).__enter__()
    assert _note(root).host == "quicker"


def test_the_right_is_renewed_while_one_writes(root: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.2)
    with commit.writing(root):
        first, deadline = _note(root), time.monotonic() + 60
        while _note(root).renewed == first.renewed:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert _note(root).since == first.since
        commit.confirm_right(root)


def test_who_lost_the_right_does_not_seal(root: ObjectPath, sound_store: Order) -> None:
    order = replace(sound_store, root=root)
    spans = list(layout.spans(order.plan))
    receipts = [commit.valid_receipt(sound_store.root, order.plan, span) for span in spans]
    with commit.writing(root):
        commit.begin(root, order.recipe, order.plan)
        _lock_from_elsewhere(root)
        with pytest.raises(StoreBusyError, match=r"was lost: process .* on elsewhere has it") as caught:
            commit.seal(root, order.recipe, order.plan, [one for one in receipts if one])
        assert "run the same command again" in caught.value.advice
    assert not (root / commit.MARKER).exists()
    assert not (root / commit.MANIFEST).exists()
    # and does not let go of what is another's
    assert _note(root).host == "elsewhere"
    assert not _note(root).released


def test_the_right_can_be_lost_while_sealing(
    root: ObjectPath, sound_store: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = replace(sound_store, root=root)
    write = commit.write_whole

    def write_then_lose(path: Any, content: Any) -> Any:
        written = write(path, content)
        if path == root / commit.MANIFEST:
            _lock_from_elsewhere(root)
        return written

    monkeypatch.setattr(commit, "write_whole", write_then_lose)
    with commit.writing(root):
        commit.begin(root, order.recipe, order.plan)
        with pytest.raises(StoreBusyError, match="was lost"):
            commit.seal(root, order.recipe, order.plan, [])
    assert not (root / commit.MARKER).exists()


def test_a_server_that_is_silent_for_a_lease_ends_the_right(
    root: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.05)
    with commit.writing(root):
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
            HELD[root].thread.join(timeout=60)
        assert HELD[root].lost
        with pytest.raises(StoreBusyError, match="could not be renewed in time"):
            commit.confirm_right(root)


def test_an_answer_that_got_lost_is_no_refusal(root: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ObjectPath.create
    # the request arrived, was sent again, and is refused for what it did itself
    monkeypatch.setattr(ObjectPath, "create", lambda *arguments: (real(*arguments), None)[1])
    with commit.writing(root):
        commit.confirm_right(root)


def test_a_server_that_ignores_conditions_is_refused(
    root: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(self: ObjectPath, content: bytes) -> str:
        self.put(content)
        return self.read_tagged().tag

    monkeypatch.setattr(ObjectPath, "create", put)
    with pytest.raises(WriteError, match="ignores If-None-Match"):
        commit.writing(root).__enter__()


def test_a_lock_of_something_else_is_left_alone(root: ObjectPath) -> None:
    (root / commit.LOCK).put(b"mine")
    with pytest.raises(WriteError, match="not one of lensmill's"):
        commit.writing(root).__enter__()
    assert (root / commit.LOCK).read_bytes() == b"mine"
