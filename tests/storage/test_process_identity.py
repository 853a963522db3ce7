"""Processes told from later ones, whatever is done to the clock."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from storage.files import process_identity
from storage.files.process_identity import Identity, identity, still_runs

ME = os.getpid()


@pytest.fixture
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Linux's /proc."""
    monkeypatch.setattr(process_identity, "BOOT", Path("/proc/none"))
    monkeypatch.setattr(process_identity, "_ticks", lambda _: 0)


def test_this_process_runs() -> None:
    assert still_runs(identity(ME)) is True


@pytest.mark.usefixtures("nothing_told")
def test_without_a_kernel_that_tells_the_clock_counts() -> None:
    me = identity(ME)
    assert me == (ME, psutil.Process().create_time(), 0, "", "")
    assert still_runs(me) is True
    assert still_runs(me._replace(started=me.started - 100)) is False


def test_a_stepped_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(ME)
    assert before.ticks > 0
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 3600)
    assert abs(identity(ME).started - before.started) > 3000
    assert still_runs(before) is True
    assert still_runs(Identity(before.pid, before.started)) is False, "the step was none"


def test_records_of_before_are_read() -> None:
    started = psutil.Process().create_time()
    assert still_runs(Identity(ME, started)) is True
    assert still_runs(Identity(ME, started - 100)) is False


@pytest.mark.parametrize(
    ("change", "runs"), [({"ticks": 1}, False), ({"boot": "before"}, False), ({"namespace": "pid:[1]"}, None)]
)
def test_another_process_another_boot_another_container(change: dict[str, object], runs: bool | None) -> None:
    assert still_runs(identity(ME)._replace(**change)) is runs


def test_the_dead_and_those_that_nobody_buried() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = identity(child.pid)
    assert still_runs(known) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert still_runs(known) is False
    child.communicate(timeout=30)
    assert still_runs(known) is False


def test_a_name_with_brackets_is_not_taken_for_figures(tmp_path: Path) -> None:
    program = tmp_path / "a) 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "600"])
    try:
        assert identity(child.pid).ticks >= identity(ME).ticks
        assert still_runs(identity(child.pid)) is True
    finally:
        child.kill()
        child.wait(timeout=30)
