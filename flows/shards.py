"""What Dask workers run: simulate shards and write them.

Nothing that a worker receives is defined in another file of flows, but for what sends its log home
(`flows.telling.workerlog`), and nothing here loads Prefect.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import version
from multiprocessing import current_process
from socket import gethostname

import numpy as np

from flows.galaxies import galaxies_of
from schemas.dataset import DatasetRecipe
from schemas.errors import FlowError, LensmillError, SampleError, ShardError, StoreConflictError
from schemas.galaxy_image import GalaxyImage
from schemas.imported import ImportedData
from schemas.store import Manifest, Receipt, StoredRecipe, StorePlan
from simulate.render import Rendered, render, warm_up
from storage import layout
from storage.commit import MANIFEST, PLAN, RECIPE, plan_digest, read_json, valid_receipt, write_shard
from storage.files.place import Root, place
from storage.layout import Span

# how Dask's nannies name the processes that they start
DASK_PROCESS = "Dask Worker process"
LOG = logging.getLogger(__name__)
# A worker has two threads: one renders while the other writes and waits for the disk.
RENDERING = threading.Lock()
# Memory, files, what is installed: another worker, or the same one tomorrow, may do better.
OF_THE_MACHINE = (MemoryError, OSError, ImportError)


@dataclass(frozen=True)
class Order:
    """A recipe, its plan and where the store is to be."""

    root: Root
    recipe: DatasetRecipe
    plan: StorePlan
    # of a repair: what the shards' files must be, byte for byte
    manifest: Manifest | None = None
    # of a repair that accepts new bytes: whether other versions than those of the plan may make shards
    mixed: bool = False

    def expected(self, span: Span) -> Receipt | None:
        """The receipt that a shard must have in the end, if anything says so."""
        receipts = self.manifest.receipts if self.manifest else ()
        mine = (one for one in receipts if (one.split, one.shard) == (span.split, span.shard))
        return next(mine, None)

    @property
    def ticket(self) -> "Ticket":
        """What workers are sent once the store is begun."""
        file = self.recipe.source.file if isinstance(self.recipe.source, GalaxyImage) else None
        how = (file, self.manifest is not None, self.mixed)
        return Ticket(str(self.root.absolute()), self.recipe.digest, plan_digest(self.root), *how)


@dataclass(frozen=True)
class Ticket:
    """An order by name: a worker reads recipe and plan from the store, once, however large they are."""

    root: str
    recipe_digest: str
    plan_digest: str
    # where the galaxies' file is now; the store may have been begun with another path
    galaxies: str | None = None
    # whether shards must be what the store's manifest lists
    exact: bool = False
    # whether they may be of other versions than those of the plan
    mixed: bool = False


@lru_cache(maxsize=2)
def order_of(ticket: Ticket) -> Order:
    """The order behind a ticket."""
    root = place(ticket.root)
    recipe, plan = read_json(root / RECIPE, StoredRecipe).recipe, read_json(root / PLAN, StorePlan)
    found = replace(ticket, recipe_digest=recipe.digest, plan_digest=plan_digest(root))
    if found != ticket or isinstance(recipe, ImportedData):
        raise StoreConflictError(
            f"the store at {root} has recipe {found.recipe_digest}, plan {found.plan_digest}",
            expected=f"recipe {ticket.recipe_digest}, plan {ticket.plan_digest}",
            advice="see what else writes there, then run the command again",
        )
    if isinstance(recipe.source, GalaxyImage):
        source = recipe.source.model_copy(update={"file": ticket.galaxies})
        recipe = recipe.model_copy(update={"source": source})
    manifest = read_json(root / MANIFEST, Manifest) if ticket.exact else None
    return Order(root, recipe, plan, manifest, ticket.mixed)


def modules_of(mapped: bool | None) -> tuple[str, ...]:
    """What a worker needs beside the simulator: tasks of Prefect, unless one task in the flow maps shards."""
    return () if mapped else ("prefect_dask",)


def warm_worker(ticket: Ticket, *modules: str) -> None:
    """Load what a shard needs, and what is named."""
    load(order_of(ticket).recipe, *modules)
    LOG.info("ready, process %d, numpy %s", os.getpid(), np.__version__)


def load(recipe: DatasetRecipe, *modules: str) -> None:
    """The simulator with what a recipe needs of it, and modules by name."""
    _behave()
    warm_up(recipe, galaxies_of(recipe))
    for module in modules:
        import_module(module)


@cache
def _behave() -> None:
    """Let a process that Dask started end when its work has, and say nothing on the command's screen.

    Taking numba's compiled code apart takes seconds, which the flow would wait for. What is registered first
    is called last: logs on their way have been sent by then. Those that find no server are lost, and Prefect
    would tell that on the screen.
    """
    if current_process().name.startswith(DASK_PROCESS):
        atexit.register(os._exit, 0)
        logging.raiseExceptions = False


def look_around(ticket: Ticket) -> dict[str, str]:
    """The versions that a worker has of the packages that matter; fails where the store is not to be seen."""
    return versions_here(order_of(ticket).plan)


def make_shard(
    root: Root, recipe: DatasetRecipe, plan: StorePlan, span: Span, expected: Receipt | None = None
) -> Receipt:
    """One shard: rendered, checked, written, its receipt last; with `expected`, only if it is the same."""
    samples = _rendered(root, recipe, span)
    here = versions_here(plan)
    return write_shard(
        root,
        recipe,
        plan,
        span,
        samples.arrays(),
        samples.subhalos,
        versions=None if here == plan.provenance.versions else here,
        expected=expected,
    )


def _rendered(root: Root, recipe: DatasetRecipe, span: Span) -> Rendered:
    """The samples of a shard. What fails here fails everywhere: they depend on the recipe alone."""
    try:
        with RENDERING:
            return render(recipe, layout.sample_ids(recipe, span), galaxies_of(recipe))
    except (LensmillError, *OF_THE_MACHINE):
        raise
    except Exception as error:
        raise SampleError(f"{span} failed: {type(error).__name__}: {error}", where=str(root)) from error


def versions_here(plan: StorePlan) -> dict[str, str]:
    """The versions in this process of the packages that a plan names."""
    return {name: version(name) for name in plan.provenance.versions}


def make_shards(ticket: Ticket, spans: Sequence[Span]) -> float:
    """Whole shards, one after the other; the seconds of the last. Receipts are on the disk.

    Those that are there already were made by a worker that died before it was done with all of them.
    """
    order = order_of(ticket)
    seconds = 0.0
    for span in spans:
        started = time.perf_counter()
        try:
            there, expected = valid_receipt(order.root, order.plan, span), order.expected(span)
            if there and expected in (None, there):
                continue
            if expected is None:
                # else its bytes are compared
                _refuse_other_versions(ticket)
            make_shard(order.root, order.recipe, order.plan, span, expected)
        except LensmillError:
            raise
        except Exception as error:
            raise ShardError(f"{span} failed: {type(error).__name__}: {error}", where=ticket.root) from error
        seconds = time.perf_counter() - started
    return seconds


def _refuse_other_versions(ticket: Ticket) -> None:
    """Refuse a worker that would make a mixture of the data set; one may join at any time.

    This ends the run. Tried elsewhere, the shards would come back: who refuses is done first.
    """
    other = _other_versions(ticket)
    if other and not ticket.mixed:
        raise FlowError(
            f"a worker on {gethostname()} (process {os.getpid()}) has {other}",
            expected="the versions that the data set was begun with, on every worker that joins",
            where=ticket.root,
            advice="end that worker, or start it from the environment of the others; then the same command"
            " goes on: finished shards are kept",
        )


@lru_cache(maxsize=2)
def _other_versions(ticket: Ticket) -> str:
    """Which packages differ here from those of the plan; asked for once, a shard may take milliseconds."""
    plan = order_of(ticket).plan
    wanted, here = plan.provenance.versions, versions_here(plan)
    other = (f"{name} {here[name]}, not {wanted[name]}" for name in wanted if here[name] != wanted[name])
    return "; ".join(other)


def make_batch(
    ticket: Ticket,
    spans: Sequence[Span],
    first: str,  # noqa: ARG001 - this and the next name the task run
    more: str,  # noqa: ARG001
) -> float:
    """`make_shards` with what Prefect's page shows."""
    return make_shards(ticket, spans)


def row_count(spans: Sequence[Span]) -> int:
    """Rows of several shards together."""
    return int(np.sum([span.rows for span in spans], dtype=np.int64))
