"""What a store says of itself, without reading an image."""

from pathlib import Path

from pydantic import Field

from schemas.columns import ColumnSpec
from schemas.frozen import Frozen
from schemas.store import ClassSpec, Provenance, SplitSpec
from storage.layout import shard_count
from storage.reader import open_store


class StoreInfo(Frozen):
    """A finished store at a glance."""

    store: str
    recipe: str
    family: str
    description: str
    digest: str
    seed: int
    backend: str
    profile: str
    image_shape: tuple[int, ...] = Field(description="channels, y, x")
    pixel_scale_arcsec: float
    classes: tuple[ClassSpec, ...]
    splits: tuple[SplitSpec, ...]
    columns: tuple[ColumnSpec, ...]
    shards: int
    shard_rows: int
    bytes: int
    provenance: Provenance


def info(root: Path) -> StoreInfo:
    """Recipe, digest, splits, classes, columns, size and provenance of a finished store."""
    store = open_store(root)
    plan, recipe = store.plan, store.recipe
    return StoreInfo(
        store=str(root),
        recipe=recipe.name,
        family=recipe.family,
        description=recipe.description.strip(),
        digest=store.stored.digest,
        seed=recipe.seed,
        backend=plan.backend,
        profile=plan.profile,
        image_shape=plan.array("image").tail,
        pixel_scale_arcsec=recipe.detector.pixel_scale_arcsec,
        classes=plan.classes,
        splits=plan.splits,
        columns=plan.columns,
        shards=shard_count(plan),
        shard_rows=plan.shard_rows,
        bytes=sum(record.size for receipt in store.manifest.receipts for record in receipt.files),
        provenance=plan.provenance,
    )
