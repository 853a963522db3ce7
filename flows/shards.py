"""What Dask workers run: simulate shards and write them.

Nothing that a worker receives is defined in another file of flows.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.dataset import DatasetRecipe
from schemas.errors import FlowError, LensmillError
from schemas.store import Receipt, StorePlan
from simulate.render import render
from storage import layout
from storage.commit import write_shard
from storage.layout import Span


def make_shard(root: Path, recipe: DatasetRecipe, plan: StorePlan, span: Span) -> Receipt:
    """One shard: rendered, checked, written, its receipt last."""
    samples = render(recipe, layout.sample_ids(recipe, span))
    return write_shard(root, recipe, plan, span, samples.arrays())


# NO_CACHE: with the output deleted, a cached rerun would report success with the files missing.
@task(name="make shards", task_run_name="{first} and {more} more", cache_policy=NO_CACHE)
def make_batch(
    root: str,
    recipe_json: str,
    plan_json: str,
    batch: Sequence[Span],
    first: str,  # noqa: ARG001 - this and the next name the task run
    more: int,  # noqa: ARG001
) -> float:
    """A batch of whole shards, one after the other; the seconds of the last. Receipts are on the disk."""
    recipe = DatasetRecipe.model_validate_json(recipe_json)
    plan = StorePlan.model_validate_json(plan_json)
    seconds = 0.0
    for span in batch:
        started = time.perf_counter()
        try:
            make_shard(Path(root), recipe, plan, span)
        except LensmillError:
            raise
        except Exception as error:
            raise FlowError(f"{span} failed: {type(error).__name__}: {error}", where=root) from error
        seconds = time.perf_counter() - started
    return seconds


def row_count(spans: Sequence[Span]) -> int:
    """Rows of several shards together."""
    return int(np.sum([span.rows for span in spans], dtype=np.int64))
