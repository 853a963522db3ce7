"""What a store was made of when nobody simulated it here: other people's images, imported."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from schemas.columns import ColumnSpec
from schemas.dataset import SPLITS, DatasetRecipe, Splits
from schemas.frozen import Frozen, canonical_json, sha256_of

Form = Literal["npy_folders", "fits_folders", "npy_stacks", "npz", "hdf5", "fits_cube"]
NAME = r"^[a-z][a-z0-9_]{0,63}$"
COLUMN = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
# what tells the rows; where the source lies and what people call it does not
BESIDE = frozenset({"name", "description", "source", "files"})


class ImportedGroup(Frozen):
    """Consecutive samples of one class, and of one split where the source says which."""

    class_name: str = Field(pattern=NAME, description="name of the class")
    label: int = Field(ge=0, le=999, description="what `label` holds for this class")
    split: Literal["train", "val", "test"] | None = Field(
        default=None, description="split that the source puts them in; none: they are drawn"
    )
    count: int = Field(ge=1, description="samples")


class ImportedData(Frozen):
    """Where imported samples came from and how they became rows. It stands where a recipe stands."""

    kind: Literal["imported"] = "imported"
    name: str = Field(pattern=NAME, description="name of the data set")
    description: str = Field(default="", description="purpose, for people")
    form: Form = Field(description="how the source was laid out")
    source: str = Field(description="path of the source, as it was given")
    files: int = Field(ge=1, description="files that were read")
    contents_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of all files and their names")
    groups: tuple[ImportedGroup, ...] = Field(
        min_length=1, description="the samples in the order of their numbers: by class, split, file name"
    )
    image_shape: tuple[int, int, int] = Field(description="channels, y, x")
    channels_last: bool = Field(default=False, description="whether the source had channels after pixels")
    pixel_scale_arcsec: float | None = Field(default=None, gt=0, description="if it was told")
    columns: tuple[ColumnSpec, ...] = Field(description="numbers that came with the images")
    splits: Splits | None = Field(description="shares that were drawn; none: the source has its own splits")
    shuffle_seed: int = Field(ge=0, lt=2**53, description="of the order of rows and the draw of splits")

    @model_validator(mode="after")
    def _splits_said_once(self) -> Self:
        said = {group.split is not None for group in self.groups}
        if said != {self.splits is None}:
            raise ValueError("either every group has its split or shares are drawn")
        return self

    @property
    def family(self) -> str:
        """Beside the families of recipes."""
        return "imported"

    @property
    def band_names(self) -> tuple[str, ...]:
        """Channels of other people's images have no names."""
        return ()

    @property
    def products(self) -> tuple[str, ...]:
        """There is nothing beside the images."""
        return ()

    @property
    def classes(self) -> tuple[tuple[str, int], ...]:
        """Names and labels, by label."""
        return tuple(sorted({(one.class_name, one.label) for one in self.groups}, key=lambda one: one[1]))

    @property
    def sample_count(self) -> int:
        """All classes and splits together."""
        return sum(group.count for group in self.groups)

    @property
    def physics_json(self) -> str:
        """Canonical JSON of what determines the rows, under the name that it has in a recipe."""
        content = self.model_dump(mode="json", exclude={*BESIDE, "columns"})
        columns = [[one.name, one.unit, list(one.labels)] for one in self.columns]
        return canonical_json(content | {"columns": columns})

    @property
    def digest(self) -> str:
        """SHA-256 of contents and order: the identity of the data set."""
        return sha256_of(self.physics_json)

    @property
    def seed(self) -> int:
        """By seed and number a sample is known: of the source, so that other shuffles of it are the same."""
        content = [self.contents_sha256, [group.model_dump(mode="json") for group in self.groups]]
        return int(sha256_of(canonical_json(content))[:13], 16)


def _kind_of(value: Any) -> str:
    if isinstance(value, dict):
        return "imported" if value.get("kind") == "imported" else "simulated"
    return "imported" if isinstance(value, ImportedData) else "simulated"


# What the data of a store came from.
Origin = DatasetRecipe | ImportedData
StoredOrigin = Annotated[
    Annotated[DatasetRecipe, Tag("simulated")] | Annotated[ImportedData, Tag("imported")],
    Discriminator(_kind_of),
]


class ImportOptions(Frozen):
    """What a person may say about a source."""

    name: str | None = Field(default=None, pattern=NAME, description="by default that of the source")
    description: str = ""
    images: str | None = Field(default=None, description="key of the images in HDF5 or npz")
    labels: str | None = Field(default=None, description="key of the labels, or a .npy file of them")
    columns: tuple[str, ...] = Field(default=(), description="keys or names of columns; all when empty")
    table: str | None = Field(default=None, description="CSV or structured .npy file with columns")
    mass_column: str = Field(default="axion_mass_ev", pattern=COLUMN)
    class_order: tuple[str, ...] = Field(default=(), description="classes in the order of their labels")
    splits: Splits | None = Field(default=None, description="shares, unless the folders say")
    seed: int = Field(default=0, ge=0, lt=2**53)
    pixel_scale_arcsec: float | None = Field(default=None, gt=0)
    channels_last: bool = False
    shard_images: int | None = Field(default=None, ge=1, le=1 << 20)

    @model_validator(mode="after")
    def _power_of_two(self) -> Self:
        if self.shard_images is not None and self.shard_images & (self.shard_images - 1):
            raise ValueError(f"--shard-size is {self.shard_images}, but must be a power of two")
        return self

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        wrong = [name for name in self.class_order if not re.fullmatch(NAME, name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} names no class: small letters, digits and _ do")
        if len(set(self.class_order)) < len(self.class_order):
            raise ValueError(f"--class-order has a class twice: {','.join(self.class_order)}")
        return self


class ImportReport(Frozen):
    """What was found in a source, before anything is written."""

    data: ImportedData
    digest: str
    dtypes: dict[str, int] = Field(description="images by the type of their numbers in the source")
    lowest: float
    highest: float
    splits: dict[str, dict[str, int]] = Field(description="samples by split and class")
    warnings: tuple[str, ...]


def shares(text: str) -> Splits:
    """Shares as the command takes them: `0.7,0.1,0.2` for train, val and test."""
    given = [part.strip() for part in text.split(",")]
    return Splits.model_validate(dict(zip(SPLITS, given, strict=False)) if len(given) <= len(SPLITS) else {})
