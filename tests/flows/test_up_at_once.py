"""Two `lensmill up` at the same moment: one starts what is missing, the other finds it there."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.serving import pools, service
from flows.serving.pools import WorkerRecord
from flows.serving.processes import identity
from flows.serving.service import ServiceRecord, record_path, up, up_pool_here

ADDRESS = "http://127.0.0.1:9/api"
ME = identity(os.getpid())
# Long enough for a second one that does not wait to start as well.
MEANWHILE_SECONDS = 1.0


class Starts:
    """What is started; each start gives another one the time to come between."""

    def __init__(self) -> None:
        self.what: list[str] = []
        self.second = threading.Event()

    def begin(self, what: str) -> None:
        """Something is started, which takes a while."""
        self.what.append(what)
        if len(self.what) > 1:
            self.second.set()
        self.second.wait(MEANWHILE_SECONDS)


@pytest.fixture
def starts(state: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """A service whose processes are this one."""
    found = Starts()

    def start(*_: Any) -> ServiceRecord:
        found.begin("server")
        return service._mended(service._noted(ServiceRecord(address=ADDRESS, server=ME)))

    def mend(record: ServiceRecord) -> ServiceRecord:
        if record.worker is None:
            found.begin("worker")
            record = service._noted(record.model_copy(update={"worker": ME}))
        return record

    monkeypatch.setattr(service, "_start", start)
    monkeypatch.setattr(service, "_mended", mend)
    return found


def _twice(function: Callable[[], Any]) -> list[Any]:
    """What came of two calls at once."""
    results: list[Any] = []

    def call() -> None:
        try:
            results.append(function())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    return results


@pytest.mark.parametrize("server_is_there", [False, True])
def test_one_of_two_starts_and_both_find_the_same(starts: Starts, server_is_there: bool) -> None:
    if server_is_there:
        service._noted(ServiceRecord(address=ADDRESS, server=ME))
    first, second = _twice(up)
    assert first == second == ServiceRecord.model_validate_json(record_path().read_bytes())
    assert starts.what == (["worker"] if server_is_there else ["server", "worker"])


def test_so_it_is_with_the_worker_of_a_pool(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts()

    class _Server:
        def __init__(self, *_: Any) -> None:
            self.address = ADDRESS

        def workers_online(self, _: str) -> set[str]:
            return {"one"}

    def start(pool: str, *_: Any) -> WorkerRecord:
        starts.begin(pool)
        return WorkerRecord(pool=pool, address=ADDRESS, name="one", process=ME)

    monkeypatch.setenv("PREFECT_API_URL", ADDRESS)
    monkeypatch.setattr(service, "Server", _Server)
    monkeypatch.setattr(pools, "make_pool", lambda *_: None)
    monkeypatch.setattr(pools, "start_worker", start)
    first, second = _twice(lambda: up_pool_here("gpu"))
    assert first == second
    assert starts.what == ["gpu"]
