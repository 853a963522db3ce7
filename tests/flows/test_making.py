"""How shards reach workers: which form is chosen, mapping on a cluster, what is read back, who gives up."""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker
from prefect.settings import PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED

from flows import making, suspects, tally
from flows.clusters.opening import result_of
from flows.generate import Order
from flows.making import MOST_BATCHES, SHARDS_AHEAD, completed, prepare_workers
from flows.shards import Ticket, make_shard
from flows.suspects import Suspects
from flows.tally import Tally
from schemas.errors import FlowError, ShardError, WriteError
from storage import commit, layout
from storage.layout import Span

BytesOf = Callable[[Path], dict[str, bytes]]


@contextmanager
def _cluster(processes: bool) -> Iterator[Client]:
    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    if processes:
        options["host"] = "127.0.0.1"
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=processes, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of threads in this process."""
    with _cluster(processes=False) as client:
        yield client


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "create_progress_artifact", lambda **_: None)
    monkeypatch.setattr(tally, "update_progress_artifact", lambda *_, **__: None)


def _tally(order: Order, told: list[int] | None = None) -> Tally:
    return Tally(order, list(layout.spans(order.plan)), (told if told is not None else []).append)


def test_mapped_shards_are_those_of_batches(
    client: Client, order: Order, sound_store: Order, bytes_of: BytesOf
) -> None:
    spans, told = list(layout.spans(order.plan)), list[int]()
    prepare_workers(client, order.ticket, mapped=True)
    with _tally(order, told) as seen:
        for made in completed(client, order.ticket, spans, Suspects()):
            seen.arrived(made)
        receipts = seen.receipts()
    assert set(receipts) == set(spans)
    assert told == sorted(told)
    assert told[-1] == 60
    commit.seal(order.root, order.recipe, order.plan, [receipts[span] for span in spans])
    assert bytes_of(order.root) == bytes_of(sound_store.root)


def _note_and_make(ticket: Ticket, spans: list[Span]) -> float:
    UNDERWAY.append(spans[0])
    return 0.0


UNDERWAY: list[Span] = []


def test_few_shards_are_underway_at_a_time(
    client: Client, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "make_shards", _note_and_make)
    submitted, done = 0, 0
    submit = client.submit

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal submitted
        submitted += 1
        assert submitted - done <= 2 * SHARDS_AHEAD + 1
        return submit(*arguments, **options)

    monkeypatch.setattr(client, "submit", counted)
    spans = [Span("train", number, number, 1) for number in range(300)]
    found: list[Span] = []
    for made in completed(client, order.ticket, spans, Suspects()):
        done += 1
        found += made
    assert sorted(found, key=lambda span: span.shard) == spans
    assert submitted < len(spans) / 2, "shards that take no time go together"
    assert len(client.futures) <= 2 * SHARDS_AHEAD, "what is done is forgotten"


def test_the_error_of_a_mapped_shard_comes_home(client: Client, order: Order) -> None:
    (order.root / "train").write_text("in the way")
    with pytest.raises(OSError, match="cannot write"):
        list(completed(client, order.ticket, list(layout.spans(order.plan)), Suspects()))


class GivenUp:
    """Work that Dask gave up because each of its workers died."""

    def result(self) -> float:
        """As Dask raises it."""
        raise KilledWorker("make shards", None, 3)


def test_work_that_kills_its_workers_ends_the_run_with_advice() -> None:
    with pytest.raises(
        FlowError, match="shard 3 of train was given up after its worker died 4 times"
    ) as caught:
        result_of(GivenUp(), str(Span("train", 3, 0, 8)))
    assert "--workers 1" in caught.value.advice


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What `make` submits, without a cluster: the form and how many shards."""
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(making, "_probe", lambda *_: seen.append(("probe", 1)))
    monkeypatch.setattr(making, "_submit", lambda _, __, spans: seen.append(("batch", len(spans))))
    monkeypatch.setattr(making, "_map", lambda _, __, spans, *___: seen.append(("mapped", len(spans))))
    monkeypatch.setattr(making, "_wait", lambda *_: [])
    return seen


class Runner:
    """As much of a task runner as the choice of a form looks at."""

    def __init__(self, threads: int) -> None:
        self.client = self
        self.threads = threads

    def nthreads(self) -> dict[str, int]:
        """As Dask's client has it."""
        return {"worker": self.threads}


@pytest.mark.parametrize(
    ("shards", "threads", "seconds", "mapped", "expected"),
    [
        (3, 4, 1.0, None, [("batch", 1)] * 3),
        (12, 2, 100.0, None, [("probe", 1)] * 2 + [("batch", 1)] * 10),
        (102, 2, 1.0, None, [("probe", 1)] * 6 + [("batch", 24)] * 2 + [("mapped", 48)]),
        (
            254,
            2,
            1.0,
            None,
            [("probe", 1)] * 6 + [("batch", 60)] * 2 + [("batch", 32)] * 2 + [("mapped", 64)],
        ),
        (22, 4, 0.3, None, [("probe", 1)] * 4 + [("batch", 3)] * 4 + [("mapped", 6)]),
        (22, 4, 0.3, False, [("probe", 1)] * 4 + [("batch", 2)] * 9),
        (10_000, 4, 0.3, None, [("probe", 1)] * 12 + [("mapped", 9988)]),
        (1000, 4, 60.0, None, [("probe", 1)] * 12 + [("mapped", 988)]),
        (1000, 4, 60.0, False, [("probe", 1)] * 12 + [("batch", 20)] * 49 + [("batch", 8)]),
        (1000, 400, 60.0, None, [("mapped", 1000)]),
        (3, 4, 1.0, True, [("mapped", 3)]),
    ],
)
def test_the_form_suits_the_work(
    order: Order,
    forms: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    shards: int,
    threads: int,
    seconds: float,
    mapped: bool | None,
    expected: list[tuple[str, int]],
) -> None:
    monkeypatch.setattr(making, "_first_seconds", lambda *_: seconds)
    missing = [Span("train", number, 8 * number, 8) for number in range(shards)]
    runner: Any = Runner(threads)
    making.make(runner, order, missing, _tally(order), mapped)
    assert forms == expected
    assert len([form for form, _ in forms if form == "batch"]) <= MOST_BATCHES


