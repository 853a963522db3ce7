"""A data-set recipe: what to simulate, how many, in which splits, from which seed."""

from fractions import Fraction
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from schemas.bands import Bands, check_bands
from schemas.cosmology import Cosmology, DeflectionConvention, MassConversion
from schemas.frozen import Extended, Frozen, canonical_json, sha256_of
from schemas.galaxy_image import COLOURS, GalaxyImage
from schemas.instrument import Detector, Instrument, KernelFilePSF, Noise, NoNoise
from schemas.planes import AroundLens
from schemas.products import Products
from schemas.shares import Share, SourceShares, SourceShown
from schemas.substructure import Substructure, TruncatedNFW, Vortices
from schemas.system import CENTER_X, LensLight, MainLens, Multipole, Redshifts, SersicEllipse, Shear, Source

# The same everywhere, so that a model trained on one data set names what it sees in another.
CLASS_LABELS = {"no_sub": 0, "cdm": 1, "vortex": 2, "wdm": 3, "sidm": 4}
SPLITS = ("train", "val", "test")
# left out of the digest when a recipe has none, so that recipes from before they existed keep theirs
OPTIONAL = ("multipole", "lens_light", "detectability", "bands", "normalisation")


def _in_order(splits: tuple[str, ...]) -> tuple[str, ...]:
    """Each once, in the usual order: spelling is no part of a digest."""
    return tuple(name for name in SPLITS if name in splits)


Measured = Annotated[
    tuple[Literal["train", "val", "test"], ...], Field(min_length=1), AfterValidator(_in_order)
]


class DatasetClass(Extended):
    """One class of the data set: a name, the label stored with its images, and its substructure."""

    LATER: ClassVar[tuple[str, ...]] = ("source",)
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="name of the class")
    label: int = Field(ge=0, le=999, description="what `label` holds for this class")
    substructure: Substructure
    source: SourceShown = Field(
        default=SourceShares(lensed=Fraction(1)),
        description="what becomes of the source: lensed, unlensed, absent, or a share of each",
    )

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


@lru_cache(maxsize=64)
def split_pattern(shares: Splits) -> NDArray[np.int8]:
    """Which split each block of a period goes to: always the one that is furthest behind its share."""
    wanted = [getattr(shares, name) for name in SPLITS]
    period = shares.denominator
    weights = np.array([int(share * period) for share in wanted], dtype=np.int64)
    given = np.zeros(len(SPLITS), dtype=np.int64)
    pattern = np.empty(period, dtype=np.int8)
    for block in range(period):
        behind = weights * (block + 1) - given * period
        chosen = int(np.argmax(np.where(weights > 0, behind, np.iinfo(np.int64).min)))
        pattern[block] = chosen
        given[chosen] += 1
    return pattern


