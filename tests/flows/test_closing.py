"""Runs whose process is dead are closed by the next run, on a real server; the living are left alone."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Crashed, Pending, Running, State
from prefect.tasks import Task

from flows.serving import closing
from flows.serving.answers import Server
from flows.serving.api import prefect_api
from flows.serving.closing import (
    HOST,
    NAMESPACE,
    PID,
    STARTED,
    TICKS,
    books_closed,
    close_orphans,
    close_orphans_of,
    close_task,
    identity,
    is_alive,
)
from flows.unattended import told

DEAD = {HOST: socket.gethostname(), PID: "4194304", STARTED: "1.0"}


def test_this_process_is_alive() -> None:
    assert is_alive(identity()) is True


def test_a_process_that_ended_is_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    labels = {**identity(), PID: str(child.pid), STARTED: f"{psutil.Process(child.pid).create_time():.1f}"}
    child.wait(timeout=30)
    assert is_alive(labels) is False


# what a run of before this version was labelled with
OLD = (HOST, PID, STARTED)


def test_a_number_that_was_used_again_is_not() -> None:
    assert is_alive({**identity(), TICKS: "1"}) is False
    old = {name: identity()[name] for name in OLD}
    assert is_alive({**old, STARTED: "100.0"}) is False
    assert is_alive(old) is True


def test_a_clock_that_was_stepped_kills_nobody() -> None:
    assert is_alive({**identity(), STARTED: "100.0"}) is True


def test_a_container_with_the_hosts_name_does_not_call_its_runs_dead() -> None:
    assert is_alive({**identity(), NAMESPACE: "pid:[1]", PID: "4194304"}) is None


@pytest.mark.parametrize("labels", [{}, {HOST: "elsewhere", PID: str(os.getpid()), STARTED: "1.0"}])
def test_of_other_machines_nothing_is_known(labels: dict[str, str]) -> None:
    assert is_alive(labels) is None


def test_books_that_cannot_be_closed_are_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no server")

    for name in ("close_orphans", "close_own_tasks", "_label"):
        monkeypatch.setattr(closing, name, fail)
    with books_closed():
        pass
    with pytest.raises(KeyError, match="mine"), books_closed():
        raise KeyError("mine")


# -- with a real server, shared by the module


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    """A client of a server of our own."""
    with prefect_api(), get_client(sync_client=True) as client:
        yield client


@flow(name="some flow")
def some_flow() -> None:
    """Stands for any."""


def some_task() -> None:
    """Stands for any."""


TASK: Task[Any, Any] = Task(some_task, name="some task")


def _run(client: SyncPrefectClient, labels: dict[str, Any], state: State[Any]) -> tuple[Any, Any]:
    run = client.create_flow_run(some_flow, state=state)
    if labels:
        client.update_flow_run_labels(run.id, labels)
    task = client.create_task_run(TASK, flow_run_id=run.id, dynamic_key="0", state=Running())
    return run.id, task.id


def _states(client: SyncPrefectClient, run: Any, task: Any) -> tuple[str, str]:
    mine, its = client.read_flow_run(run).state, client.read_task_run(task).state
    assert mine
    assert its
    return mine.name, its.name


def test_runs_of_the_dead_are_closed_with_their_tasks(client: SyncPrefectClient) -> None:
    dead = _run(client, DEAD, Running())
    cancelling = _run(client, DEAD, Cancelling())
    others = [_run(client, labels, Running()) for labels in (identity(), {}, {**DEAD, HOST: "elsewhere"})]
    assert close_orphans() == 2
    assert _states(client, *dead) == ("Crashed", "Crashed")
    assert _states(client, *cancelling) == ("Cancelled", "Crashed")
    assert [_states(client, *one) for one in others] == [("Running", "Running")] * 3
    assert close_orphans() == 0


@pytest.mark.parametrize(("kind", "state"), [("process", "Crashed"), ("kubernetes", "Pending")])
def test_a_run_that_a_worker_took_and_never_began_is_closed(
    kind: str, state: str, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.create_work_pool(WorkPoolCreate(name=kind, type=kind))
    deployment = client.create_deployment(
        flow_id=client.create_flow(some_flow), name=kind, work_pool_name=kind
    )
    run = client.create_flow_run_from_deployment(deployment, state=Pending()).id
    close_orphans()
    assert client.read_flow_run(run).state_name == "Pending", "it may still begin"
    monkeypatch.setattr(closing, "PENDING_AT_MOST", timedelta(0))
    close_orphans()
    assert client.read_flow_run(run).state_name == state


def test_they_are_closed_where_no_flow_runs(client: SyncPrefectClient) -> None:
    dead = _run(client, DEAD, Running())
    alive = _run(client, identity(), Running())
    server = Server(str(PREFECT_API_URL.value()), PREFECT_API_AUTH_STRING.value())
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        close_orphans_of(server)
    assert _states(client, *dead) == ("Crashed", "Crashed")
    assert _states(client, *alive) == ("Running", "Running")


def test_a_service_comes_up_where_books_cannot_be_closed() -> None:
    close_orphans_of(Server("http://127.0.0.1:9/api"))


def test_tasks_of_a_crash_that_was_told_are_closed_at_once(client: SyncPrefectClient) -> None:
    dead, fresh = (_run(client, labels, Running()) for labels in (DEAD, identity()))
    for run, _ in (dead, fresh):
        client.set_flow_run_state(run, Crashed(), force=True)
    close_orphans()
    assert _states(client, *dead) == ("Crashed", "Crashed")
    assert _states(client, *fresh) == ("Crashed", "Running")


def test_the_subflows_of_the_dead_are_closed(client: SyncPrefectClient) -> None:
    _, stand_in = _run(client, DEAD, Running())
    child = client.create_flow_run(some_flow, state=Running(), parent_task_run_id=stand_in)
    task = client.create_task_run(TASK, flow_run_id=child.id, dynamic_key="0", state=Running())
    assert close_orphans() == 2
    assert _states(client, child.id, task.id) == ("Crashed", "Crashed")


def test_a_task_that_was_given_up_is_closed_and_one_that_ended_is_not(client: SyncPrefectClient) -> None:
    _, task = _run(client, identity(), Running())
    close_task(task, "its worker died")
    assert client.read_task_run(task).state_name == "Crashed"
    _, ended = _run(client, identity(), Running())
    client.set_task_run_state(ended, Crashed(name="Ended"), force=True)
    close_task(ended, "its worker died")
    assert client.read_task_run(ended).state_name == "Ended"


def test_a_flow_is_labelled_and_what_it_leaves_open_is_closed(client: SyncPrefectClient) -> None:
    seen: dict[str, Any] = {}

    @flow(name="a flow that fails")
    def failing() -> None:
        from prefect.runtime import flow_run

        with books_closed():
            seen["run"] = flow_run.id
            task = client.create_task_run(TASK, flow_run_id=flow_run.id, dynamic_key="0", state=Running())
            seen["task"] = task.id
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        failing()
    assert is_alive(client.read_flow_run(seen["run"]).labels) is True
    assert _states(client, seen["run"], seen["task"]) == ("Failed", "Crashed")


def test_every_flow_is_labelled_as_it_begins(client: SyncPrefectClient) -> None:
    @flow(name="a flow that makes no shards")
    @told
    def other() -> str:
        from prefect.runtime import flow_run

        return str(flow_run.id)

    assert is_alive(client.read_flow_run(UUID(other())).labels) is True


def test_a_server_of_our_own_that_is_killed_comes_back(client: SyncPrefectClient) -> None:
    run, _ = _run(client, identity(), Running())
    (server,) = [
        one for one in psutil.Process().children() if "flows.serving.prefect_server" in one.cmdline()
    ]
    home = Path(server.environ()["PREFECT_HOME"])
    assert (home / "prefect.db").exists()
    # by this note, the server of `up` would leave out the kinds of blocks that people see on its page
    assert not (home / "memo_store.toml").exists()
    for one in (*server.children(recursive=True), server):
        one.kill()
    # the client tries again until there is an answer
    assert client.read_flow_run(run).state_name == "Running"
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
