"""What workers log arrives in the flow's log: by name, bounded, and leaving everything as it was."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from prefect.context import get_settings_context
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.telling import workerlog
from flows.telling.workerlog import LINES_OF_FLOW, LINES_OF_WORKER, Allowance, heard

MOST_SECONDS = 30


class Listener(logging.Handler):
    """Keeps lines, and the API that Prefect would send each of them to."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []
        self.apis: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))
        self.apis.append(get_settings_context().settings.api.url)

    def wait_for(self, words: str) -> str:
        """The line with these words, once it has come."""
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            if found := [line for _, line in self.lines if words in line]:
                return found[0]
            time.sleep(0.02)
        pytest.fail(f"{words!r} did not come: {self.lines}")


@pytest.fixture
def flow_log() -> Iterator[tuple[logging.Logger, Listener]]:
    """In place of a flow run's log."""
    log, listener = logging.getLogger("a flow run"), Listener()
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    log.propagate = False
    yield log, listener
    log.removeHandler(listener)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers in this process."""
    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _on_one(client: Client, work: Callable[..., Any], *arguments: Any) -> None:
    first = min(client.nthreads())
    client.submit(work, *arguments, pure=False, workers=[first]).result()


def _speak() -> None:
    logging.getLogger("simulate.anything").info("a word of ours")
    logging.getLogger("distributed.worker.memory").warning("Unmanaged memory use is high")
    logging.getLogger("distributed.worker").info("nothing to worry about")
    logging.getLogger("somebody.else").error("not ours to tell")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("odd value", UserWarning, stacklevel=1)


def _levels() -> dict[str, Any]:
    names = [*workerlog.OF_WORKERS, *workerlog.OF_NANNIES]
    loggers = [logging.getLogger(name) for name in names]
    return {
        one.name: (one.level, list(one.handlers), [handler.level for handler in one.handlers])
        for one in loggers
    }


def test_what_a_worker_logs_arrives_with_its_name(
    client: Client, flow_log: tuple[logging.Logger, Listener]
) -> None:
    log, listener = flow_log
    before, show = _levels(), warnings.showwarning
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), heard(client, log):
        _on_one(client, _speak)
        assert listener.wait_for("a word of ours").startswith("worker ")
        assert "\n" not in listener.wait_for("odd value")
        listener.wait_for("Unmanaged memory")
    said = " ".join(line for _, line in listener.lines)
    assert "nothing to worry about" not in said
    assert "not ours" not in said
    # of the flow, not of whatever a thread of Dask would find
    assert set(listener.apis) == {"http://127.0.0.1:9/api"}
    assert (_levels(), warnings.showwarning) == (before, show)


def _flood(count: int) -> None:
    for number in range(count):
        logging.getLogger("storage.anything").warning("line %d of a flood", number)


def test_a_flood_is_bounded_and_counted(
    client: Client, flow_log: tuple[logging.Logger, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, listener = flow_log
    monkeypatch.setattr(workerlog, "SECONDS", 3600.0)
    with heard(client, log):
        _on_one(client, _flood, 500)
        listener.wait_for("line 0 of a flood")
    told = listener.wait_for("more lines were left out")
    of_flood = [line for _, line in listener.lines if "of a flood" in line]
    # both workers of this process hear its loggers
    assert LINES_OF_WORKER <= len(of_flood) <= 2 * LINES_OF_WORKER
    assert f"({500 - LINES_OF_WORKER} more lines" in told


def test_an_allowance_counts_what_it_leaves_out() -> None:
    allowance = Allowance(2, 10.0)
    assert [allowance.take(now) for now in (0, 1, 2, 3, 9.9, 10, 11, 12)] == [
        0,
        0,
        None,
        None,
        None,
        3,
        0,
        None,
    ]


def test_a_lost_worker_is_told_and_an_expected_end_is_not(flow_log: tuple[logging.Logger, Listener]) -> None:
    log, listener = flow_log
    desk = workerlog._Desk(log)
    lost = {"action": "remove-worker", "worker": "tcp://far:1", "processing-tasks": {"a": 1}}
    desk.coming((0.0, lost))
    desk.coming((0.0, {**lost, "expected": True}))
    desk.coming((0.0, {"action": "add-worker", "worker": "tcp://far:2"}))
    assert [level for level, _ in listener.lines] == [logging.WARNING]
    assert "worker at tcp://far:1: lost, with 1 pieces of work" in listener.lines[0][1]


def test_many_workers_together_are_bounded_too(flow_log: tuple[logging.Logger, Listener]) -> None:
    log, listener = flow_log
    desk = workerlog._Desk(log)
    for number in range(1000):
        line = {"sender": f"worker {number}", "level": logging.WARNING, "message": "m", "left_out": 0}
        desk.line((0.0, line))
    assert len(listener.lines) == LINES_OF_FLOW


def test_nannies_of_one_process_share_an_ear() -> None:
    said: list[Any] = []
    nanny = SimpleNamespace(log_event=lambda topic, line: said.append((topic, line["message"])))
    before, plugins = _levels(), [workerlog.NannyLog("topic") for _ in range(3)]
    for plugin in plugins:
        plugin.setup(nanny)
    logging.getLogger("distributed.nanny.memory").warning("exceeded 95% memory budget")
    for plugin in plugins:
        plugin.teardown(nanny)
    assert said == [("topic", "exceeded 95% memory budget")]
    assert _levels() == before


class Refuses:
    """A cluster that takes no plugins."""

    id, status = "refuses", "running"

    def subscribe_topic(self, *_: Any) -> None:
        """As Dask's client has it."""
        raise OSError("connection lost")


def test_the_work_goes_on_without_it(flow_log: tuple[logging.Logger, Listener]) -> None:
    log, listener = flow_log
    cluster: Any = Refuses()
    with heard(cluster, log):
        log.info("work")
    assert [line for _, line in listener.lines] == [
        "what workers log does not arrive here: connection lost",
        "work",
    ]
