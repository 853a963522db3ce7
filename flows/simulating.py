"""A data set by one command: a Prefect server and workers of its own, which get ready side by side.

Prefect is loaded late, while its server and the workers start.
"""

import contextlib
from collections.abc import Sequence

from flows.clusters.local import Workers, ahead, chosen, local_count
from flows.clusters.preconditions import check_cluster
from flows.galaxies import galaxies_of
from flows.orders import prepare
from flows.serving.api import prefect_api
from flows.shards import Order, modules_of
from flows.summary import DatasetSummary
from flows.telling.progress import patience
from schemas.cluster import AnyCluster, LocalWorkers
from simulate.render import warm_up
from storage import commit, layout, target
from storage.files.place import Root


def generate(
    recipe: str,
    out: str | Root,
    workers: Workers = None,
    shard_size: int | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
    mapped: bool | None = None,
    cluster: AnyCluster | None = None,
) -> DatasetSummary:
    """Simulate a data set with a Prefect server and Dask workers of its own, and return when it is sealed.

    `recipe` is a shipped name or a YAML file, `overrides` are `key=value`. Bad input is refused before
    anything is started or written. `mapped` gives workers single shards, or, if false, batches; without it,
    the pace of the first shards decides how many are in batches. `cluster` says where the workers are: on
    this machine when left out.
    """
    order = prepare(recipe, out, shard_size, overrides)
    where = chosen(cluster, workers)
    check_missing(order, where)
    modules = modules_of(mapped)
    with (
        contextlib.ExitStack() as started,
        prefect_api(lambda: get_ready(order, where, modules, quiet, started)),
    ):
        from flows.generate import simulate_flow

        return simulate_flow(
            str(recipe), str(out), workers, shard_size, list(overrides), quiet, mapped, cluster
        )


def check_missing(order: Order, where: AnyCluster) -> None:
    """Refuse a cluster that cannot be had, unless there is nothing to make on it."""
    if not target.is_complete(order.root, order.plan):
        check_cluster(where)


def get_ready(
    order: Order, where: AnyCluster, modules: Sequence[str], quiet: bool, started: contextlib.ExitStack
) -> None:
    """What needs no server, while it starts: kernels, workers that will be needed, and Prefect itself."""
    with patience("loading the simulator; its first use on a machine compiles it", quiet):
        warm_up(order.recipe, galaxies_of(order.recipe))
    # what is there already may be whole
    if isinstance(where, LocalWorkers) and not (order.root / commit.RECEIPTS).is_dir():
        count = local_count(where, layout.shard_count(order.plan))
        started.enter_context(ahead(count, where.memory, order.recipe, modules))
    import flows.generate  # noqa: F401
