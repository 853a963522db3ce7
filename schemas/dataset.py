"""A data-set recipe: what to simulate, how many, in which splits, from which seed."""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from schemas.cosmology import Cosmology, DeflectionConvention, MassConversion
from schemas.frozen import Frozen, canonical_json, sha256_of
from schemas.instrument import Detector, Instrument, KernelFilePSF, Noise, NoNoise
from schemas.substructure import Subhalos, Substructure, TruncatedNFW
from schemas.system import LensLight, MainLens, Multipole, Redshifts, Shear, Source

# The same everywhere, so that a model trained on one data set names what it sees in another.
CLASS_LABELS = {"no_sub": 0, "cdm": 1, "vortex": 2, "wdm": 3, "sidm": 4}
SPLITS = ("train", "val", "test")
# left out of the digest when a recipe has none, so that recipes from before they existed keep theirs
OPTIONAL = ("multipole", "lens_light")


def _exact_fraction(value: Any) -> Any:
    """Fractions as people write them: 0.8, "27/35". Through text, since 0.8 is no exact float."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:.9f}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}|/0*[1-9]\d{0,8})?", value):
        raise ValueError(f"{value!r} is no share; write 0.8 or 4/5")
    return Fraction(value)


Share = Annotated[
    Fraction,
    BeforeValidator(_exact_fraction, json_schema_input_type=float | str),
    PlainSerializer(str, return_type=str),
]


class DatasetClass(Frozen):
    """One class of the data set: a name, the label stored with its images, and its substructure."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="name of the class")
    label: int = Field(ge=0, le=999, description="what `label` holds for this class")
    substructure: Substructure

    @model_validator(mode="after")
    def _known_names_keep_their_label(self) -> Self:
        expected = CLASS_LABELS.get(self.name)
        if expected is not None and self.label != expected:
            raise ValueError(f"class {self.name!r} has label {expected} in every data set, not {self.label}")
        if expected is None and self.label in CLASS_LABELS.values():
            owner = next(name for name, label in CLASS_LABELS.items() if label == self.label)
            raise ValueError(f"label {self.label} belongs to class {owner!r} in every data set")
        return self


class Splits(Frozen):
    """Which part of each class is for training, validation and test; together exactly one."""

    train: Share = Field(ge=0, le=1, description="share for training")
    val: Share = Field(default=Fraction(0), ge=0, le=1, description="share for validation")
    test: Share = Field(default=Fraction(0), ge=0, le=1, description="share for the final test")

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.val + self.test
        if total != 1:
            parts = " + ".join(str(getattr(self, name)) for name in SPLITS)
            raise ValueError(f"the shares sum to {float(total):g} ({parts}), but must sum to exactly 1")
        if self.denominator > 100_000:
            raise ValueError("the shares have a common denominator above 100,000; use rounder fractions")
        return self

    @property
    def denominator(self) -> int:
        """The number of samples of a class after which the pattern of splits repeats."""
        return int(np.lcm.reduce([getattr(self, name).denominator for name in SPLITS]))


class StorageOptions(Frozen):
    """How a data set is written. Not part of its identity: the arrays are the same."""

    backend: Literal["zarr"] = Field(default="zarr", description="file format")
    profile: Literal["float32"] = Field(default="float32", description="number format of the images")
    shard_images: int | None = Field(
        default=None,
        ge=1,
        le=1 << 20,
        description="images per shard, a power of two; by default as many as fit 64 MiB",
    )

    @model_validator(mode="after")
    def _power_of_two(self) -> Self:
        if self.shard_images is not None and self.shard_images & (self.shard_images - 1):
            raise ValueError(f"shard_images is {self.shard_images}, but must be a power of two")
        return self


