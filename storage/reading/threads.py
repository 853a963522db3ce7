"""Reading and hashing shards on several cores: both work while other Python code runs."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use, which a batch system may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threaded(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map` with a thread for each core: results in order, a few items ahead of the one that is asked for."""
    threads = usable_cores()
    pool = ThreadPoolExecutor(threads, "lensmill-map")
    underway: deque[Future[Result]] = deque()
    try:
        for item in items:
            underway.append(pool.submit(function, item))
            if len(underway) > 2 * threads:
                yield underway.popleft().result()
        while underway:
            yield underway.popleft().result()
    finally:
        # whoever stops asking does not wait for what was not begun
        pool.shutdown(wait=True, cancel_futures=True)
