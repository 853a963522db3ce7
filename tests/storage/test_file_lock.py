"""Locks: what is busy is told from a file system that has no locks."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from flows.serving.api import _private_home
from flows.serving.processes import in_turn
from flows.unattended import STARTED_BY_A_WORKER, turn
from schemas.errors import PlaceError, StoreBusyError
from storage import commit
from storage.files import file_lock
from storage.files.file_lock import file_system, take
from storage.files.journal import append_line
from train.records.unfinished import _owned


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """As on a file system that answers every wish for a lock with this."""

    def answer(code: int) -> None:
        def refuse(*_: Any) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(file_lock.fcntl, "flock", refuse)

    return answer


def test_a_lock_is_one_process_s_and_ends_with_the_file(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        take(first, "it")
        with pytest.raises(BlockingIOError):
            take(second, "it")
        with pytest.raises(BlockingIOError):
            take(second, "it", shared=True)
        first.close()
        take(second, "it", wait=True)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EIO])
@pytest.mark.parametrize("using", [commit.writing, in_turn, _owned])
def test_a_file_system_without_locks_is_not_busy(
    no_locks: Callable[[int], None],
    tmp_path: Path,
    code: int,
    using: Callable[[Path], AbstractContextManager[None]],
) -> None:
    no_locks(code)
    with pytest.raises(PlaceError, match=os.strerror(code)) as caught, using(tmp_path / "it"):
        pytest.fail("nothing keeps another process out")
    assert " at /" in caught.value.where
    assert "flock" in caught.value.advice


def test_a_busy_lock_is_busy(no_locks: Callable[[int], None], tmp_path: Path) -> None:
    no_locks(errno.EWOULDBLOCK)
    with pytest.raises(StoreBusyError), commit.writing(tmp_path):
        pytest.fail("two writers at a time")


def test_nobody_waits_for_locks_that_do_not_come(
    no_locks: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STARTED_BY_A_WORKER, "0")
    no_locks(errno.ENOSYS)
    with pytest.raises(PlaceError), turn(tmp_path):
        pytest.fail("nothing keeps another process out")


def test_a_line_that_cannot_be_added_alone_is_not_added(
    no_locks: Callable[[int], None], tmp_path: Path
) -> None:
    no_locks(errno.ENOLCK)
    with pytest.raises(PlaceError, match="cannot be locked"):
        append_line(tmp_path / "lines", "one")
    assert not (tmp_path / "lines").read_bytes()


def test_a_command_s_server_needs_no_locks(
    no_locks: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path))
    no_locks(errno.ENOLCK)
    with _private_home() as home:
        assert not home.is_relative_to(tmp_path)


def test_the_file_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/a / ext4 rw 0 0\n"
        "mds:/lensing /scratch lustre rw 0 0\n"
        "nas:/my\\040home /my\\040home nfs rw 0 0\n"
    )
    monkeypatch.setattr(file_lock, "MOUNTS", table)
    assert file_system(Path("/scratch/me/a.zarr")) == "lustre at /scratch"
    assert file_system(Path("/my home/a.zarr")) == "nfs at /my home"
    assert file_system(Path("/scratches/a.zarr")) == "ext4 at /"
    monkeypatch.setattr(file_lock, "MOUNTS", tmp_path / "none")
    assert file_system(Path("/scratch/a")) == "/scratch/a"
