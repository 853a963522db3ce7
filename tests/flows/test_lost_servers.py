"""A scheduler, a Prefect server or the space for its database that goes away: one error each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from distributed import Client
from distributed.client import CancelledFuturesGroup, FutureCancelledError, FuturesCancelledError
from prefect.exceptions import PrefectHTTPStatusError

from benchmarks.fault_flows import _dask
from flows.clusters.attendance import told_when_lost
from flows.generate import Order
from flows.making import completed
from flows.serving import server, service
from flows.serving.api import _private_home, _told_when_lost
from flows.serving.pools import WorkerRecord
from flows.serving.server import free_port, need_space
from flows.serving.service import ServiceRecord, record_path, up
from flows.suspects import Suspects
from flows.unattended import PASSING
from schemas.errors import ClusterLostError, FlowError, WriteError
from storage import commit, layout


def test_a_scheduler_that_is_killed_is_one_error(sound_store: Order, tmp_path: Path) -> None:
    order = replace(sound_store, root=tmp_path / "small.zarr")
    commit.begin(order.root, order.recipe, order.plan)
    spans, port = list(layout.spans(order.plan)), free_port()
    with (
        _dask(port, tmp_path) as scheduler,
        Client(f"tcp://127.0.0.1:{port}", set_as_default=False, timeout=60) as client,
    ):
        client.wait_for_workers(1, timeout=120)
        made = completed(client, order.ticket, spans * 100, Suspects())
        next(made)
        scheduler.kill()
        with (
            pytest.raises(ClusterLostError) as caught,
            told_when_lost(client, "shards were made", "finished shards are kept"),
        ):
            list(made)
    assert f"tcp://127.0.0.1:{port}" in caught.value.found
    assert "finished shards are kept" in caught.value.advice
    assert any((order.root / commit.RECEIPTS).rglob("*.json"))


def test_so_it_is_where_batches_are_waited_for() -> None:
    client: Any = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://127.0.0.1:9"))
    reason = "scheduler-connection-lost"
    group = CancelledFuturesGroup([FutureCancelledError("a", reason)], reason)
    with (
        pytest.raises(ClusterLostError, match="went away"),
        told_when_lost(client, "shards were made", "finished shards are kept"),
    ):
        raise FuturesCancelledError([group])


def test_a_run_that_nobody_watches_tries_again_after_a_lost_scheduler() -> None:
    client: Any = SimpleNamespace(scheduler=None)
    with pytest.raises(PASSING), told_when_lost(client, "shards were made", "finished shards are kept"):
        raise FutureCancelledError("a", "scheduler-connection-lost")


def _answer(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:9/api/flow_runs")
    answer = httpx.Response(code, request=request)
    return PrefectHTTPStatusError.from_httpx_error(
        httpx.HTTPStatusError(str(code), request=request, response=answer)
    )


@pytest.mark.parametrize(
    ("error", "says"), [(httpx.ConnectError("refused"), "does not answer: refused"), (_answer(500), "500")]
)
def test_a_server_that_is_lost_is_one_error(error: Exception, says: str) -> None:
    with pytest.raises(FlowError, match=says) as caught, _told_when_lost("http://127.0.0.1:9/api"):
        raise error
    assert "http://127.0.0.1:9/api" in caught.value.found
    assert "what was made is kept" in caught.value.advice


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as anyone can tell."""
    monkeypatch.setattr(server.shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))


@pytest.mark.usefixtures("full_disk")
def test_no_space_for_the_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WriteError, match=r"3\.0 MB are free") as caught:
        need_space(tmp_path)
    assert "LENSMILL_HOME" in caught.value.advice
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path / "state"))
    with pytest.raises(WriteError, match="no space for Prefect's database"), _private_home():
        pytest.fail("a server would be started")
    with pytest.raises(WriteError, match="no space"), _told_when_lost("http://127.0.0.1:9/api"):
        raise _answer(500)


def test_enough_space_is_no_error(tmp_path: Path) -> None:
    need_space(tmp_path)


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """What `up` does with a record: whether it ends what is left, and what it starts a server for."""

    def tried(server_alive: bool, worker_alive: bool) -> list[Any]:
        monkeypatch.setenv("LENSMILL_HOME", str(tmp_path))
        me = psutil.Process()
        alive, dead = (me.pid, me.create_time()), (me.pid, me.create_time() - 100)
        record = ServiceRecord(
            address="http://127.0.0.1:9/api",
            server=alive if server_alive else dead,
            worker=alive if worker_alive else dead,
        )
        record_path().write_text(record.to_json())
        seen: list[Any] = []
        monkeypatch.setattr(WorkerRecord, "has_runs", property(lambda _: worker_alive))
        monkeypatch.setattr(service, "_end", lambda _: seen.append("ended"))
        monkeypatch.setattr(service, "_mended", lambda one: seen.append(("mended", one)))
        monkeypatch.setattr(service, "_start", lambda _, before: seen.append(before))
        up()
        return [one == record if isinstance(one, ServiceRecord) else one for one in seen]

    return tried


def test_up_starts_a_dead_server_for_the_worker_that_is_left(starts: Callable[..., list[Any]]) -> None:
    assert starts(server_alive=False, worker_alive=True) == [True]


def test_up_ends_what_is_left_of_a_dead_service(starts: Callable[..., list[Any]]) -> None:
    assert starts(server_alive=False, worker_alive=False) == ["ended", None]
