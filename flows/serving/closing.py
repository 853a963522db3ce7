"""Runs that Prefect's books would show as running for ever, since the process that would end them is dead.

Prefect's worker reports the death of a flow's process itself. Nobody reports that of a command, of what a
flow started (its subflows and tasks), or of anything when the machine went down. `lensmill up` does, and the
next run of ours.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.serving.answers import Server
from storage.files.process_identity import Identity, still_runs
from storage.files.process_identity import identity as identity_of

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

HOST, PID, STARTED = "lensmill.host", "lensmill.pid", "lensmill.started"
TICKS, BOOT, NAMESPACE = "lensmill.ticks", "lensmill.boot", "lensmill.namespace"
# What a process told last may still be on its way to the books.
SETTLED = timedelta(minutes=1)
# A process pool's run is Running after seconds, on a busy machine after a minute or two.
PENDING_AT_MOST = timedelta(minutes=15)


def identity() -> dict[str, Any]:
    """This process, so that any later one on this machine can tell whether it is gone."""
    me = identity_of(os.getpid())
    return {
        HOST: socket.gethostname(),
        PID: str(me.pid),
        STARTED: f"{me.started:.1f}",
        TICKS: str(me.ticks),
        BOOT: me.boot,
        NAMESPACE: me.namespace,
    }


def is_alive(labels: Mapping[str, Any]) -> bool | None:
    """Whether the process that labelled a run is there.

    None of another machine's, of another container's that has this one's name, or without labels.
    """
    if labels.get(HOST) != socket.gethostname():
        return None
    since_boot = int(labels.get(TICKS, 0)), str(labels.get(BOOT, "")), str(labels.get(NAMESPACE, ""))
    return still_runs(Identity(int(labels[PID]), float(labels[STARTED]), *since_boot))


def label_run() -> None:
    """Write this process into the books of the flow that is running, and of the one that all began with."""
    _quietly(_label)


def _label() -> None:
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    if flow_run.id is None:
        return
    # labels, not tags: for tags each task would ask the server whether it may run
    with get_client(sync_client=True) as client:
        for run in {flow_run.id, flow_run.root_flow_run_id}:
            client.update_flow_run_labels(UUID(run), identity())


@contextlib.contextmanager
def books_closed() -> Iterator[None]:
    """Close what others left open, and at the end what a flow that is failing leaves open itself."""
    _quietly(close_orphans)
    label_run()
    try:
        yield
    except BaseException as error:
        what = f"{type(error).__name__} ended the flow"
        _quietly(lambda: close_own_tasks(what))
        raise
    # again: what had ended just before this run began may have been too fresh to judge
    _quietly(close_orphans)


def _quietly(close: Callable[[], Any]) -> None:
    """Books are not the work: where they cannot be closed now, the next run does it."""
    with contextlib.suppress(Exception):
        close()


def close_own_tasks(why: str) -> int:
    """Call crashed what this flow's run has not ended; how many there were."""
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    if flow_run.id is None:
        return 0
    with get_client(sync_client=True) as client:
        return _close_tasks(client, UUID(flow_run.id), why)


def close_task(task_run: UUID, why: str) -> None:
    """Call a task run crashed, unless it has ended by its own account."""
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    def close() -> None:
        with get_client(sync_client=True) as client:
            state = client.read_task_run(task_run).state
            if state is None or not state.is_final():
                client.set_task_run_state(task_run, Crashed(message=why), force=True)

    _quietly(close)


def close_orphans() -> int:
    """Close the runs of processes of this machine that are gone; how many flow runs there were."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        closed = 0
        # the runs of dead parents become orphans with them
        while found := [run for run in _open_flow_runs(client) if _is_orphan(client, run)]:
            for run in found:
                _close_flow(client, run)
            closed += len(found)
        _close_tasks_of_the_dead(client)
        _close_settled_tasks(client)
        return closed


def close_orphans_of(server: Server) -> None:
    """The same where no flow runs. Prefect takes seconds to load, and is left alone where no run is open."""

    def close() -> None:
        if server.runs_underway():
            from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

            settings = {PREFECT_API_URL: server.address, PREFECT_API_AUTH_STRING: server.secret}
            with temporary_settings(settings):
                close_orphans()

    _quietly(close)


def _open_flow_runs(client: "SyncPrefectClient") -> list[Any]:
    from prefect.client.schemas.filters import FlowRunFilter

    states = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    return list(client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(states)))


def _is_orphan(client: "SyncPrefectClient", run: Any) -> bool:
    """Whether nobody is left who would end a run."""
    if HOST in run.labels:
        return is_alive(run.labels) is False
    if run.parent_task_run_id is None:
        return _never_began(client, run)
    parent = client.read_task_run(run.parent_task_run_id).flow_run_id
    state: Any = client.read_flow_run(parent).state if parent else None
    return state is not None and bool(state.is_final())


def _never_began(client: "SyncPrefectClient", run: Any) -> bool:
    """Whether a worker took a run and died before it began. Pods may wait for hours, processes do not."""
    if not run.state.is_pending() or datetime.now(UTC) - run.state.timestamp < PENDING_AT_MOST:
        return False
    return run.work_pool_name is not None and client.read_work_pool(run.work_pool_name).type == "process"


def _close_flow(client: "SyncPrefectClient", run: Any) -> None:
    from prefect.states import Cancelled, Crashed

    why = f"its process is gone; found by process {os.getpid()} of {socket.gethostname()}"
    state: Any = Cancelled(message=why) if run.state.is_cancelling() else Crashed(message=why)
    client.set_flow_run_state(run.id, state, force=True)
    _close_tasks(client, run.id, why)


def _close_tasks(client: "SyncPrefectClient", flow_run: UUID, why: str) -> int:
    from prefect.client.schemas.filters import FlowRunFilter

    return _close_all(client, FlowRunFilter.model_validate({"id": {"any_": [flow_run]}}), why)


def _close_tasks_of_the_dead(client: "SyncPrefectClient") -> None:
    """Of flows that their worker called crashed just now: a dead process has nothing more to tell."""
    from prefect.client.schemas.filters import FlowRunFilter

    after = (datetime.now(UTC) - SETTLED).isoformat()
    crashed = {"state": {"type": {"any_": ["CRASHED"]}}, "end_time": {"after_": after}}
    for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(crashed)):
        if is_alive(run.labels) is False:
            _close_tasks(client, run.id, "its flow's process is gone")


def _close_settled_tasks(client: "SyncPrefectClient") -> None:
    """Tasks of flows that ended some time ago, however they did."""
    from prefect.client.schemas.filters import FlowRunFilter

    before = (datetime.now(UTC) - SETTLED).isoformat()
    ended = {"end_time": {"before_": before, "is_null_": False}}
    _close_all(client, FlowRunFilter.model_validate(ended), "its flow ended without it")


def _close_all(client: "SyncPrefectClient", flows: Any, why: str) -> int:
    from prefect.client.schemas.filters import TaskRunFilter
    from prefect.states import Crashed

    states = TaskRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING"]}}})
    left = client.read_task_runs(flow_run_filter=flows, task_run_filter=states)
    for run in left:
        client.set_task_run_state(run.id, Crashed(message=why), force=True)
    return len(left)
