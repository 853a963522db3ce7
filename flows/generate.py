"""The data-set flow: recipe in, finished store out. Resumes from receipts, whatever ended the run before."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from prefect import flow
from pydantic import Field

from flows.catalogue import AnyRecipe, load_recipe
from flows.clusters.opening import Workers, chosen
from flows.forms import ClusterForm, OverridesForm, RecipeForm, ShardSizeForm, StoreForm, WorkersForm
from flows.galaxies import galaxies_of
from flows.serving.api import prefect_api
from flows.shards import Order, row_count
from flows.telling.events import watched
from flows.telling.exhibits import exhibit
from flows.telling.progress import progress_bar
from flows.unattended import persevering, told, turn
from flows.workshop import make_missing as _make
from schemas.cluster import AnyCluster
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.frozen import Frozen
from schemas.store import Provenance, Receipt, plan_store
from simulate.galaxies import check_light
from simulate.render import subhalos_per_sample, through_lenstronomy
from storage import commit, layout, target
from storage.formats import BACKENDS
from storage.layout import Span
from storage.place import Root, place
from storage.reader import open_store
from storage.threads import threaded


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
    cluster: AnyCluster | None = None,
) -> DatasetSummary:
    """Simulate a data set with a Prefect server and Dask workers of its own, and return when it is sealed.

    `recipe` is a shipped name or a YAML file, `overrides` are `key=value`. Bad input is refused before
    anything is started or written. `mapped` gives workers single shards instead of batches; without it, the
    pace of the first shards decides. `cluster` says where the workers are: on this machine when left out.
    """
    prepare(recipe, out, shard_size, overrides)
    with prefect_api():
        return simulate_flow(
            str(recipe), str(out), workers, shard_size, list(overrides), quiet, mapped, cluster
        )


@watched
@flow(name="simulate", validate_parameters=True)
@told
@persevering
def simulate_flow(
    recipe: RecipeForm,
    out: StoreForm,
    workers: WorkersForm = None,
    shard_size: ShardSizeForm = None,
    overrides: OverridesForm = None,
    quiet: bool = False,
    mapped: bool | None = None,
    cluster: ClusterForm = None,
) -> DatasetSummary:
    """Make what is missing of a data set and seal it.

    Args:
        recipe: What to simulate: a shipped recipe (`lensmill recipes` tells what each makes), the path of a
            YAML file, or the whole recipe.
        out: Where the store is to be, a folder or an `s3://` URL. What is there and whole is kept.
        workers: Worker processes on this machine; one per core when left out. Unused with a `cluster`.
        shard_size: Images per shard, a power of two; 64 MiB of images when left out.
        overrides: Changes of the recipe, each as `key=value`, such as `samples_per_class=2000`.
        quiet: No progress bar in the log.
        mapped: Give workers single shards, or batches of them; what suits their number when left out.
        cluster: Where shards are made; on the machine of the flow when left out.
    """
    order = prepare(recipe, out, shard_size, overrides or [])
    with turn(order.root):
        target.check_target(order.root, order.recipe, order.plan)
        commit.begin(order.root, order.recipe, order.plan)
        receipts = _survey(order, quiet)
        missing = [span for span in layout.spans(order.plan) if span not in receipts]
        seconds = 0.0
        if missing:
            # a whole store of other versions is left alone; here one would become a mixture
            target.check_versions(order.root, order.plan, provenance(order.recipe).versions)
            commit.unseal(order.root)
            for span in missing:
                commit.discard(order.root, span)
            new, seconds = _make(order, missing, chosen(cluster, workers), quiet, mapped)
            receipts |= new
        unsealed = bool(missing) or not commit.is_sealed(order.root)
        if unsealed:
            commit.seal(order.root, order.recipe, order.plan, [receipts[s] for s in layout.spans(order.plan)])
        open_store(order.root)
    made = row_count(missing)
    summary = DatasetSummary(
        store=str(order.root),
        recipe=order.recipe.name,
        digest=order.recipe.digest,
        rows=sum(split.rows for split in order.plan.splits),
        shards=len(receipts),
        made=len(missing),
        seconds=seconds,
        images_per_s=made / seconds if seconds else 0.0,
    )
    if unsealed:
        exhibit(order, summary)
    return summary


def prepare(recipe: AnyRecipe, out: str | Root, shard_size: int | None, overrides: Sequence[str]) -> Order:
    """Read the recipe, plan the store and check that it can be made there. Writes nothing."""
    if shard_size is not None and (shard_size < 1 or shard_size & (shard_size - 1)):
        raise RecipeError(f"a shard of {shard_size} images", expected="a power of two", where="--shard-size")
    asked = [] if shard_size is None else [f"storage.shard_images={shard_size}"]
    loaded = load_recipe(recipe, [*overrides, *asked])
    image_bytes = 4 * loaded.channels * loaded.detector.num_pix**2
    shard_rows = loaded.storage.shard_images or layout.default_shard_rows(image_bytes)
    planned = plan_store(loaded, layout.split_rows(loaded), shard_rows, provenance(loaded))
    plan = target.plan_there(place(out), planned)
    galaxies = galaxies_of(loaded)
    if galaxies is not None:
        check_light(loaded, galaxies)
    order = Order(place(out), loaded, plan)
    target.check_target(order.root, loaded, plan)
    if not target.is_complete(order.root, plan):
        target.check_versions(order.root, plan, planned.provenance.versions)
        subhalos = subhalos_per_sample(loaded) if plan.catalogue else 0.0
        needed = layout.store_bytes(plan, subhalos) - target.bytes_present(order.root)
        target.check_space(order.root, needed, "free space, choose another --out, or lower samples_per_class")
    return order


def provenance(recipe: DatasetRecipe) -> Provenance:
    """Engine and the versions that decide about bytes."""
    packages = ["lensmill", "lenstronomy", "numba", "numpy"]
    if "subhalos" in recipe.products:
        packages.append("pyarrow")
    packages += BACKENDS[recipe.storage.backend].packages(recipe.storage.profile)
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
            report(done)
    return found
