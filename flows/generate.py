"""The data-set flow: recipe in, finished store out. Resumes from receipts, whatever ended the run before."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import Field

from flows.api import prefect_api
from flows.catalogue import load_recipe
from flows.clusters import Workers, local_cluster, usable_cores
from flows.progress import Report, progress_bar
from flows.shards import make_batch, row_count
from schemas.dataset import DatasetRecipe
from schemas.errors import FlowError
from schemas.frozen import Frozen
from schemas.store import Provenance, Receipt, StorePlan, plan_store
from storage import commit, layout
from storage.layout import Span
from storage.reader import open_store

# A Prefect task costs about a tenth of a second, so a batch of shards should be worth a hundred of those.
BATCH_SECONDS = 10.0
# However slow shards are, Prefect is not asked to follow more tasks than people can.
MOST_BATCHES = 50
POLL_SECONDS = 0.5
ARTIFACT_SECONDS = 5.0


class DatasetSummary(Frozen):
    """What a run of the flow did."""

    store: str
    recipe: str
    digest: str
    rows: int = Field(ge=0, description="images in the store")
    shards: int = Field(ge=0, description="shards in the store")
    made: int = Field(ge=0, description="shards made by this run; the others were there and whole")
    seconds: float = Field(ge=0, description="time spent on making shards")
    images_per_s: float = Field(ge=0, description="images made per second, all workers together")


@dataclass(frozen=True)
class Order:
    """A recipe, its plan and where the store is to be."""

    root: Path
    recipe: DatasetRecipe
    plan: StorePlan


def generate(
    recipe: str,
    out: str | Path,
    workers: Workers = None,
    shard_size: int | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
) -> DatasetSummary:
    """Simulate a data set with a Prefect server and Dask workers of its own, and return when it is sealed.

    `recipe` is a shipped name or a YAML file, `overrides` are `key=value`. Bad input is refused before
    anything is started or written.
    """
    prepare(recipe, out, shard_size, overrides)
    with prefect_api():
        return simulate_flow(str(recipe), str(out), workers, shard_size, list(overrides), quiet)


@flow(name="simulate", validate_parameters=True)
def simulate_flow(
    recipe: str,
    out: str,
    workers: Workers = None,
    shard_size: int | None = None,
    overrides: list[str] | None = None,
    quiet: bool = False,
) -> DatasetSummary:
    """Make what is missing of a data set and seal it."""
    order = prepare(recipe, out, shard_size, overrides or [])
    with commit.writing(order.root):
        commit.check_target(order.root, order.recipe, order.plan)
        commit.begin(order.root, order.recipe, order.plan)
        receipts = _survey(order, quiet)
        missing = [span for span in layout.spans(order.plan) if span not in receipts]
        seconds = 0.0
        if missing:
            commit.unseal(order.root)
            started = time.perf_counter()
            _make(order, missing, workers or usable_cores(), quiet)
            seconds = time.perf_counter() - started
            receipts |= _check(order, missing)
        if missing or not commit.is_sealed(order.root):
            commit.seal(order.root, order.recipe, order.plan, [receipts[s] for s in layout.spans(order.plan)])
        open_store(order.root)
    made = row_count(missing)
    return DatasetSummary(
        store=str(order.root),
        recipe=order.recipe.name,
        digest=order.recipe.digest,
        rows=sum(split.rows for split in order.plan.splits),
        shards=len(receipts),
        made=len(missing),
        seconds=seconds,
        images_per_s=made / seconds if seconds else 0.0,
    )


def prepare(recipe: str, out: str | Path, shard_size: int | None, overrides: Sequence[str]) -> Order:
    """Read the recipe, plan the store and check that it can be made there. Writes nothing."""
    asked = [] if shard_size is None else [f"storage.shard_images={shard_size}"]
    loaded = load_recipe(recipe, [*overrides, *asked])
    image_bytes = 4 * loaded.detector.num_pix**2
    shard_rows = loaded.storage.shard_images or layout.default_shard_rows(image_bytes)
    plan = plan_store(loaded, layout.split_rows(loaded), shard_rows, provenance(loaded))
    order = Order(Path(out), loaded, plan)
    commit.check_target(order.root, loaded, plan)
    commit.check_space(order.root, layout.store_bytes(plan) - commit.bytes_present(order.root))
    return order


def provenance(recipe: DatasetRecipe) -> Provenance:
    """Engine and the versions that decide about bytes."""
    packages = ("lensmill", "lenstronomy", "numpy")
    return Provenance(engine=recipe.engine, versions={name: version(name) for name in packages})


def _survey(order: Order, quiet: bool) -> dict[Span, Receipt]:
    """The shards that are there and whole, checked byte by byte."""
    found: dict[Span, Receipt] = {}
    if not (order.root / commit.RECEIPTS).is_dir():
        return found
    total = layout.shard_count(order.plan)
    with progress_bar("checking what is there", total, "shards", quiet) as report:
        for done, span in enumerate(layout.spans(order.plan), start=1):
            if receipt := commit.valid_receipt(order.root, order.plan, span):
                found[span] = receipt
            else:
                commit.discard(order.root, span)
            report(done)
    return found


def _check(order: Order, spans: Sequence[Span]) -> dict[Span, Receipt]:
    found = {span: commit.valid_receipt(order.root, order.plan, span) for span in spans}
    lost = [str(span) for span, receipt in found.items() if receipt is None]
    if lost:
        raise FlowError(
            f"{len(lost)} shards have no valid receipt although their tasks succeeded: {', '.join(lost[:5])}",
            where=str(order.root),
            advice="run the same command again; finished shards are kept",
        )
    return {span: receipt for span, receipt in found.items() if receipt is not None}


def _make(order: Order, missing: Sequence[Span], workers: int, quiet: bool) -> None:
    """Batches of shards on the workers of a Dask cluster, with progress from the receipts on the disk."""
    workers = min(workers, len(missing))
    with (
        local_cluster(workers) as runner,
        progress_bar(f"simulating {order.recipe.name}", row_count(missing), "images", quiet) as report,
    ):
        progress = Progress(order, missing, report)
        # two shards per worker tell how long a shard takes once all is loaded, and keep every worker busy
        first, rest = missing[: 2 * workers], missing[2 * workers :]
        seconds = progress.wait([_submit(runner, order, first[k::workers]) for k in range(workers)])
        fair_share = math.ceil(len(rest) / (2 * workers))
        size = max(1, min(round(BATCH_SECONDS / max(seconds, 1e-3)), fair_share), len(rest) // MOST_BATCHES)
        progress.wait([_submit(runner, order, batch) for batch in _batches(rest, size)])


def _batches(spans: Sequence[Span], size: int) -> Iterator[Sequence[Span]]:
    for start in range(0, len(spans), size):
        yield spans[start : start + size]


def _submit(runner: DaskTaskRunner, order: Order, batch: Sequence[Span]) -> Any:
    parameters = {
        "root": str(order.root.absolute()),
        "recipe_json": order.recipe.model_dump_json(),
        "plan_json": order.plan.model_dump_json(),
        "batch": list(batch),
        "first": str(batch[0]),
        "more": len(batch) - 1,
    }
    return runner.submit(make_batch, parameters)


class Progress:
    """Waits for batches and tells how far they are, on the bar and in Prefect's page."""

    def __init__(self, order: Order, missing: Sequence[Span], report: Report) -> None:
        self.order = order
        self.open = {commit.receipt_path(span): span.rows for span in missing}
        self.total = sum(self.open.values())
        self.done = 0
        self.report = report
        about = f"{order.recipe.name}: {self.total:,} images"
        # outside of async code it returns the id itself, which its type does not say
        self.artifact = cast("UUID", create_progress_artifact(progress=0.0, key="shards", description=about))
        self.told = time.monotonic()

    def wait(self, batches: Sequence[Any]) -> float:
        """Until all batches are done; the seconds a shard takes. The first error ends the run."""
        pending = list(batches)
        longest = 0.0
        while pending:
            finished = [batch for batch in pending if batch.wrapped_future.done()]
            pending = [batch for batch in pending if batch not in finished]
            for batch in finished:
                longest = max(longest, _seconds_of(batch))
            self.tell(final=not pending)
            if pending:
                time.sleep(POLL_SECONDS)
        return longest

    def tell(self, final: bool) -> None:
        """Count the receipts that came since."""
        arrived = [path for path in self.open if (self.order.root / path).is_file()]
        self.done += sum(self.open.pop(path) for path in arrived)
        self.report(self.done)
        if final or time.monotonic() - self.told > ARTIFACT_SECONDS:
            self.told = time.monotonic()
            update_progress_artifact(self.artifact, progress=100 * self.done / self.total)


def _seconds_of(batch: Any) -> float:
    from distributed.scheduler import KilledWorker

    try:
        return float(batch.result())
    except KilledWorker as error:
        raise FlowError(
            f"a batch of shards was given up after its worker died {error.allowed_failures + 1} times",
            advice="a worker that dies is mostly out of memory: try --workers 1 or a smaller --shard-size,"
            " then run the same command again; finished shards are kept",
        ) from error
