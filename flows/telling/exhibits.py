"""What a finished data set shows on Prefect's page: a summary with a gallery, a line of history a recipe."""

import base64
import shlex

from prefect.artifacts import create_markdown_artifact

from flows.assess import artifact_key
from flows.shards import Order
from flows.summary import DatasetSummary
from flows.telling import events
from flows.telling.run_log import at_no_cost, in_a_run
from storage.pictures.thumbnail import thumbnail
from storage.reader import Store, open_store

# Prefect keeps an artifact in its database and sends it with every look at its page.
MOST_PICTURE_BYTES = 100_000


def exhibit(order: Order, made: DatasetSummary) -> None:
    """Show a data set that was sealed, and let others know. Nothing of it can fail the flow that made it."""
    if not in_a_run():
        return
    with at_no_cost("the data set"):
        head = f"## {made.recipe}: {made.rows:,} images"
        text = "\n\n".join((head, gallery(order), summary(open_store(order.root), made))) + "\n"
        about = f"{made.rows:,} images of {made.recipe} in {made.store}"
        create_markdown_artifact(markdown=text, key=f"dataset-{artifact_key(made.recipe)}", description=about)
    events.sealed(made.store, made.recipe, made.digest, made.rows, made.made)


def summary(store: Store, made: DatasetSummary) -> str:
    """What was made, of what, how fast, and what comes next."""
    plan = store.plan
    size = sum(record.size for receipt in store.manifest.receipts for record in receipt.files)
    shape = " x ".join(map(str, plan.array("image").tail))
    rows = (
        ("recipe", f"{made.recipe}, digest `{made.digest[:12]}`"),
        ("images", f"{made.rows:,} of {shape}"),
        ("splits", ", ".join(f"{split.name} {split.rows:,}" for split in plan.splits)),
        ("classes", ", ".join(one.name for one in plan.classes)),
        ("shards", f"{made.shards:,} of {plan.shard_rows:,} images, {size / 1e6:,.1f} MB, {plan.backend}"),
        ("this run", f"{made.made:,} shards in {made.seconds:,.1f} s, {made.images_per_s:,.0f} images/s"),
        ("versions", ", ".join(f"{name} {number}" for name, number in plan.provenance.versions.items())),
        ("store", f"`{made.store}`"),
    )
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    where = shlex.quote(made.store)
    following = [f"lensmill {command} {where}" for command in ("verify", "show", "audit")]
    return "\n".join((*table, "", "```", *following, "```"))


def gallery(order: Order) -> str:
    """A few images of each class, inside of the text: the page of Prefect cannot read files."""
    picture = thumbnail(order.root, MOST_PICTURE_BYTES)
    if not picture:
        return "no picture of it is small enough for this page"
    return f"![a few images of each class](data:image/png;base64,{base64.b64encode(picture).decode()})"