class DatasetRecipe(Frozen):
    """Everything that makes a data set; the physics content alone makes its digest."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="name of the recipe")
    family: Literal["replica", "survey"] = Field(
        description="replica: a published simulator, constant for constant; survey: for science"
    )
    description: str = Field(default="", description="purpose, for people")
    seed: int = Field(ge=0, lt=2**53, description="where all random streams start")
    samples_per_class: int = Field(ge=1, le=10**12, description="images of each class, all splits together")
    splits: Splits
    classes: tuple[DatasetClass, ...] = Field(min_length=1, max_length=32)
    cosmology: Cosmology = Cosmology()
    mass_conversion: MassConversion = MassConversion()
    deflection_convention: DeflectionConvention | None = None
    redshifts: Redshifts
    main_lens: MainLens
    shear: Shear = Shear()
    source: Source
    multipole: Multipole | None = Field(default=None, description="deformation of the main lens")
    lens_light: LensLight | None = Field(
        default=None, description="light of the lens; its centre is on the sky, not relative to the main lens"
    )
    instrument: Instrument
    noise: Noise = NoNoise()
    image_factor: float = Field(
        default=1.0, gt=0, le=1000, description="what the finished image is multiplied by before it is stored"
    )
    engine: Literal["fused", "fused_exact", "fused_float32", "lenstronomy"] = Field(
        default="fused",
        description="what renders, recorded with the data, not part of the digest. fused: compiled, as"
        " lenstronomy to 1e-12; fused_exact: truncated NFW halos by their formula instead of a table;"
        " fused_float32: single precision; lenstronomy: the reference",
    )
    storage: StorageOptions = StorageOptions()

    @model_validator(mode="after")
    def _convention_behind_the_lens(self) -> Self:
        convention, farthest = self.deflection_convention, self.redshifts.z_lens.support[1]
        if convention is not None and convention.z_source_convention <= farthest:
            raise ValueError(
                f"z_source_convention ({convention.z_source_convention:g}) must lie behind the farthest lens"
                f" (z {farthest:g})"
            )
        return self

    @model_validator(mode="after")
    def _halos_at_right_distances(self) -> Self:
        if self.mass_conversion.kind == "luminosity_shortcut":
            for one in self.classes:
                kind = one.substructure
                if isinstance(kind, Subhalos) and isinstance(kind.profile, TruncatedNFW):
                    raise ValueError(
                        f"class {one.name!r} has TNFW subhalos, whose size needs the right distances, but"
                        " mass_conversion is luminosity_shortcut, which is for point masses: use"
                        " angular_diameter"
                    )
        return self

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        for attribute in ("name", "label"):
            seen = [getattr(one, attribute) for one in self.classes]
            repeated = sorted({str(value) for value in seen if seen.count(value) > 1})
            if repeated:
                raise ValueError(f"classes repeat the {attribute} {', '.join(repeated)}")
        return self

    @property
    def detector(self) -> Detector:
        """The instrument by its numbers; a preset must have been resolved before."""
        if not isinstance(self.instrument, Detector):
            raise TypeError("the recipe still names a preset: simulate.instruments.resolve it first")
        if isinstance(self.instrument.psf, KernelFilePSF):
            raise TypeError("the recipe still names a kernel's file: load it by flows.catalogue.load_recipe")
        return self.instrument

    @property
    def physics_json(self) -> str:
        """Canonical JSON of what determines the images, and nothing else."""
        beside = {"name", "family", "description", "engine", "storage", "instrument"}
        beside |= {name for name in OPTIONAL if getattr(self, name) is None}
        content = self.model_dump(mode="json", exclude=beside)
        return canonical_json(content | {"instrument": self.detector.model_dump(mode="json")})

    @property
    def digest(self) -> str:
        """SHA-256 of the physics content: the identity of the data set."""
        return sha256_of(self.physics_json)

    @property
    def sample_count(self) -> int:
        """All classes and splits together."""
        return self.samples_per_class * len(self.classes)

    def class_positions(self, sample_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which entry of `classes` each sample is: they take turns."""
        return sample_ids % len(self.classes)
