"""Workers on this machine: processes of their own, loopback only, without leftovers.

They may be started ahead, while Prefect's server starts, and are then taken over by the flow.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Annotated

import dask
from distributed import Client, LocalCluster
from pydantic import Field

from flows.clusters.upkeep import PATIENCE, kept_up
from flows.clusters.worker_settings import THREADS_PER_WORKER, WORKER_CONFIG
from flows.scratch import scratch_folder
from flows.shards import load
from schemas.cluster import AnyCluster, LocalWorkers, bytes_of
from schemas.dataset import DatasetRecipe
from storage.reading.threads import usable_cores

SCRATCH = "lensmill-dask-"
# None: one for each usable core
Workers = Annotated[int, Field(ge=1)] | None


@dataclass(frozen=True)
class _Started:
    """Workers that nobody uses yet."""

    workers: int
    memory: str | None
    cluster: LocalCluster
    closing: contextlib.ExitStack


# at most one: a command starts workers for one data set
AHEAD: list[_Started] = []


def chosen(cluster: AnyCluster | None, workers: int | None) -> AnyCluster:
    """The cluster to use: this machine unless another one is named."""
    return cluster or LocalWorkers(workers=workers)


def local_count(where: LocalWorkers, shards: int) -> int:
    """How many workers so many shards are worth."""
    return min(where.workers or usable_cores(), shards)


@contextlib.contextmanager
def local_cluster(workers: int, memory: str | None = None) -> Iterator[LocalCluster]:
    """So many workers: those that were started ahead, else new ones."""
    if AHEAD and (AHEAD[0].workers, AHEAD[0].memory) == (workers, memory):
        started = AHEAD.pop()
        with started.closing:
            yield started.cluster
    else:
        with _new(workers, memory) as cluster:
            yield cluster


@contextlib.contextmanager
def ahead(workers: int, memory: str | None, recipe: DatasetRecipe, modules: Sequence[str]) -> Iterator[None]:
    """Workers that load what a recipe needs, and modules by name, until `local_cluster` asks for them.

    They are ended if it never does.
    """
    with contextlib.ExitStack() as closing:
        cluster = closing.enter_context(_new(workers, memory))
        client = closing.enter_context(Client(cluster, set_as_default=False))
        # without an end to wait for; the flow prepares all workers again, and meets what fails here
        _loading = [
            client.submit(load, recipe, *modules, pure=False, workers=[address])
            for address in client.nthreads()
        ]
        AHEAD.append(_Started(workers, memory, cluster, closing.pop_all()))
    try:
        yield
    finally:
        if AHEAD:
            AHEAD.pop().closing.close()


@contextlib.contextmanager
def _new(workers: int, memory: str | None) -> Iterator[LocalCluster]:
    with (
        scratch_folder(SCRATCH) as scratch,
        contextlib.ExitStack() as own,
        # to the end: a worker that takes the place of a dead one reads them too
        dask.config.set(WORKER_CONFIG | PATIENCE),
    ):
        with _deaf_to_ctrl_c():
            cluster = own.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=THREADS_PER_WORKER,
                    processes=True,
                    # zero is none; over a limit the worker is ended and started anew
                    memory_limit=bytes_of(memory) if memory else 0,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    local_directory=str(scratch),
                    # our own errors travel home with the task; Dask's copies on stderr would only bury them
                    silence_logs=logging.CRITICAL,
                )
            )
        with kept_up(cluster, workers):
            yield cluster


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, which a terminal sends to all: the driver ends them.

    Processes and threads inherit what is blocked. A Ctrl-C of these seconds reaches the driver after them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # it unblocks what it finds blocked when the first process starts it
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
