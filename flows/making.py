"""How shards are spread over the workers: as a few Prefect tasks of many shards, the rest mapped by one."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from distributed import Client, as_completed, wait
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED, temporary_settings
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from flows.clusters.opening import result_of, thread_count, threads_to_come
from flows.serving.closing import close_task
from flows.shards import Order, Ticket, make_batch, make_shards, modules_of, warm_worker
from flows.suspects import Suspects, try_alone
from flows.tally import Tally
from storage.files.object_path import ObjectPath
from storage.layout import Span

# A Prefect task costs all processes together about .4 s, and two threads share a core. So batches of shards
# are long enough for the task not to count, and short enough for people to follow.
BATCH_SECONDS = 60.0
# Where half of what is left would be shorter for each thread, the rest is dealt out without such tasks.
LEAST_BATCH_SECONDS = 20.0
# More tasks than people can follow; from there on one task maps shards, a few at a time where they are small:
# Dask takes some milliseconds for each time.
MOST_BATCHES = 50
# So many for each thread, where there are enough: work while the first tasks of Prefect are on their way.
PROBES = 3
# So many batches for each thread where nothing may be dealt out. A run of fewer shards is not probed as much.
ROUNDS = 4
MAPPED_SECONDS = 1.0
MOST_TOGETHER = 64
# Work given to each thread of a worker: the next is there when one is done, and the scheduler stays small.
SHARDS_AHEAD = 3
GUESSED_SECONDS = 1.0
# Workers may come later, or go; asking for their number is a question to the scheduler.
RECOUNT_SECONDS = 5.0
POLL_SECONDS = 0.25
# On S3 each look is a request.
FAR_POLL_SECONDS = 5.0

# NO_CACHE: with the output deleted, a cached rerun would report success with the files missing.
BATCH = task(name="make shards", task_run_name="{first}{more}", cache_policy=NO_CACHE)(make_batch)


@dataclass(frozen=True)
class Batch:
    """Work on consecutive shards, and those that were not seen yet."""

    # what knows how it ended, and the same as Dask has it
    work: Any
    future: Any
    open: deque[Span]

    @property
    def done(self) -> bool:
        """Whether it ended, well or not."""
        return bool(self.future.done())


def make(
    runner: DaskTaskRunner, order: Order, missing: Sequence[Span], tally: Tally, mapped: bool | None
) -> None:
    """All missing shards. Unless told, the first shards show how many batches are worth it, if any.

    An error that all shards would meet ends it at once. Shards that fail for a reason of their own are tried
    again when all others are there.
    """
    threads, suspects = thread_count(runner.client), Suspects()
    batches: list[Batch] = []
    rest = missing
    if not mapped and (mapped is False or threads <= MOST_BATCHES):
        each = max(1, min(PROBES, len(missing) // (ROUNDS * threads)))
        probed = missing[: each * threads] if len(missing) > threads else []
        batches = [_probe(runner.client, order.ticket, span) for span in probed]
        rest = missing[len(probed) :]
        seconds = _first_seconds(batches, tally) if probed else 0.0
        sizes = (even_sizes if mapped is False else batch_sizes)(len(rest), threads, seconds)
        if len(sizes) <= MOST_BATCHES:
            batches += _submitted(runner, order.ticket, rest, sizes)
            rest = rest[sum(sizes) :]
    if rest:
        # whoever has no batch any more gets what is left, so that all threads end together
        batches = _wait(batches, tally, suspects, threads - 1)
    if rest and not suspects.too_many:
        batches = _map(runner, order.ticket, rest, tally, suspects, batches)
    _wait(batches, tally, suspects)
    try_alone(runner.client, order.ticket, suspects, tally)


def prepare_workers(client: Client, ticket: Ticket, mapped: bool | None) -> None:
    """Let every worker load what it needs, so that the first shards are as fast as all others."""
    modules = modules_of(mapped)
    warm = [
        client.submit(warm_worker, ticket, *modules, pure=False, workers=[address], allow_other_workers=True)
        for address in client.nthreads()
    ]
    for future in warm:
        result_of(future, "the start of a worker")


def batch_sizes(shards: int, threads: int, seconds: float) -> list[int]:
    """How many shards each batch has, in rounds of one for each thread: a half of what is left, and so on.

    What remains after the last round is too little for batches.
    """
    most = max(1, round(BATCH_SECONDS / max(seconds, 1e-3)))
    sizes: list[int] = []
    while shards:
        size = min(most, math.ceil(shards / (2 * threads)))
        if sizes and size < most and size * seconds < LEAST_BATCH_SECONDS:
            break
        for _ in range(threads):
            sizes.append(min(size, shards))
            shards -= sizes[-1]
            if not shards:
                break
    return sizes


def even_sizes(shards: int, threads: int, seconds: float) -> list[int]:
    """Batches alone, all alike: as long as is usual, but some for each thread and not more than the most."""
    wanted = max(ROUNDS * threads, math.ceil(shards * seconds / BATCH_SECONDS))
    size = max(1, math.ceil(shards / min(MOST_BATCHES, wanted)))
    return [min(size, shards - first) for first in range(0, shards, size)]


def _probe(client: Client, ticket: Ticket, span: Span) -> Batch:
    """One shard, without a task of Prefect's, whose start would be a large part of what is measured."""
    future = client.submit(make_shards, ticket, [span], pure=False)
    return Batch(future, future, deque([span]))


