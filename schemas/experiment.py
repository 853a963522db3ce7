"""An experiment recipe: which data, which model, which goal, how it is trained."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from schemas.frozen import Extended, Frozen, canonical_json, sha256_of

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class DataOptions(Frozen):
    """Which samples of a store are used."""

    store: str | None = Field(
        default=None, description="path of the store; the command's --data goes before it"
    )
    classes: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="classes to use; all of the store when left out"
    )
    max_per_class: int | None = Field(
        default=None, ge=1, description="at most so many training samples of each class, the first ones"
    )

    @model_validator(mode="after")
    def _each_class_once(self) -> Self:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is listed twice")
        return self


class Classification(Frozen):
    """Which class an image belongs to."""

    kind: Literal["classification"] = "classification"


class Target(Frozen):
    """A column of the store that a model is to predict."""

    column: str = Field(min_length=1, description="name of the column")
    transform: Literal["none", "log10"] = Field(
        default="none", description="what is learned: the value itself or its decimal logarithm"
    )

    @property
    def name(self) -> str:
        """How the learned quantity is called in tables."""
        return self.column if self.transform == "none" else f"log10({self.column})"


class Regression(Frozen):
    """Numbers that describe a sample; those to which a column does not apply are left out."""

    kind: Literal["regression"] = "regression"
    targets: tuple[Target, ...] = Field(min_length=1, max_length=64)
    allow_derived: bool = Field(
        default=False,
        description="accept columns marked as derived, such as theta_E_smooth; they betray the class",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        columns = [target.column for target in self.targets]
        if len(set(columns)) < len(columns):
            raise ValueError("a column is listed twice")
        return self


Objective = Annotated[Classification | Regression, Field(discriminator="kind")]


class ModelOptions(Extended):
    """A network: one of our own or any of timm's, by its name."""

    LATER: ClassVar[tuple[str, ...]] = ("pretrained", "weights")
    name: str = Field(
        default="lensmill_stem_vit",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$",
        description="`lensmill models` lists them",
    )
    pretrained: bool = Field(
        default=False,
        description="start from trained weights: of the file `weights`, or else timm's of this name",
    )
    weights: str | None = Field(
        default=None,
        min_length=1,
        description="file of trained weights, .safetensors, .pth, .pt or .bin; unused unless `pretrained`",
    )


class AsinhStretch(Frozen):
    """asinh(x / softening), then zero mean and unit spread over the training images."""

    kind: Literal["asinh"] = "asinh"
    softening: float | None = Field(
        default=None,
        gt=0,
        description="in the unit of the images; estimated from the training images when left out",
    )


class Augmentation(Frozen):
    """Exact symmetries, drawn anew for each batch: they move no flux between pixels."""

    quarter_turns: bool = Field(default=False, description="turn by a random multiple of 90 degrees")
    flips: bool = Field(default=False, description="mirror a random half of the images")


class Optimiser(Frozen):
    """AdamW with a linear warm-up and a cosine to nothing."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="largest step size")
    weight_decay: float = Field(default=0.05, ge=0, le=1, description="decay of weight matrices")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="part of all steps that the warm-up takes")
    clip: float = Field(default=1.0, gt=0, description="largest norm of a gradient")


class Training(Frozen):
    """How long, in which portions, with which numbers."""

    epochs: int = Field(ge=1, le=100_000, description="passes over the training samples")
    batch_size: int = Field(default=64, ge=1, le=65_536, description="samples per step")
    patience: int | None = Field(
        default=None, ge=1, description="stop after so many epochs without a better validation loss"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 on a GPU, float32 on a CPU"
    )


class ExperimentRecipe(Frozen):
    """Everything that makes a trained model, the data apart."""

    name: Name
    description: str = Field(default="", description="purpose, duration and expected score, for people")
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="initial weights, order of samples, augmentation"
    )
    data: DataOptions = DataOptions()
    objective: Objective
    model: ModelOptions = ModelOptions()
    stretch: AsinhStretch = AsinhStretch()
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    training: Training

    @property
    def digest(self) -> str:
        """SHA-256 of what determines the outcome: not of the name, the description or the store's path."""
        content = self.model_dump(mode="json", exclude={"name": True, "description": True, "data": {"store"}})
        # experiments from before this could be said keep their digest
        if not content["objective"].get("allow_derived"):
            content["objective"].pop("allow_derived", None)
        # a file that is not read determines nothing
        if not self.model.pretrained:
            content["model"].pop("weights", None)
        return sha256_of(canonical_json(content))
