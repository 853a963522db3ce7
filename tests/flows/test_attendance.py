"""All workers of a scheduler die for good: one error after a while, but never for jobs that queue."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import CancelledError, Client

from flows import tally
from flows.clusters import attendance
from flows.clusters.attendance import attended
from flows.clusters.schedulers import existing
from flows.generate import Order
from flows.making import Batch, _wait, completed
from flows.shards import make_shards
from flows.suspects import Suspects
from flows.tally import Tally
from flows.unattended import PASSING
from schemas.cluster import ExistingScheduler, LocalWorkers, Slurm
from schemas.errors import ClusterLostError
from storage import commit, layout
from tests.dask_processes import DaskProcesses, dask_processes

LOG = logging.getLogger("lensmill.test")
JOBS = Slurm(kind="slurm", cores=1, memory="1 GiB", most_jobs=1)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A scheduler without workers."""
    with dask_processes(tmp_path_factory.mktemp("dask")) as found:
        yield found


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is long."""
    monkeypatch.setattr(attendance, "PATIENCE_MINUTES", 1 / 60)
    monkeypatch.setattr(attendance, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(tally, "create_progress_artifact", lambda **_: None)
    monkeypatch.setattr(tally, "update_progress_artifact", lambda *_, **__: None)


def _mapped(client: Client, order: Order, kill: Callable[[], None]) -> None:
    spans = list(layout.spans(order.plan)) * 100
    for _ in completed(client, order.ticket, spans, Suspects()):
        kill()


def _in_batches(client: Client, order: Order, kill: Callable[[], None]) -> None:
    spans = list(layout.spans(order.plan))
    future = client.submit(make_shards, order.ticket, spans * 100, pure=False)
    with Tally(order, spans, lambda _: None) as seen:
        kill()
        _wait([Batch(future, future, deque(spans))], seen, Suspects())


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("work", [_mapped, _in_batches])
def test_a_scheduler_whose_workers_all_died_is_one_error(
    dask: DaskProcesses,
    sound_store: Order,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    work: Callable[..., None],
) -> None:
    order = replace(sound_store, root=tmp_path / "small.zarr")
    commit.begin(order.root, order.recipe, order.plan)
    worker, where = dask.worker(), ExistingScheduler(address=dask.address, patience_minutes=1 / 60)

    def kill() -> None:
        worker.kill()
        worker.wait(timeout=30)

    with existing(where) as runner, pytest.raises(ClusterLostError) as caught:  # noqa: SIM117
        with attended(runner.client, where, LOG):
            work(runner.client, order, kill)
    assert caught.value.where == dask.address
    assert "no worker was at the Dask scheduler" in caught.value.found
    assert "finished shards are kept" in caught.value.advice
    assert isinstance(caught.value, PASSING), "a run that nobody watches tries again"
    assert [one for one in caplog.messages if "no worker was at" in one]


class _Scheduler:
    """A client whose scheduler has workers when it is told to."""

    def __init__(self) -> None:
        self.scheduler = SimpleNamespace(address="tcp://10.0.0.1:8786")
        self.futures: dict[str, Any] = {}
        self.there: dict[str, int] = {}
        self.asked = 0

    def nthreads(self) -> dict[str, int]:
        """Who is there."""
        self.asked += 1
        return self.there

    def cancel(self, *_: Any, **__: Any) -> None:
        """Nothing is underway."""


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


@pytest.mark.usefixtures("brief")
def test_jobs_may_wait_in_the_queue_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    client: Any = _Scheduler()
    caplog.set_level(logging.INFO)
    with attended(client, JOBS, LOG):
        _wait_for(lambda: len(caplog.messages) > 1)
        client.there = {"a": 1}
        _wait_for(lambda: len(caplog.messages) > 2)
    first, again, *_, last = caplog.messages
    for one in (first, again):
        assert one.startswith("no worker was at tcp://10.0.0.1:8786 for ")
        assert one.endswith("jobs may wait in the queue")
    assert last.startswith("workers are there again")


def test_who_works_is_not_disturbed(
    brief: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "PATIENCE_MINUTES", 0.0)
    client: Any = _Scheduler()
    client.there = {"a": 1}
    with attended(client, LocalWorkers(), LOG):
        _wait_for(lambda: client.asked > 2)
    assert not caplog.messages
    # what else is cancelled is none of ours
    with pytest.raises(CancelledError, match="else"), attended(client, LocalWorkers(), LOG):
        raise CancelledError("else")
