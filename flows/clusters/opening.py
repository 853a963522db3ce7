"""Where shards are made: Dask clusters for Prefect's task runner."""

import contextlib
from collections.abc import Iterator
from typing import Any

from dask.utils import format_bytes
from distributed import Client
from distributed.scheduler import KilledWorker
from prefect.settings import PREFECT_API_URL
from prefect_dask.task_runners import DaskTaskRunner

from flows.clusters.local import local_cluster, local_count
from flows.clusters.preconditions import check_cluster
from flows.clusters.schedulers import existing
from flows.clusters.worker_settings import THREADS_PER_WORKER
from schemas.cluster import (
    AnyCluster,
    ExistingScheduler,
    Kubernetes,
    LocalWorkers,
    Slurm,
    is_loopback,
)
from schemas.errors import FlowError, ShardError


def is_far(where: AnyCluster) -> bool:
    """Whether workers are on other machines."""
    if isinstance(where, ExistingScheduler):
        return not is_loopback(where.address)
    return not isinstance(where, LocalWorkers)


def form_for(where: AnyCluster, mapped: bool | None) -> bool | None:
    """The form that was asked for, as far as workers can take it.

    In batches they speak with Prefect's server, which other machines cannot reach on loopback.
    """
    if not is_far(where) or (mapped is False and not _prefect_on_loopback()):
        return mapped
    if mapped is False:
        raise FlowError(
            "workers on other machines cannot reach Prefect's server on this machine's loopback",
            expected="shards one by one, without --batches",
            where="--batches",
            advice="leave it out, or name a server in PREFECT_API_URL that the workers reach",
        )
    return True


def _prefect_on_loopback() -> bool:
    return is_loopback((PREFECT_API_URL.value() or "http://localhost:0").removesuffix("/api"))


def cluster_of(where: AnyCluster, shards: int) -> contextlib.AbstractContextManager[DaskTaskRunner]:
    """Workers for so many shards, for as long as they are needed."""
    check_cluster(where)
    # the extras are loaded where they are needed
    if isinstance(where, ExistingScheduler):
        return existing(where)
    if isinstance(where, Slurm):
        from flows.clusters.slurm import jobs

        return jobs(where, shards)
    if isinstance(where, Kubernetes):
        from flows.clusters.kubernetes import pods

        return pods(where, shards)
    return _local(local_count(where, shards), where.memory)


@contextlib.contextmanager
def _local(workers: int, memory: str | None) -> Iterator[DaskTaskRunner]:
    with local_cluster(workers, memory) as cluster, DaskTaskRunner(cluster=cluster) as runner:
        yield runner


def thread_count(client: Client) -> int:
    """How many tasks the workers of a cluster run at a time."""
    return max(1, sum(map(int, client.nthreads().values())))


def threads_to_come(runner: DaskTaskRunner) -> int:
    """How many they may run at a time once all workers are there that may be started."""
    most = int(runner.adapt_kwargs.get("maximum", 0))
    return max(thread_count(runner.client), THREADS_PER_WORKER * most)


def result_of(future: Any, what: str) -> Any:
    """What came of some work on the cluster; work that was given up is told with advice."""
    try:
        return future.result()
    except KilledWorker as error:
        # as the scheduler knew the last of them; none in some versions of Dask
        limit = getattr(error.last_worker, "memory_limit", 0)
        allowed = f" (its limit: {format_bytes(limit)} for each worker)" if limit else ""
        raise ShardError(
            f"{what} was given up after its worker died {error.allowed_failures + 1} times",
            advice=f"a worker that dies is mostly out of memory{allowed}: try --workers 1 or a smaller"
            " --shard-size, then run the same command again; finished shards are kept",
        ) from error
