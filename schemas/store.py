"""What a store is made of: arrays, plan, receipts, manifest, commit marker.

The plan is written first and fixes the layout; a receipt is the only evidence that a shard exists; the
manifest lists all receipts; the marker seals the manifest. `docs/data_format.md` tells it at length.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from schemas.columns import ColumnSpec, columns_of
from schemas.dataset import SPLITS, DatasetRecipe
from schemas.frozen import Extended, Frozen, sha256_of
from schemas.imported import ImportedData, StoredOrigin
from schemas.products import CATALOGUE, MAPS, CatalogueColumn, map_shape
from schemas.registry import unknown_name

# Of the books. A change that older code cannot read takes the next number and a step in
# storage.migrations.
SCHEMA_VERSION: Final = 2
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Split = Literal["train", "val", "test"]
BackendName = Literal["zarr", "hdf5"]
Profile = Literal["float32", "quantised", "archive"]
PIXELS = ("y", "x")
# Companion of a map that is stored as codes: scale and offset of each sample and channel.
SCALE = "_scale"


class ArraySpec(Frozen):
    """One array of a split: `(rows, *tail)` in C order, `fill` where nothing was ever written.

    Fill values cannot pass for data, so that a missing chunk never reads as a black image of class 0.
    """

    name: Literal[
        "image",
        "label",
        "sample_id",
        "params",
        "noise_free",
        "convergence",
        "deflection",
        "image_scale",
        "noise_free_scale",
        "convergence_scale",
        "deflection_scale",
    ]
    dtype: Literal["float32", "int32", "int64", "float64", "uint16"]
    tail: tuple[int, ...]
    dimensions: tuple[str, ...]
    fill: Literal["NaN", "-1", "65535"]


class ClassSpec(Frozen):
    """A class by its name and label."""

    name: str
    label: int = Field(ge=0)


class SplitSpec(Frozen):
    """A split and how many rows it has."""

    name: Split
    rows: int = Field(ge=1)


class Conversion(Frozen):
    """What a store was converted from, and by what."""

    manifest_sha256: Digest = Field(description="SHA-256 of the source's manifest.json")
    backend: BackendName = Field(description="of the source")
    profile: Profile = Field(description="of the source")
    lossy: bool = Field(description="whether values went through quantisation, in this step or before")
    versions: dict[str, str] = Field(description="package versions")


class Provenance(Extended):
    """What made the data, beside the recipe. Bytes are promised to be the same only if this is."""

    LATER = ("conversions",)
    engine: str = Field(description="what rendered the images")
    through_lenstronomy: tuple[str, ...] = Field(
        default=(), description="profiles that the engine leaves to lenstronomy, which takes longer"
    )
    versions: dict[str, str] = Field(description="package versions")
    conversions: tuple[Conversion, ...] = Field(
        default=(), description="from the store that was simulated to this one, in order"
    )


class StorePlan(Frozen):
    """The layout of a store, fixed before the first shard is written."""

    schema_version: Literal[2] = SCHEMA_VERSION
    recipe_name: str
    recipe_digest: Digest
    backend: BackendName
    profile: Profile
    classes: tuple[ClassSpec, ...]
    columns: tuple[ColumnSpec, ...]
    arrays: tuple[ArraySpec, ...]
    catalogue: tuple[CatalogueColumn, ...] = Field(
        default=(), description="columns of the table of subhalos beside each shard; none: there is no table"
    )
    splits: tuple[SplitSpec, ...]
    shard_rows: int = Field(ge=1)
    provenance: Provenance

    def array(self, name: str) -> ArraySpec:
        """The specification of one array; a name that the store does not have is an error."""
        for spec in self.arrays:
            if spec.name == name:
                return spec
        is_column = any(column.name == name for column in self.columns)
        advice = "it is a column of params: store.column(split, name) reads it" if is_column else ""
        raise unknown_name("array", name, [spec.name for spec in self.arrays], advice)

    @property
    def maps(self) -> tuple[ArraySpec, ...]:
        """The arrays that have pixels: the images and what is beside them."""
        return tuple(spec for spec in self.arrays if spec.dimensions[-2:] == PIXELS)

    @property
    def decoded(self) -> tuple[ArraySpec, ...]:
        """The arrays as they are given to a store and read from it: codes are numbers again."""
        return tuple(_as_floats(spec) for spec in self.arrays if not spec.name.endswith(SCALE))

    def is_quantised(self, name: str) -> bool:
        """Whether an array is stored as codes."""
        return any(spec.name == name + SCALE for spec in self.arrays)

    def rows_of(self, split: str) -> int:
        """The length of a split; 0 for one that the store does not have."""
        return next((spec.rows for spec in self.splits if spec.name == split), 0)


class FileRecord(Frozen):
    """One file of a shard as it was written."""

    path: str = Field(description="relative to the store")
    size: int = Field(ge=0, description="bytes")
    crc32c: str = Field(pattern=r"^[0-9a-f]{8}$")
    sha256: Digest


class MapError(Frozen):
    """How far the stored values of a map are from those that were to be stored."""

    map: str
    worst: float = Field(ge=0, description="largest difference, in the unit of the map")
    bound: float = Field(ge=0, description="what it was checked against: the largest bound of an image")


class Receipt(Extended):
    """The evidence that a shard was written whole: rows `[first_row, first_row + rows)` of a split."""

    LATER = ("errors", "versions")
    schema_version: Literal[2] = SCHEMA_VERSION
    recipe_digest: Digest
    plan_digest: Digest = Field(description="SHA-256 of plan.json as it stands in the store")
    split: Split
    shard: int = Field(ge=0)
    first_row: int = Field(ge=0)
    rows: int = Field(ge=1)
    files: tuple[FileRecord, ...]
    errors: tuple[MapError, ...] = Field(default=(), description="of the maps that are stored as codes")
    versions: dict[str, str] | None = Field(
        default=None, description="package versions that made the shard, where they are not those of the plan"
    )


class StoredRecipe(Frozen):
    """The recipe, or what was imported, as the store keeps it: what determines rows, its digest, all."""

    schema_version: Literal[2] = SCHEMA_VERSION
    digest: Digest
    physics: str = Field(description="canonical JSON; its SHA-256 is the digest")
    recipe: StoredOrigin

    @model_validator(mode="after")
    def _digest_is_of_the_text(self) -> Self:
        # of the text as stored, never recomputed from the model: newer code may spell a recipe differently
        if sha256_of(self.physics) != self.digest:
            raise ValueError("the digest is not that of the stored physics content")
        return self


class Manifest(Frozen):
    """All receipts of a finished store, and the files that make it readable to others."""

    schema_version: Literal[2] = SCHEMA_VERSION
    recipe_digest: Digest
    recipe_sha256: Digest = Field(description="SHA-256 of recipe.json as it stands in the store")
    plan_digest: Digest = Field(description="SHA-256 of plan.json as it stands in the store")
    schema_sha256: Digest | None = Field(
        default=None, description="SHA-256 of schema.json as it stands in the store; version 1 had none"
    )
    receipts: tuple[Receipt, ...]
    metadata: tuple[FileRecord, ...] = Field(description="zarr.json and the like")


class CommitMarker(Frozen):
    """Written last: a store without it is unfinished."""

    schema_version: Literal[2] = SCHEMA_VERSION
    recipe_digest: Digest
    manifest_sha256: Digest


def plan_store(
    recipe: DatasetRecipe, rows: dict[str, int], shard_rows: int, provenance: Provenance
) -> StorePlan:
    """The plan of a recipe's store with `rows` per split."""
    detector = recipe.detector
    columns = columns_of(recipe)
    image = (recipe.channels, detector.num_pix, detector.num_pix)
    products = tuple(_map(name, image) for name in recipe.products if name in MAPS)
    arrays = (*_arrays(image, len(columns)), *products)
    return StorePlan(
        recipe_name=recipe.name,
        recipe_digest=recipe.digest,
        backend=recipe.storage.backend,
        profile=recipe.storage.profile,
        classes=tuple(ClassSpec(name=one.name, label=one.label) for one in recipe.classes),
        columns=columns,
        arrays=arrays if recipe.storage.profile == "float32" else as_codes(arrays),
        catalogue=CATALOGUE if "subhalos" in recipe.products else (),
        splits=tuple(SplitSpec(name=name, rows=rows[name]) for name in SPLITS if rows[name]),  # type: ignore[arg-type]
        shard_rows=shard_rows,
        provenance=provenance,
    )


