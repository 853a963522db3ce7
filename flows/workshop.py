"""Missing shards made on a Dask cluster, for whichever flow needs them."""

import time
from collections.abc import Sequence

from flows import journal
from flows.bulletin import run_logger
from flows.clusters import cluster_of, form_for
from flows.galaxies import galaxies_of
from flows.making import make, prepare_workers
from flows.progress import patience, progress_bar
from flows.schedulers import check_workers
from flows.shards import Order, row_count
from flows.tally import Tally
from flows.workerlog import heard
from schemas.cluster import AnyCluster, LocalWorkers
from schemas.store import Receipt
from simulate.render import warm_up
from storage.layout import Span


def make_missing(
    order: Order, missing: Sequence[Span], cluster: AnyCluster, quiet: bool, mapped: bool | None
) -> tuple[dict[Span, Receipt], float]:
    """The missing shards on a Dask cluster: their receipts, and the seconds from when workers were ready."""
    mapped = form_for(cluster, mapped)
    with patience("loading the simulator; its first use on a machine compiles it", quiet):
        warm_up(order.recipe, galaxies_of(order.recipe))
    with cluster_of(cluster, len(missing)) as runner, heard(runner.client, run_logger()):
        with patience("starting workers", quiet):
            if not isinstance(cluster, LocalWorkers):
                check_workers(runner.client, order)
            prepare_workers(runner.client, order.ticket, mapped)
        started = time.perf_counter()
        what = f"simulating {order.recipe.name}"
        with (
            # as objects, the flow's log tells the same with the run's name
            progress_bar(what, row_count(missing), "images", quiet or journal.wanted()) as report,
            Tally(order, missing, report) as tally,
        ):
            make(runner, order, missing, tally, mapped)
            return tally.receipts(), time.perf_counter() - started
