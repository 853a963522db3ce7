"""Where shards are made: Dask clusters for Prefect's task runner."""

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import dask
import psutil
from distributed import Client
from distributed.scheduler import KilledWorker
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import Field

from schemas.cluster import AnyCluster, ExistingScheduler, LocalWorkers
from schemas.errors import ShardError
from storage.threads import usable_cores

SCRATCH = "lensmill-dask-"
# one renders, the other writes and waits for the disk
THREADS_PER_WORKER = 2
WORKER_CONFIG: dict[str, Any] = {
    # Dask samples the stack a hundred times a second, which rendering threads wait for
    "distributed.worker.profile.enabled": False,
    # Dask has workers give memory back at once. A shard's arrays are then new pages every time, which costs
    # a fifth of the rendering; shards are alike, so what one needed the next one needs.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}
# None: one for each usable core
Workers = Annotated[int, Field(ge=1)] | None


def chosen(cluster: AnyCluster | None, workers: int | None) -> AnyCluster:
    """The cluster to use: this machine unless another one is named."""
    return cluster or LocalWorkers(workers=workers)


@contextlib.contextmanager
def cluster_of(where: AnyCluster, shards: int) -> Iterator[DaskTaskRunner]:
    """Workers for so many shards, for as long as they are needed."""
    if isinstance(where, ExistingScheduler):
        with DaskTaskRunner(address=where.address) as runner:
            yield runner
        return
    with _local(min(where.workers or usable_cores(), shards)) as runner:
        yield runner


@contextlib.contextmanager
def _local(workers: int) -> Iterator[DaskTaskRunner]:
    """A cluster of worker processes on this machine, loopback only, without leftovers."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-") as scratch:
        cluster = DaskTaskRunner(
            cluster_class="distributed.LocalCluster",
            cluster_kwargs={
                "n_workers": workers,
                "threads_per_worker": THREADS_PER_WORKER,
                "processes": True,
                "host": "127.0.0.1",
                "dashboard_address": "127.0.0.1:0",
                "local_directory": scratch,
                # our own errors travel home with the task; Dask's copies on stderr would only bury them
                "silence_logs": logging.CRITICAL,
            },
        )
        with cluster as runner:
            with dask.config.set(WORKER_CONFIG), _deaf_to_ctrl_c():
                # the first look at the client starts the workers
                _ = runner.client
            yield runner


def _sweep() -> None:
    """Remove the scratch folders of killed drivers."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-*"):
        owner = folder.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C, which a terminal sends to all: the driver ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def thread_count(client: Client) -> int:
    """How many tasks the workers of a cluster run at a time."""
    return max(1, sum(map(int, client.nthreads().values())))


def result_of(future: Any, what: str) -> Any:
    """What came of some work on the cluster; work that was given up is told with advice."""
    try:
        return future.result()
    except KilledWorker as error:
        raise ShardError(
            f"{what} was given up after its worker died {error.allowed_failures + 1} times",
            advice="a worker that dies is mostly out of memory: try --workers 1 or a smaller --shard-size,"
            " then run the same command again; finished shards are kept",
        ) from error
