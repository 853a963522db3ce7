"""What a store says of itself, without reading more than a few images."""

import numpy as np
from pydantic import Field

from schemas.columns import ColumnSpec
from schemas.detectability import DetectabilityColumns, ideal_auc
from schemas.frozen import Frozen
from schemas.imported import ImportedData
from schemas.store import ClassSpec, Provenance, SplitSpec
from storage.files.place import Root
from storage.layout import shard_count
from storage.reader import Store, open_store
from storage.upkeep.loss import MapLoss, losses


class ClassVisibility(Frozen):
    """How visible the substructure of a class is, over the samples of which it is known."""

    name: str
    label: int = Field(ge=0)
    samples: int = Field(ge=1)
    median_detectability: float = Field(ge=0, description="signal-to-noise ratio after a refit")
    ideal_auc: float = Field(
        ge=0.5, le=1, description="mean over samples: each against its own smooth version, by the best test"
    )


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
    bands: tuple[str, ...] = Field(description="names of the channels, if the recipe names them")
    pixel_scale_arcsec: float | None = Field(description="none where imported data do not say")
    products: tuple[str, ...] = Field(description="what is stored of each sample beside its image")
    classes: tuple[ClassSpec, ...]
    splits: tuple[SplitSpec, ...]
    columns: tuple[ColumnSpec, ...]
    shards: int
    shard_rows: int
    bytes: int
    provenance: Provenance
    visibility: tuple[ClassVisibility, ...] = Field(description="empty unless the recipe asks for it")
    losses: tuple[MapLoss, ...] = Field(description="by quantisation; empty when no bit was lost")


def info(root: str | Root) -> StoreInfo:
    """Recipe, digest, splits, classes, columns, size and provenance of a finished store."""
    store = open_store(root)
    plan, recipe = store.plan, store.origin
    return StoreInfo(
        store=str(store.root),
        recipe=recipe.name,
        family=recipe.family,
        description=recipe.description.strip(),
        digest=store.stored.digest,
        seed=recipe.shuffle_seed if isinstance(recipe, ImportedData) else recipe.seed,
        backend=plan.backend,
        profile=plan.profile,
        image_shape=plan.array("image").tail,
        bands=recipe.band_names,
        pixel_scale_arcsec=store.pixel_scale_arcsec,
        products=recipe.products,
        classes=plan.classes,
        splits=plan.splits,
        columns=plan.columns,
        shards=shard_count(plan),
        shard_rows=plan.shard_rows,
        bytes=sum(record.size for receipt in store.manifest.receipts for record in receipt.files),
        provenance=plan.provenance,
        visibility=_visibility(store),
        losses=losses(store),
    )


def _visibility(store: Store) -> tuple[ClassVisibility, ...]:
    """Of the classes that have substructure."""
    (name,) = DetectabilityColumns.model_fields
    splits = None if isinstance(store.origin, ImportedData) else store.origin.detectability
    if not splits:
        return ()
    signal = np.concatenate([store.column(split, name) for split in splits])
    label = np.concatenate([store.read(split, "label") for split in splits])
    found = []
    for one in store.recipe.classes:
        values = signal[label == one.label]
        if one.substructure.kind != "none" and len(values):
            found.append(
                ClassVisibility(
                    name=one.name,
                    label=one.label,
                    samples=len(values),
                    median_detectability=float(np.median(values)),
                    ideal_auc=float(ideal_auc(values).mean()),
                )
            )
    return tuple(found)