# -- batches beside mapped shards, on a cluster of threads

GO, GONE = threading.Event(), threading.Event()
FIRST, CALLED = deque[str](), deque[int]()
# two full shards
HELD_ROWS = 16


def _held_batch(ticket: Ticket, spans: list[Span]) -> float:
    """One of two batches stays until it is let go, and may fail then."""
    with contextlib.suppress(IndexError):
        fault = FIRST.pop()
        assert GO.wait(60)
        GONE.set()
        if fault == "shard":
            raise ShardError(f"{spans[0]} failed", where=ticket.root)
        if fault == "disk":
            raise WriteError("no space left")
    return making.make_shards(ticket, spans)


def _piece(_: Ticket, __: Any) -> float:
    """A shard that is not made, and takes a moment. After the first few, the batch that is held may go."""
    CALLED.append(1)
    if len(CALLED) == 10:
        GO.set()
    if len(CALLED) > 10:
        assert GONE.wait(60)
    time.sleep(0.02)
    return 0.02


def _without_prefect(**_: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    return lambda function: function


@pytest.fixture
def two_threads(client: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A runner whose batches are `_held_batch`, of shards that are mapped one by one."""
    for event in (GO, GONE):
        event.clear()
    CALLED.clear()
    FIRST.clear()

    def submit(_: Any, ticket: Ticket, spans: list[Span]) -> making.Batch:
        work = client.submit(_held_batch, ticket, list(spans), pure=False)
        return making.Batch(work, work, deque(spans))

    monkeypatch.setattr(making, "_submit", submit)
    monkeypatch.setattr(making, "MAPPED_SECONDS", 0)
    monkeypatch.setattr(making, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(making, "task", _without_prefect)
    monkeypatch.setattr(suspects, "task", _without_prefect)
    return SimpleNamespace(client=client, adapt_kwargs={})


@pytest.mark.parametrize("fault", ["none", "shard"])
def test_the_rest_is_mapped_while_a_batch_still_runs(two_threads: Any, order: Order, fault: str) -> None:
    spans = list(layout.spans(order.plan))
    FIRST.append(fault)
    told: list[int] = []

    def report(done: int) -> None:
        told.append(done)
        # the rest, the probes and the other batch: all that is not in the one that waits
        if done >= 60 - HELD_ROWS:
            GO.set()

    with Tally(order, spans, report) as seen:
        making.make(two_threads, order, spans, seen, None)
        assert set(seen.receipts()) == set(spans)
    assert told[-1] == 60
    assert told == sorted(told)


def test_what_all_shards_share_ends_the_run_while_the_rest_is_mapped(
    two_threads: Any, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "make_shards", _piece)
    FIRST.append("disk")
    arrived: list[Span] = []
    seen: Any = SimpleNamespace(order=order, look=lambda _: None, arrived=arrived.extend)
    spans = [Span("train", number, number, 1) for number in range(400)]
    with pytest.raises(WriteError, match="no space left"):
        making.make(two_threads, order, spans, seen, None)
    assert 0 < len(arrived) < 150, "of 196 that are mapped"


def test_a_workers_first_task_needs_no_server(order: Order) -> None:
    asked: list[bool] = []

    class _Runner(Runner):
        """What a task takes along to its worker."""

        def submit(self, *_: Any) -> Any:
            asked.append(PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED.value())
            return SimpleNamespace(wrapped_future=None)

    runner: Any = _Runner(1)
    spans = list(layout.spans(order.plan))
    batches = making._submitted(runner, order.ticket, spans, [2, 3])
    assert asked == [False, False]
    assert [list(batch.open) for batch in batches] == [spans[:2], spans[2:5]]


def test_what_is_damaged_before_it_is_read_back_is_not_sealed(order: Order) -> None:
    spans = list(layout.spans(order.plan))
    with _tally(order) as seen:
        for span in spans:
            receipt = make_shard(order.root, order.recipe, order.plan, span)
            if span == spans[4]:
                path = order.root / receipt.files[0].path
                content = bytearray(path.read_bytes())
                content[77] ^= 8
                path.write_bytes(content)
            seen.look(deque([span]))
        with pytest.raises(FlowError, match=f"1 shards have no valid receipt .*{spans[4]}"):
            seen.receipts()


def test_a_shard_that_never_came_is_told(order: Order) -> None:
    spans = list(layout.spans(order.plan))
    with _tally(order) as seen:
        for span in spans[:3] + spans[4:]:
            make_shard(order.root, order.recipe, order.plan, span)
        batch = deque(spans)
        seen.look(batch)
        assert list(batch) == spans[3:]
        seen.look(deque(spans[4:]))
        with pytest.raises(FlowError, match=f"1 shards have no valid receipt .*{spans[3]}"):
            seen.receipts()
