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
from typing import Annotated

import psutil
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import Field

SCRATCH = "lensmill-dask-"
# None: one for each usable core
Workers = Annotated[int, Field(ge=1)] | None


def usable_cores() -> int:
    """Cores that this process may use, which a batch system may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[DaskTaskRunner]:
    """A cluster of single-threaded worker processes on this machine, loopback only, without leftovers."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-") as scratch:
        cluster = DaskTaskRunner(
            cluster_class="distributed.LocalCluster",
            cluster_kwargs={
                "n_workers": workers,
                "threads_per_worker": 1,
                "processes": True,
                "host": "127.0.0.1",
                "dashboard_address": "127.0.0.1:0",
                "local_directory": scratch,
                # our own errors travel home with the task; Dask's copies on stderr would only bury them
                "silence_logs": logging.CRITICAL,
            },
        )
        with cluster as runner:
            with _deaf_to_ctrl_c():
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
