"""Threads over shards: in order, bounded, and done with when nobody asks any more."""

import threading
import time
from collections.abc import Iterator

import pytest

from storage.reading import threads
from storage.reading.threads import threaded


def test_results_are_in_order_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)

    def slow_first(item: int) -> int:
        time.sleep(0.05 if item % 4 == 0 else 0)
        return item * item

    assert list(threaded(slow_first, range(20))) == [item * item for item in range(20)]
    assert list(threaded(slow_first, [])) == []


def test_only_a_few_items_are_taken_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    for done, _ in enumerate(threaded(str, items()), start=1):
        assert taken <= done + 4


def test_errors_come_home_and_no_thread_stays() -> None:
    # of readers that other tests left half-way, and that nobody has collected yet
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        list(threaded(lambda item: 1 // item, [3, 2, 1, 0, 1]))
    results = threaded(str, range(1000))
    assert next(results) == "0"
    results.close()  # type: ignore[attr-defined]
    new = set(threading.enumerate()) - before
    assert not [one for one in new if one.name.startswith("lensmill-map")]
