"""The data-set flow: recipe in, finished store out. Resumes from receipts, whatever ended the run before."""

from functools import partial

from prefect import flow

from flows.clusters.local import chosen
from flows.clusters.preconditions import check_cluster
from flows.forms import ClusterForm, OverridesForm, RecipeForm, ShardSizeForm, StoreForm, WorkersForm
from flows.orders import prepare, provenance
from flows.shards import Order, row_count
from flows.summary import DatasetSummary
from flows.telling.events import watched
from flows.telling.exhibits import exhibit
from flows.telling.progress import progress_bar
from flows.unattended import persevering, told, turn
from flows.workshop import make_missing as _make
from schemas.store import Receipt
from storage import commit, layout, target
from storage.layout import Span
from storage.reader import open_store
from storage.reading.threads import threaded


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
        mapped: Give workers single shards, or batches of them; when left out, batches first and single shards
            at the end, or single shards alone where batches would be too many.
        cluster: Where shards are made; on the machine of the flow when left out.
    """
    order = prepare(recipe, out, shard_size, overrides or [])
    where = chosen(cluster, workers)
    with turn(order.root):
        target.check_target(order.root, order.recipe, order.plan)
        if not target.is_complete(order.root, order.plan):
            check_cluster(where)
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
            new, seconds = _make(order, missing, where, quiet, mapped)
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
