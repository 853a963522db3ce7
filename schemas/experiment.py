"""An experiment recipe: which data, which model, which goal, how it is trained."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from schemas.expectation import Expectation
from schemas.frozen import Extended, canonical_json, sha256_of
from schemas.objective import Classification, CrossEntropyThenBCE, Name, Objective
from schemas.placement import Here, Placement
from schemas.preparation import AnyStretch, AsinhStretch, Augmentation


class DataOptions(Extended):
    """Which samples of a store are used, and how their images come to the device."""

    LATER: ClassVar[tuple[str, ...]] = ("mode", "labels")

    store: str | None = Field(
        default=None, description="path of the store; the command's --data goes before it"
    )
    classes: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="classes to use; all of the store when left out"
    )
    max_per_class: int | None = Field(
        default=None, ge=1, description="at most so many training samples of each class, the first ones"
    )
    labels: Literal["true", "shuffled"] = Field(
        default="true",
        description="shuffled: samples get the labels and parameters of others, in training and wherever the"
        " run is measured, so that an honest score is that of a guess",
    )
    mode: Literal["auto", "resident", "streamed"] = Field(
        default="auto",
        description="resident: images stay on the device or in memory; auto: streamed if they do not fit",
    )

    @model_validator(mode="after")
    def _each_class_once(self) -> Self:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is listed twice")
        return self


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


class Optimiser(Extended):
    """AdamW with a linear warm-up and a cosine to nothing."""

    LATER: ClassVar[tuple[str, ...]] = ("layer_decay",)
    kind: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="largest step size")
    weight_decay: float = Field(default=0.05, ge=0, le=1, description="decay of weight matrices")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="part of all steps that the warm-up takes")
    clip: float = Field(default=1.0, gt=0, description="largest norm of a gradient")
    layer_decay: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="each layer learns by this factor slower than the one after it; all alike when left out",
    )


class Training(Extended):
    """How long, in which portions, with which numbers."""

    LATER: ClassVar[tuple[str, ...]] = ("average", "compile", "devices", "checkpoint_minutes")
    epochs: int = Field(ge=1, le=100_000, description="passes over the training samples")
    batch_size: int = Field(default=64, ge=1, le=65_536, description="samples per step")
    patience: int | None = Field(
        default=None, ge=1, description="stop after so many epochs without a better validation loss"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 on a GPU, float32 on a CPU"
    )
    average: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="weights are averaged over steps with this decay, and the average is what is kept",
    )
    compile: bool = Field(default=False, description="translate the network by torch.compile")
    devices: int = Field(
        default=1, ge=1, le=1024, description="GPUs, or processes on a CPU, that share every batch"
    )
    checkpoint_minutes: float = Field(
        default=10.0, ge=0, description="besides the end of each epoch, a checkpoint is written this often"
    )


class ExperimentRecipe(Extended):
    """Everything that makes a trained model, the data apart."""

    LATER: ClassVar[tuple[str, ...]] = ("placement",)

    name: Name
    description: str = Field(default="", description="purpose, duration and expected score, for people")
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="initial weights, order of samples, augmentation"
    )
    data: DataOptions = DataOptions()
    objective: Objective
    model: ModelOptions = ModelOptions()
    stretch: AnyStretch = AsinhStretch()
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    training: Training
    expectation: Expectation | None = Field(
        default=None, description="what a training reaches on which data; `evaluate` says whether it did"
    )
    placement: Placement = Field(
        default=Here(), description="where it is trained and measured when a flow does so"
    )

    @model_validator(mode="after")
    def _the_loss_changes_in_time(self) -> Self:
        loss = self.objective.loss if isinstance(self.objective, Classification) else None
        if isinstance(loss, CrossEntropyThenBCE) and loss.after_epochs >= self.training.epochs:
            raise ValueError(
                f"the loss changes after {loss.after_epochs} epochs, but there are"
                f" {self.training.epochs}: lower objective.loss.after_epochs or train for longer"
            )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of what determines the outcome: not of name, description, expectation or the store's path.

        Nor of how images come to the device, for the batches are the same, nor of where that device is.
        """
        content = self.model_dump(
            mode="json",
            exclude={
                "name": True,
                "description": True,
                "expectation": True,
                "placement": True,
                "data": {"store", "mode"},
            },
        )
        # how often a training is saved does not change it
        content["training"].pop("checkpoint_minutes", None)
        # experiments from before this could be said keep their digest
        if not content["objective"].get("allow_derived"):
            content["objective"].pop("allow_derived", None)
        # a file that is not read determines nothing
        if not self.model.pretrained:
            content["model"].pop("weights", None)
        return sha256_of(canonical_json(content))