class StorageOptions(Frozen):
    """How a data set is written. Not part of its identity: arrays are the same, or within a stated bound."""

    backend: Literal["zarr", "hdf5"] = Field(default="zarr", description="file format")
    profile: Literal["float32", "quantised", "archive"] = Field(
        default="float32",
        description="number format of the images and other maps. quantised: 16 bits, half the size;"
        " archive: these compressed, slower to read",
    )
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
    # pydantic gives a factory the fields above; a recipe that was read states what it means
    compensate_mass: bool = Field(
        default_factory=lambda above: above.get("family") == "survey",
        description="take the mass of the substructure off the main lens, so that the mass inside theta_E has"
        " the same law in every class; by default true for family survey, false for replica",
    )
    multipole: Multipole | None = Field(default=None, description="deformation of the main lens")
    lens_light: LensLight | None = Field(
        default=None, description="light of the lens; its centre is on the sky, not relative to the main lens"
    )
    bands: Bands | None = Field(
        default=None,
        description="bands of an image, from blue to red, by their names or with what differs from the"
        " instrument; without them an image has one channel",
    )
    instrument: Instrument
    noise: Noise = NoNoise()
    image_factor: float = Field(
        default=1.0, gt=0, le=1000, description="what the finished image is multiplied by before it is stored"
    )
    normalisation: Literal["clipped_maximum"] | None = Field(
        default=None,
        description="clipped_maximum: what is negative in the finished image becomes 0, then all bands are"
        " divided by their brightest pixel; brightness is lost. For replicas",
    )
    detectability: Measured | None = Field(
        default=None,
        description="splits whose samples say how visible their substructure is, such as [test]; takes longer"
        " than the images themselves",
    )
    products: Products = Field(
        default=(),
        description="what is stored of each sample beside its image: noise_free, convergence, deflection,"
        " subhalos; not part of the digest, because no image depends on it",
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
    def _light_on_the_sky(self) -> Self:
        """What lies around the lens is within bounds wherever the lens is."""
        lens = self.main_lens
        place = [max(abs(end) for end in prior.support) for prior in (lens.center_x, lens.center_y)]
        farthest = max(place) if lens.center is None else lens.center.reach
        for name, lights in (("source", self.sources), ("lens_light", self.lens_lights)):
            for k, light in enumerate(lights):
                if isinstance(light, GalaxyImage) or not isinstance(light.center, AroundLens):
                    continue
                if k > 0:
                    raise ValueError(
                        f"{name}, component {k + 1}: its centre counts from that of the first, so it"
                        " cannot be around_lens: give a disc, or center_x and center_y"
                    )
                reach = farthest + light.center.radius_theta_E * lens.theta_E.support[1]
                if CENTER_X.le is not None and reach > CENTER_X.le:
                    raise ValueError(
                        f"{name}.center can be {reach:.3g} arcsec off, but must be {CENTER_X.bounds}:"
                        " lower its radius_theta_E, or cut the priors of the main lens"
                    )
        return self

    @model_validator(mode="after")
    def _galaxies_are_lensed(self) -> Self:
        for one in self.classes:
            if isinstance(self.source, GalaxyImage) and one.source.lensed != 1:
                raise ValueError(
                    f"the source of class {one.name!r} is not always lensed, which images of galaxies must"
                    " be: leave its source out, or take Sersic sources"
                )
        return self

    @model_validator(mode="after")
    def _sizes_at_right_distances(self) -> Self:
        if self.mass_conversion.kind == "luminosity_shortcut":
            for one in self.classes:
                if isinstance(getattr(one.substructure, "profile", None), TruncatedNFW):
                    raise ValueError(
                        f"class {one.name!r} has TNFW subhalos, whose size needs the right distances, but"
                        " mass_conversion is luminosity_shortcut, which is for point masses: use"
                        " angular_diameter"
                    )
        return self

    @model_validator(mode="after")
    def _wavelengths_of_this_source(self) -> Self:
        shortcuts = {
            "mass_conversion is luminosity_shortcut": self.mass_conversion.kind == "luminosity_shortcut",
            "deflection_convention is set": self.deflection_convention is not None,
        }
        for one in self.classes:
            for shortcut in (said for said, taken in shortcuts.items() if taken):
                if isinstance(one.substructure, Vortices):
                    raise ValueError(
                        f"class {one.name!r} has vortices, whose length follows from theta_E and the right"
                        f" distances, but {shortcut}: leave it out, or use kind vortex"
                    )
        return self

    @model_validator(mode="after")
    def _visible_in_noise(self) -> Self:
        asked = self.detectability or ()
        if asked and self.noise.kind == "none":
            raise ValueError(
                "detectability is measured against the noise, but noise is none: set noise, or leave it out"
            )
        for one in self.classes:
            if asked and one.source.lensed != 1:
                raise ValueError(
                    f"detectability is of lensed images, but the source of class {one.name!r} is not always"
                    " lensed: leave detectability out"
                )
        if asked and len(self.bands or ()) > 1:
            raise ValueError(
                "detectability is measured in one band, but the recipe has several: leave it out"
            )
        empty = [name for name in asked if not getattr(self.splits, name)]
        if empty:
            raise ValueError(f"detectability names {' and '.join(empty)}, but that share of the splits is 0")
        return self

    @model_validator(mode="after")
    def _bands_fit(self) -> Self:
        lights = {"source": self.sources, "lens_light": self.lens_lights}
        magnitudes = {
            f"{name}.{k}.magnitude" if len(components) > 1 else f"{name}.magnitude": one.magnitude
            for name, components in lights.items()
            for k, one in enumerate(components)
        }
        check_bands(self.bands, self.instrument.supersampling, magnitudes)
        if isinstance(self.source, GalaxyImage) and self.channels > COLOURS:
            raise ValueError(
                f"an image of a galaxy has {COLOURS} colours, but the recipe has {self.channels} bands"
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
    def detectors(self) -> tuple[Detector, ...]:
        """The instrument of each band; one without bands."""
        if self.bands is None:
            return (self.detector,)
        if any(isinstance(band.psf, KernelFilePSF) for band in self.bands):
            raise TypeError("a band still names a kernel's file: load it by flows.catalogue.load_recipe")
        return tuple(band.detector(self.detector) for band in self.bands)

    @property
    def band_names(self) -> tuple[str, ...]:
        """What the channels of an image are called; empty without bands."""
        return tuple(band.name for band in self.bands or ())

    @property
    def channels(self) -> int:
        """How many bands an image has."""
        return len(self.bands or (None,))

    @property
    def sources(self) -> tuple[SersicEllipse | GalaxyImage, ...]:
        """All components of the source."""
        return self.source if isinstance(self.source, tuple) else (self.source,)

    def galaxies_of_split(self, split: int) -> tuple[int, ...]:
        """Galaxies that only this entry of `SPLITS` shows: they take turns as blocks of samples do."""
        assert isinstance(self.source, GalaxyImage)
        pattern = split_pattern(self.splits)
        return tuple(one for k, one in enumerate(self.source.chosen) if pattern[k % len(pattern)] == split)

    @property
    def lens_lights(self) -> tuple[SersicEllipse, ...]:
        """All components of the light of the lens."""
        if self.lens_light is None:
            return ()
        return self.lens_light if isinstance(self.lens_light, tuple) else (self.lens_light,)

    @property
    def physics_json(self) -> str:
        """Canonical JSON of what determines the images, and nothing else."""
        beside = {"name", "family", "description", "products", "engine", "storage", "instrument"}
        beside |= {name for name in OPTIONAL if getattr(self, name) is None}
        # recipes from before there was compensation keep their digest
        beside |= set() if self.compensate_mass else {"compensate_mass"}
        content = self.model_dump(mode="json", exclude=beside)
        if isinstance(self.source, GalaxyImage):
            # where the file is and how its galaxies were chosen does not matter, which they are does
            assert self.source.chosen
            content["source"] = self.source.model_dump(mode="json", exclude={"file", "choose"})
        if self.bands is None:
            return canonical_json(content | {"instrument": self.detector.model_dump(mode="json")})
        # by their numbers: said for a band or for the instrument is the same
        numbers = zip(self.bands, self.detectors, strict=True)
        content["bands"] = [{"name": b.name, "instrument": d.model_dump(mode="json")} for b, d in numbers]
        return canonical_json(content)

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

    def split_positions(self, sample_ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Which entry of `SPLITS` each sample is in, as its block is: one sample of each class."""
        return split_pattern(self.splits)[sample_ids // len(self.classes) % self.splits.denominator]
