"""`up` beside runs that go on, and `down --wait`: nothing is ended that somebody still needs."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.serving import deploying, service, waiting
from flows.serving.answers import Server
from flows.serving.deploying import deploy_all
from flows.serving.pools import WorkerRecord, recorded_pools
from flows.serving.private_files import create_private, write_private
from flows.serving.processes import Identity, identity, living
from flows.serving.service import ServiceRecord, down, record_path, up
from flows.serving.waiting import wait_until_idle
from schemas.errors import FlowError, WriteError

ADDRESS, ELSEWHERE = "http://127.0.0.1:9/api", "http://10.0.0.1:4200/api"


@pytest.fixture
def process() -> Iterator[Callable[[], Identity]]:
    """Processes that do nothing."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> Identity:
        begun.append(subprocess.Popen(["sleep", "600"]))
        return identity(begun[-1].pid)

    yield begin
    for one in begun:
        one.kill()
        one.wait(timeout=30)


def _dead() -> Identity:
    pid, started = identity(os.getpid())
    return pid, started - 1000


def _pool(state: Path, worker: Identity, address: str) -> WorkerRecord:
    record = WorkerRecord(pool="gpu", address=address, name="gpu-1", process=worker)
    (state / "workers").mkdir()
    (state / "workers" / "gpu.json").write_text(record.to_json())
    return record


def test_a_server_that_does_not_start_takes_no_worker_with_it(
    state: Path, process: Callable[[], Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ServiceRecord(address=ADDRESS, server=_dead(), worker=process(), worker_name="one")
    write_private(record_path(), before.to_json())

    def silent(*_: Any) -> None:
        raise FlowError("Prefect's server did not answer")

    monkeypatch.setattr(WorkerRecord, "has_runs", property(lambda _: True))
    monkeypatch.setattr(service, "prefect_server_command", lambda _: ["sleep", "600"])
    monkeypatch.setattr(service, "wait_until_healthy", silent)
    with pytest.raises(FlowError, match="did not answer"):
        up()
    assert living(before.worker)
    found = service._recorded()
    assert found is not None
    assert found.worker == before.worker, "the next `up` finds it"
    assert living(found.server) is None, "no server is left behind"


@pytest.mark.parametrize("worker_lives", [True, False])
def test_what_fails_after_the_start_ends_only_what_is_new(
    worker_lives: bool,
    state: Path,
    process: Callable[[], Identity],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, worker = process(), process() if worker_lives else _dead()
    record = ServiceRecord(address=ADDRESS, server=server, worker=worker, worker_name="one")

    def fails(_: ServiceRecord) -> None:
        raise FlowError("`prefect deploy` failed")

    monkeypatch.setattr(service, "_start_server", lambda *_: service._noted(record))
    monkeypatch.setattr(service, "_is_ours", lambda _: True)
    monkeypatch.setattr(service, "_drop_missed", lambda _: None)
    monkeypatch.setattr(service, "_mended", fails)
    with pytest.raises(FlowError, match="deploy"):
        service._start(0, record if worker_lives else None)
    assert (living(server) is not None, living(worker) is not None) == (worker_lives, worker_lives)
    assert record_path().exists() is worker_lives


def test_up_leaves_workers_for_servers_elsewhere_alone(
    state: Path, process: Callable[[], Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = _pool(state, process(), ELSEWHERE)
    begun = ServiceRecord(address=ADDRESS, server=identity(os.getpid()))
    monkeypatch.setattr(service, "_start", lambda *_: begun)
    assert up() == begun
    assert recorded_pools() == [pool]
    assert pool.alive


class Books(Server):
    """A server with some runs; each look ends one of them."""

    def __init__(self, *runs: str) -> None:
        super().__init__(ADDRESS)
        object.__setattr__(self, "left", list(runs))
        object.__setattr__(self, "paused", {})

    left: list[str]
    paused: dict[str, bool]

    def underway(self) -> dict[str, str]:
        """What is at work."""
        found = {str(number): name for number, name in enumerate(self.left)}
        if self.left:
            self.left.pop()
        return found

    def pause(self, pool: str, paused: bool) -> None:
        """Noted."""
        self.paused[pool] = paused


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes, and nothing loads Prefect."""
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "close_orphans_of", lambda _: None)


@pytest.mark.usefixtures("no_pause")
def test_runs_are_waited_for_and_told_once(state: Path) -> None:
    server, told = Books("simulate/a", "train/b"), list[str]()
    elsewhere = WorkerRecord(pool="far", address=ELSEWHERE, name="far-1", process=_dead())
    here = WorkerRecord(pool="gpu", address=ADDRESS, name="gpu-1", process=_dead())
    wait_until_idle(server, lambda: True, ["lensmill"], [here, elsewhere], told.append)
    assert told == ["waiting for simulate/a", "waiting for train/b"]
    assert server.paused == {"lensmill": True, "gpu": True}


@pytest.mark.usefixtures("no_pause")
def test_a_wait_that_is_given_up_lets_the_pools_go_on(state: Path) -> None:
    server = Books("simulate/a")

    def ctrl_c(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_until_idle(server, lambda: True, ["lensmill"], [], ctrl_c)
    assert server.paused == {"lensmill": False}


@pytest.mark.usefixtures("no_pause")
def test_down_waits_for_runs_below_a_worker_for_a_server_elsewhere(
    state: Path, process: Callable[[], Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, looks, told = _pool(state, process(), ELSEWHERE), [True, True, False], list[str]()
    monkeypatch.setattr(WorkerRecord, "has_runs", property(lambda _: looks.pop(0)))
    ended = down(wait=True, tell=told.append)
    assert ended is not None
    assert (ended.pools, looks, told) == (("gpu",), [], ["waiting for what runs on pool gpu"])
    assert not pool.alive


def test_schedules_that_people_switched_stay_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = {"deployment_id": "d", "schedule": {"cron": "0 3 * * *"}, "parameters": {}}
    week = night | {"schedule": {"cron": "0 6 * * 0"}}
    other = night | {"parameters": {"recipe": "hst"}}
    answers = [
        [night | {"id": "1", "active": False}, week | {"id": "2", "active": True}],
        [one | {"id": str(number), "active": True} for number, one in enumerate((night, week, other), 3)],
    ]
    asked: list[tuple[str, Any]] = []

    class _Server(Server):
        def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
            if method == "POST":
                return [{"schedules": answers.pop(0)}]
            asked.append((path, body))
            return None

    monkeypatch.setattr(deploying, "_deploy", lambda *_: None)
    deploy_all(_Server(ADDRESS), {}, tmp_path / "server.log")
    assert asked == [("/deployments/d/schedules/3", {"active": False})]


def test_private_files_are_whole_and_their_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "service.json"
    write_private(path, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat().st_ino
    write_private(path, "one")
    assert path.stat().st_ino == before, "what says the same is left alone"
    path.chmod(0o644)
    write_private(path, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    create_private(path, "two")
    assert path.read_text() == "one"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        write_private(path, "three")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path], "nothing half-written"