def _submitted(
    runner: DaskTaskRunner, ticket: Ticket, spans: Sequence[Span], sizes: Sequence[int]
) -> list[Batch]:
    """The first shards as batches of these sizes."""
    ends = list(accumulate(sizes))
    # A worker's first task would ask the server for its version, and fail while the server is away. Set once:
    # Prefect takes its settings apart for that, which costs more than to submit a task.
    with temporary_settings({PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}):
        return [
            _submit(runner, ticket, spans[end - size : end]) for end, size in zip(ends, sizes, strict=True)
        ]


def _submit(runner: DaskTaskRunner, ticket: Ticket, spans: Sequence[Span]) -> Batch:
    # short: Prefect's page cuts names beside lines of a log
    more = f" + {len(spans) - 1}" if len(spans) > 1 else ""
    parameters = {"ticket": ticket, "spans": list(spans), "first": str(spans[0]), "more": more}
    task = runner.submit(BATCH, parameters)
    return Batch(task, task.wrapped_future, deque(spans))


def _first_seconds(batches: Sequence[Batch], tally: Tally) -> float:
    """The seconds that the first shard took; a guess where all of them failed."""
    # results are looked at here without blame, which comes when they are waited for
    while True:
        for batch in batches:
            seconds = Suspects().result_of(batch.work, "a shard", ()) if batch.done else None
            if seconds is not None:
                return float(seconds)
        if all(batch.done for batch in batches):
            return GUESSED_SECONDS
        _pause(batches, tally)


def _wait(batches: Sequence[Batch], tally: Tally, suspects: Suspects, left: int = 0) -> list[Batch]:
    """Until no more than so many are left: these. If too much failed, none."""
    pending = list(batches)
    while len(pending) > left and not suspects.too_many:
        _pause(pending, tally)
        pending = _settle(pending, tally, suspects)
    if not suspects.too_many:
        return pending
    for batch in _settle(pending, tally, suspects):
        batch.future.cancel()
    return []


def _settle(batches: Sequence[Batch], tally: Tally, suspects: Suspects) -> list[Batch]:
    """Count what came since, and ask those that ended how they did; the others."""
    pending: list[Batch] = []
    ended: list[Batch] = []
    for batch in batches:
        (ended if batch.done else pending).append(batch)
    # before it is asked how they ended, so that no suspect is there already
    for batch in batches:
        tally.look(batch.open)
    for batch in ended:
        failed = suspects.result_of(batch.work, "a batch of shards", batch.open) is None
        if failed and isinstance(batch.work, PrefectDaskFuture):
            # of a batch that was given up, nobody else tells Prefect
            close_task(batch.work.task_run_id, "its worker died, again and again")
    return pending


def _pause(batches: Sequence[Batch], tally: Tally) -> None:
    """Until a batch is done or it is time to look at what is there."""
    futures = [batch.future for batch in batches]
    with futures[0].client.as_current(), contextlib.suppress(TimeoutError):
        wait(futures, _poll_seconds(tally), "FIRST_COMPLETED")


def _poll_seconds(tally: Tally) -> float:
    return FAR_POLL_SECONDS if isinstance(tally.order.root, ObjectPath) else POLL_SECONDS


def _map(
    runner: DaskTaskRunner,
    ticket: Ticket,
    spans: Sequence[Span],
    tally: Tally,
    suspects: Suspects,
    batches: Sequence[Batch],
) -> list[Batch]:
    """One Prefect task, in the flow's own process, gives each thread that is ready a few shards.

    Batches are settled meanwhile; those that are left then.
    """
    client, to_come, left = runner.client, threads_to_come(runner), list(batches)

    # without parameters, since Prefect would look into every one of 100,000 shards
    @task(name="map shards", cache_policy=NO_CACHE)
    def map_shards() -> None:
        looked = time.monotonic()
        for made in completed(client, ticket, spans, suspects, to_come):
            tally.arrived(made)
            if time.monotonic() - looked > _poll_seconds(tally):
                left[:] = _settle(left, tally, suspects)
                looked = time.monotonic()

    map_shards()
    return left


def completed(
    client: Client, ticket: Ticket, spans: Sequence[Span], suspects: Suspects, to_come: int = 0
) -> Iterator[Sequence[Span]]:
    """Shards as they are made, a bounded number of them on their way. Those that fail are suspects.

    So many that all threads which may come have work: by what is waiting Dask decides how many to start.
    """
    running, threads = as_completed(loop=client.loop), max(to_come, thread_count(client))
    underway: dict[Any, Sequence[Span]] = {}
    started, together, counted = 0, 1, time.monotonic()

    def start() -> None:
        nonlocal started
        # the last ones one by one, so that all threads end together
        count = max(1, min(together, (len(spans) - started) // (SHARDS_AHEAD * threads)))
        some = spans[started : started + count]
        started += len(some)
        if some:
            future = client.submit(make_shards, ticket, some, pure=False)
            underway[future] = some
            running.add(future)

    for _ in range(SHARDS_AHEAD * threads):
        start()
    for future in running:
        made = underway.pop(future)
        seconds = suspects.result_of(future, told(made), made)
        if seconds is not None:
            together = min(MOST_TOGETHER, max(1, round(MAPPED_SECONDS / max(seconds, 1e-3))))
        if time.monotonic() - counted > RECOUNT_SECONDS:
            threads, counted = max(to_come, thread_count(client)), time.monotonic()
        if not suspects.too_many:
            for _ in range(max(1, SHARDS_AHEAD * threads - len(underway))):
                start()
        if seconds is not None:
            yield made


def told(spans: Sequence[Span]) -> str:
    """Shards by the first of them."""
    return str(spans[0]) if len(spans) == 1 else f"{spans[0]} and {len(spans) - 1} more"
