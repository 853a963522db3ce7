"""Logs and books that are written for months."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings.models.server.services import ServerServicesDBVacuumSettings
from prefect.states import Completed, Running, Scheduled, State
from prefect.tasks import Task

from flows.clusters import slurm
from flows.serving import processes, service
from flows.serving.api import prefect_api
from flows.serving.processes import keep_short, spawn
from flows.serving.server import FORGOTTEN, set_private_environment

VACUUM = "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"


def test_a_long_log_begins_anew_under_whoever_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 100)
    log = tmp_path / "worker.log"
    says = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    monkeypatch.setattr(subprocess, "DEVNULL", subprocess.PIPE)
    writer = spawn([sys.executable, "-c", says], os.environ, tmp_path, log)
    assert writer.stdin is not None
    try:
        log.write_bytes(b"x" * 90)
        keep_short(log)
        assert not log.with_name("worker.log.1").exists(), "it is not long yet"
        log.write_bytes(b"y" * 300 + b"the end")
        keep_short(log)
        assert log.stat().st_size == 0
        assert log.with_name("worker.log.1").read_bytes() == b"y" * 93 + b"the end"
        writer.stdin.write(b"alive\n")
        writer.stdin.flush()
        while log.read_bytes() != b"alive\n":
            assert writer.poll() is None
    finally:
        writer.kill()
        writer.communicate(timeout=30)


def test_a_log_that_cannot_be_kept_short_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_short(tmp_path / "none.log")
    monkeypatch.setattr(processes, "LOG_BYTES", 1)
    log = tmp_path / "server.log"
    log.write_text("long")
    log.with_name("server.log.1").mkdir()
    keep_short(log)
    assert log.read_text() == "long", "nothing is dropped that was not kept"


def test_up_looks_after_all_logs(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 1)
    for name in ("_up", "server_to_work_for", "up_pool"):
        monkeypatch.setattr(service, name, lambda *_: None)
    for begin in (service.up, lambda: service.up_pool_here("gpu")):
        for name in ("server", "worker-gpu"):
            (state / "prefect" / f"{name}.log").write_text("long")
        begin()
        assert [path.stat().st_size for path in (state / "prefect").glob("*.log")] == [0, 0]


def test_logs_of_jobs_of_long_ago_are_removed(state: Path) -> None:
    folder = state / "slurm"
    folder.mkdir()
    old = time.time() - slurm.LOGS_KEPT_SECONDS - 60
    for name in ("lensmill-1.out", "lensmill-1.err", "mine.txt", "lensmill-notes.txt"):
        (folder / name).write_text("said")
        os.utime(folder / name, (old, old))
    (folder / "lensmill-2.out").write_text("said")
    slurm.forget_old_logs()
    assert {path.name for path in folder.iterdir()} == {"lensmill-2.out", "mine.txt", "lensmill-notes.txt"}


# -- Prefect's books


def test_prefect_is_told_to_forget_runs_and_understands_it(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "environ", {name: os.environ[name] for name in ("LENSMILL_HOME", "PATH")})
        set_private_environment()
        assert os.environ[VACUUM] == FORGOTTEN
        os.environ[VACUUM] = "events"
        set_private_environment()
        assert os.environ[VACUUM] == "events", "what somebody set goes before"
    monkeypatch.setenv(VACUUM, FORGOTTEN)
    understood = ServerServicesDBVacuumSettings()
    assert {"events", "flow_runs"} <= understood.enabled_vacuum_types
    assert understood.retention_period == timedelta(days=90)


@flow(name="some flow")
def some_flow() -> None:
    """Stands for any."""


def some_task() -> None:
    """Stands for any."""


TASK: Task[Any, Any] = Task(some_task, name="some task")


def _make_runs(client: SyncPrefectClient) -> None:
    """Runs in several states, each with a task, a subflow and a line of log."""
    kinds: dict[str, State[Any]] = {
        "old": Completed(),
        "new": Completed(),
        "running": Running(),
        "planned": Scheduled(),
    }
    for name, state in kinds.items():
        run = client.create_flow_run(some_flow, name=name, state=state)
        task = client.create_task_run(TASK, flow_run_id=run.id, dynamic_key="0", state=Completed())
        client.create_flow_run(some_flow, name=f"{name}'s", state=Completed(), parent_task_run_id=task.id)
        line = {"name": "x", "level": 20, "message": name, "timestamp": "2026-01-01T00:00:00Z"}
        client._client.post("/logs/", json=[line | {"flow_run_id": str(run.id)}]).raise_for_status()


@pytest.mark.slow
def test_only_runs_that_ended_long_ago_are_forgotten(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VACUUM, "events")
    with prefect_api(), get_client(sync_client=True) as client:
        _make_runs(client)
    with closing(sqlite3.connect(state / "prefect" / "prefect.db")) as books, books:
        long_ago = "2025-01-01 00:00:00.000000"
        books.execute("update flow_run set start_time = ?, expected_start_time = ?", (long_ago, long_ago))
        ended = "update flow_run set end_time = ? where end_time is not null and name not like 'new%'"
        books.execute(ended, (long_ago,))
    monkeypatch.setenv(VACUUM, FORGOTTEN)
    stay = {"new", "new's", "running", "running's", "planned", "planned's"}
    with prefect_api():
        deadline = time.monotonic() + 60
        while _told(state, "select name from flow_run") != stay and time.monotonic() < deadline:
            time.sleep(0.2)
    assert _told(state, "select name from flow_run") == stay
    assert _told(state, "select message from log") == {"new", "running", "planned"}
    assert _told(state, "select count(*) from task_run") == {3}


def _told(state: Path, question: str) -> set[Any]:
    with closing(sqlite3.connect(state / "prefect" / "prefect.db")) as books:
        return {row[0] for row in books.execute(question)}
