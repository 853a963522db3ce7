"""A worker that does not poll: kept while it has runs, which would end with it."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.serving import pools
from flows.serving.answers import Server
from flows.serving.pools import WorkerRecord, kept_or_started, stop_worker
from flows.serving.processes import identity

ADDRESS = "http://127.0.0.1:9/api"
WAITING = "import sys; sys.stdin.read()"
WITH_A_RUN = f"""
import subprocess, sys
run = subprocess.Popen([sys.executable, "-c", {WAITING!r}], stdin=subprocess.PIPE)
print("begun", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class _Server(Server):
    """One that has heard of certain workers."""

    online: frozenset[str] = frozenset()

    def workers_online(self, _: str) -> set[str]:
        return set(self.online)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pools for which a worker was started."""
    found: list[str] = []

    def start(pool: str, *_: Any) -> WorkerRecord:
        found.append(pool)
        return WorkerRecord(pool=pool, address=ADDRESS, name="new", process=identity(psutil.Process().pid))

    monkeypatch.setattr(pools, "start_worker", start)
    return found


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[WorkerRecord]:
    """A process in place of a worker, with or without one below it."""
    code = WITH_A_RUN if request.param else f"print('begun', flush=True); {WAITING}"
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **streams) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        record = WorkerRecord(pool="gpu", address=ADDRESS, name="old", process=identity(process.pid))
        yield record
        stop_worker(record)


@pytest.mark.parametrize("worker", [True], indirect=True)
def test_one_with_runs_is_kept_until_it_polls_again(
    worker: WorkerRecord, started: list[str], tmp_path: Path
) -> None:
    assert kept_or_started(worker, "gpu", _Server(ADDRESS), tmp_path) is worker
    assert worker.alive
    assert not started


@pytest.mark.parametrize("worker", [False], indirect=True)
def test_one_without_runs_makes_way_unless_it_polls(
    worker: WorkerRecord, started: list[str], tmp_path: Path
) -> None:
    polled = _Server(ADDRESS, online=frozenset({"old"}))
    assert kept_or_started(worker, "gpu", polled, tmp_path) is worker
    assert not started
    outlived = worker.model_copy(update={"outlived": True})
    assert kept_or_started(outlived, "gpu", polled, tmp_path).name == "new", "it hears of no cancelled run"
    assert started == ["gpu"]
    assert not worker.alive


@pytest.mark.parametrize("worker", [False], indirect=True)
def test_one_that_does_not_poll_makes_way(worker: WorkerRecord, started: list[str], tmp_path: Path) -> None:
    assert kept_or_started(worker, "gpu", _Server(ADDRESS), tmp_path).name == "new"
    assert started == ["gpu"]
    assert not worker.alive


@pytest.mark.parametrize("worker", [True], indirect=True)
def test_one_of_another_server_makes_way(worker: WorkerRecord, started: list[str], tmp_path: Path) -> None:
    elsewhere = _Server("http://127.0.0.1:10/api")
    assert kept_or_started(worker, "gpu", elsewhere, tmp_path).name == "new"
    assert started == ["gpu"]
    assert not worker.alive