def as_codes(arrays: tuple[ArraySpec, ...]) -> tuple[ArraySpec, ...]:
    """Maps as codes of 16 bits, behind them all the scales."""
    maps = [spec for spec in arrays if spec.dimensions[-2:] == PIXELS]
    codes = [
        spec.model_copy(update={"dtype": "uint16", "fill": "65535"}) if spec in maps else spec
        for spec in arrays
    ]
    return (*codes, *(_scale_of(spec) for spec in maps))


def _scale_of(spec: ArraySpec) -> ArraySpec:
    return ArraySpec(
        name=spec.name + SCALE,  # type: ignore[arg-type]
        dtype="float32",
        tail=(spec.tail[0], 2),
        dimensions=(*spec.dimensions[:2], "coefficient"),
        fill="NaN",
    )


def _as_floats(spec: ArraySpec) -> ArraySpec:
    return spec.model_copy(update={"dtype": "float32", "fill": "NaN"}) if spec.dtype == "uint16" else spec


def plan_import(
    data: ImportedData, rows: dict[str, int], shard_rows: int, provenance: Provenance
) -> StorePlan:
    """The plan of a store of imported images with `rows` per split."""
    return StorePlan(
        recipe_name=data.name,
        recipe_digest=data.digest,
        backend="zarr",
        profile="float32",
        classes=tuple(ClassSpec(name=name, label=label) for name, label in data.classes),
        columns=data.columns,
        arrays=_arrays(data.image_shape, len(data.columns)),
        splits=tuple(SplitSpec(name=name, rows=rows[name]) for name in SPLITS if rows[name]),  # type: ignore[arg-type]
        shard_rows=shard_rows,
        provenance=provenance,
    )


def _map(product: str, image: tuple[int, ...]) -> ArraySpec:
    return ArraySpec(
        name=product,  # type: ignore[arg-type]
        dtype="float32",
        tail=map_shape(product, image),
        dimensions=("sample", MAPS[product].dimension, *PIXELS),
        fill="NaN",
    )


def _arrays(image: tuple[int, ...], column_count: int) -> tuple[ArraySpec, ...]:
    return (
        ArraySpec(
            name="image",
            dtype="float32",
            tail=image,
            dimensions=("sample", "channel", *PIXELS),
            fill="NaN",
        ),
        ArraySpec(name="label", dtype="int32", tail=(), dimensions=("sample",), fill="-1"),
        ArraySpec(name="sample_id", dtype="int64", tail=(), dimensions=("sample",), fill="-1"),
        ArraySpec(
            name="params", dtype="float64", tail=(column_count,), dimensions=("sample", "column"), fill="NaN"
        ),
    )
