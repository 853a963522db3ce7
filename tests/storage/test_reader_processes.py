"""An iterator that is under way when a process is forked off, or sent to a new one, goes on in both."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from flows.generate import Order
from storage.reader import open_store
from storage.reading.batches import Batch, Batches
from storage.reading.epochs import Batching
from storage.reading.resident import open_rows

WAYS: list[dict[str, Any]] = [
    {"mode": "resident"},
    {"mode": "streamed", "way": "mapped"},
    {"mode": "streamed", "way": "read", "checked": True},
]
# two rows a batch: loading is under way at every moment
MIXING = Batching(batch=2, seed=9, mixed=2)
Start = Callable[..., Batches]


@pytest.fixture
def start(sound_store: Order) -> Start:
    """An epoch of which three batches were taken."""

    def begin(check: bool = False, **way: Any) -> Batches:
        batches = open_rows(open_store(sound_store.root, check=check), **way).epoch(MIXING, 5)
        for _ in range(3):
            next(batches)
        return batches

    return begin


def _content(batches: list[Batch]) -> list[tuple[int, list[int], bytes]]:
    return [(one.number, one.rows.tolist(), one["image"].tobytes()) for one in batches]


def _in_a_fork(work: Callable[[], Any]) -> Any:
    """What a forked child makes of it, sent through a pipe; pytest's own endings are left to the parent."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        # a child that hangs would outlive the test
        signal.alarm(60)
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as file:
                pickle.dump(work(), file)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        content = file.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(content)  # noqa: S301


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("check", [False, True])
def test_parent_and_forked_children_go_on_alone(start: Start, way: dict[str, Any], check: bool) -> None:
    expected = _content(list(start(**way)))
    assert len(expected) == 18
    batches = start(check, **way)
    forked = [_in_a_fork(lambda: _content(list(batches))) for _ in range(3)]
    assert forked == [expected] * 3
    assert _content(list(batches)) == expected


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_while_other_threads_read_does_not_hang(start: Start) -> None:
    batches = start(check=True, mode="streamed", way="mapped")
    source = batches.source
    rows = np.random.default_rng(0).integers(0, 42, 40)
    expected = source.take(rows)["image"].tobytes()
    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(lambda: [source.take(rows) for _ in range(60)]) for _ in range(4)]
        for _ in range(8):
            assert _in_a_fork(lambda: source.take(rows)["image"].tobytes()) == expected
        for one in busy:
            assert one.result()[-1]["image"].tobytes() == expected


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_spawned_process_goes_on_where_the_iterator_was(start: Start, way: dict[str, Any]) -> None:
    batches = start(**way)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        theirs = pool.apply(list, (batches,))
        pool.close()
        pool.join()
    assert _content(theirs) == _content(list(batches))
