"""The data-set flow: recipe in, finished store out. Resumes from receipts, whatever ended the run before."""

import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from prefect import flow
from pydantic import Field

from flows.api import prefect_api
from flows.catalogue import load_recipe
from flows.clusters import Workers, local_cluster
from flows.galaxies import galaxies_of
from flows.making import make, prepare_workers
from flows.progress import patience, progress_bar
from flows.shards import Order, row_count
from flows.tally import Tally
from schemas.dataset import DatasetRecipe
from schemas.frozen import Frozen
from schemas.store import Provenance, Receipt, plan_store
from simulate.galaxies import check_light
from simulate.render import subhalos_per_sample, through_lenstronomy, warm_up
from storage import commit, layout, target
from storage.layout import Span
from storage.place import Root, place
from storage.reader import open_store
from storage.threads import threaded, usable_cores


class DatasetSummary(Frozen):
    """What a run of the flow did."""

    store: str
    recipe: str
    digest: str
    rows: int = Field(ge=0, description="images in the store")
    shards: int = Field(ge=0, description="shards in the store")
    made: int = Field(ge=0, description="shards made by this run; the others were there and whole")
    seconds: float = Field(ge=0, description="time spent on making shards, from when the workers were ready")
    images_per_s: float = Field(ge=0, description="images made per second, all workers together")


def generate(
    recipe: str,
    out: str | Root,
    workers: Workers = None,
    shard_size: int | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
    mapped: bool | None = None,
) -> DatasetSummary:
    """Simulate a data set with a Prefect server and Dask workers of its own, and return when it is sealed.

    `recipe` is a shipped name or a YAML file, `overrides` are `key=value`. Bad input is refused before
    anything is started or written. `mapped` gives workers single shards instead of batches; without it, the
    pace of the first shards decides.
    """
    prepare(recipe, out, shard_size, overrides)
    with prefect_api():
        return simulate_flow(str(recipe), str(out), workers, shard_size, list(overrides), quiet, mapped)


@flow(name="simulate", validate_parameters=True)
def simulate_flow(
    recipe: str,
    out: str,
    workers: Workers = None,
    shard_size: int | None = None,
    overrides: list[str] | None = None,
    quiet: bool = False,
    mapped: bool | None = None,
) -> DatasetSummary:
    """Make what is missing of a data set and seal it."""
    order = prepare(recipe, out, shard_size, overrides or [])
    with commit.writing(order.root):
        target.check_target(order.root, order.recipe, order.plan)
        commit.begin(order.root, order.recipe, order.plan)
        receipts = _survey(order, quiet)
        missing = [span for span in layout.spans(order.plan) if span not in receipts]
        seconds = 0.0
        if missing:
            commit.unseal(order.root)
            new, seconds = _make(order, missing, workers or usable_cores(), quiet, mapped)
            receipts |= new
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


def prepare(recipe: str, out: str | Root, shard_size: int | None, overrides: Sequence[str]) -> Order:
    """Read the recipe, plan the store and check that it can be made there. Writes nothing."""
    asked = [] if shard_size is None else [f"storage.shard_images={shard_size}"]
    loaded = load_recipe(recipe, [*overrides, *asked])
    image_bytes = 4 * loaded.channels * loaded.detector.num_pix**2
    shard_rows = loaded.storage.shard_images or layout.default_shard_rows(image_bytes)
    plan = plan_store(loaded, layout.split_rows(loaded), shard_rows, provenance(loaded))
    galaxies = galaxies_of(loaded)
    if galaxies is not None:
        check_light(loaded, galaxies)
    order = Order(place(out), loaded, plan)
    target.check_target(order.root, loaded, plan)
    subhalos = subhalos_per_sample(loaded) if plan.catalogue else 0.0
    target.check_space(order.root, layout.store_bytes(plan, subhalos) - target.bytes_present(order.root))
    return order


def provenance(recipe: DatasetRecipe) -> Provenance:
    """Engine and the versions that decide about bytes."""
    packages = ["lensmill", "lenstronomy", "numba", "numpy"]
    if "subhalos" in recipe.products:
        packages.append("pyarrow")
    return Provenance(
        engine=recipe.engine,
        through_lenstronomy=through_lenstronomy(recipe),
        versions={name: version(name) for name in packages},
    )


def _survey(order: Order, quiet: bool) -> dict[Span, Receipt]:
    """The shards that are there and whole, checked byte by byte."""
    found: dict[Span, Receipt] = {}
    if not (order.root / commit.RECEIPTS).is_dir():
        return found
    total = layout.shard_count(order.plan)
    with progress_bar("checking what is there", total, "shards", quiet) as report:
        check = partial(commit.valid_receipt, order.root, order.plan)
        checked = zip(layout.spans(order.plan), threaded(check, layout.spans(order.plan)), strict=True)
        for done, (span, receipt) in enumerate(checked, start=1):
            if receipt:
                found[span] = receipt
            else:
                commit.discard(order.root, span)
            report(done)
    return found


def _make(
    order: Order, missing: Sequence[Span], workers: int, quiet: bool, mapped: bool | None
) -> tuple[dict[Span, Receipt], float]:
    """The missing shards on a Dask cluster: their receipts, and the seconds from when workers were ready."""
    with patience("loading the simulator; its first use on a machine compiles it", quiet):
        warm_up(order.recipe, galaxies_of(order.recipe))
    with local_cluster(min(workers, len(missing))) as runner:
        with patience("starting workers", quiet):
            prepare_workers(runner.client, order.ticket, mapped)
        started = time.perf_counter()
        what = f"simulating {order.recipe.name}"
        with (
            progress_bar(what, row_count(missing), "images", quiet) as report,
            Tally(order, missing, report) as tally,
        ):
            make(runner, order, missing, tally, mapped)
            return tally.receipts(), time.perf_counter() - started
