"""Missing shards made on a Dask cluster, for whichever flow needs them."""

import time
from collections.abc import Sequence

from flows.clusters.attendance import attended, told_when_lost
from flows.clusters.opening import cluster_of, form_for
from flows.clusters.schedulers import check_workers
from flows.galaxies import galaxies_of
from flows.making import make, prepare_workers
from flows.serving.closing import books_closed
from flows.shards import Order, row_count
from flows.tally import Tally
from flows.telling import journal
from flows.telling.progress import patience, progress_bar
from flows.telling.run_log import run_logger
from flows.telling.workerlog import heard
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
    with (
        books_closed(),
        cluster_of(cluster, len(missing)) as runner,
        told_when_lost(runner.client, "shards were made", "finished shards are kept"),
        attended(runner.client, cluster, run_logger()),
        heard(runner.client, run_logger()),
    ):
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
