"""What a run folder holds beside its weights. All of it is plain JSON."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.calibration import Calibration
from schemas.columns import ColumnSpec
from schemas.experiment import ExperimentRecipe
from schemas.frozen import Extended, Frozen
from schemas.objective import ClassLoss, CrossEntropy, Method, NumberLoss, SquaredError, Target
from schemas.store import ClassSpec, Digest


class FittedStretch(Frozen):
    """The stretch as fitted on the training images: (asinh(x / softening) - mean) / spread."""

    kind: Literal["asinh"] = "asinh"
    softening: float = Field(gt=0, description="in the unit of the images")
    mean: float
    spread: float = Field(gt=0)


class FittedLog(FittedStretch):
    """The same with sign(x) log(1 + |x| / softening) in place of asinh."""

    kind: Literal["log"] = "log"  # type: ignore[assignment]


class FittedMaximum(Frozen):
    """(x / largest absolute pixel of the image - mean) / spread."""

    kind: Literal["max"] = "max"
    mean: float
    spread: float = Field(gt=0)


class FittedNone(Frozen):
    """(x - mean) / spread."""

    kind: Literal["none"] = "none"
    mean: float
    spread: float = Field(gt=0)


AnyFittedStretch = Annotated[
    FittedStretch | FittedLog | FittedMaximum | FittedNone, Field(discriminator="kind")
]


class ClassifierHead(Extended):
    """What the outputs of a classifier mean."""

    LATER: ClassVar[tuple[str, ...]] = ("loss", "weights")

    kind: Literal["classification"] = "classification"
    classes: tuple[ClassSpec, ...] = Field(min_length=2, description="one output each, in this order")
    most_frequent: int = Field(ge=0, description="the output of the class with the most training samples")
    loss: ClassLoss = Field(default=CrossEntropy(), description="what training made small")
    weights: tuple[float, ...] | None = Field(
        default=None, description="what a sample of each class counts in the loss; all alike when left out"
    )


class FittedTarget(Extended):
    """A target with its standardisation: output = (transform(value) - mean) / spread."""

    LATER: ClassVar[tuple[str, ...]] = ("period",)

    target: Target
    unit: str
    mean: float
    spread: float = Field(gt=0)
    period: float | None = Field(
        default=None, description="of a direction: values that differ by it are the same, rad"
    )


class RegressorHead(Extended):
    """What the outputs of a regressor mean; with learned variances, means first and then log variances."""

    LATER: ClassVar[tuple[str, ...]] = ("loss",)

    kind: Literal["regression"] = "regression"
    targets: tuple[FittedTarget, ...] = Field(min_length=1)
    labels: tuple[int, ...] = Field(description="classes that at least one target applies to")
    loss: NumberLoss = Field(default=SquaredError(), description="what training made small")


class AnomalyHead(Frozen):
    """What the outputs of an autoencoder mean: three numbers for each image."""

    kind: Literal["anomaly"] = "anomaly"
    classes: tuple[ClassSpec, ...] = Field(min_length=1, description="classes that are looked at")
    trained_on: tuple[int, ...] = Field(min_length=1, description="labels of the classes trained on")
    method: Method
    latent: int = Field(ge=1, description="numbers that an image is squeezed into")


Head = Annotated[ClassifierHead | RegressorHead | AnomalyHead, Field(discriminator="kind")]


class TrainingData(Frozen):
    """Where the training samples came from. They themselves are in samples.parquet by (seed, index)."""

    store: str = Field(description="path, as it was given")
    recipe_name: str
    recipe_digest: Digest
    seed: int
    image_shape: tuple[int, int, int] = Field(description="channels, y, x")
    bands: tuple[str, ...] = Field(default=(), description="names of the channels, if the recipe names them")
    pixel_scale_arcsec: float | None
    classes: tuple[ClassSpec, ...]
    columns: tuple[ColumnSpec, ...]
    train_samples: int
    val_samples: int


class NetworkInput(Frozen):
    """How a network is made to take the images of the data."""

    method: Literal["unchanged", "padded", "resized"]
    image_side: int = Field(ge=1, description="pixels of the images, each way")
    network_side: int = Field(ge=1, description="pixels of what the network is given, each way")
    options: dict[str, int] = Field(default={}, description="what timm was told: img_size, patch_size...")

    @property
    def short(self) -> str:
        """A few words for tables."""
        how = {"unchanged": "as is", "padded": "padded to", "resized": "resized to"}[self.method]
        size = "" if self.method == "unchanged" else f" {self.network_side}"
        told = [
            f"{name.removesuffix('_size')} {one}" for name, one in self.options.items() if name != "img_size"
        ]
        return f"{how}{size}" + "".join(f", {one}" for one in told)

    def __str__(self) -> str:
        images, network = (f"{side} x {side}" for side in (self.image_side, self.network_side))
        how = {
            "unchanged": "as they are",
            "padded": f"mirrored at the edges to {network}",
            "resized": f"resized to {network}",
        }[self.method]
        told = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return f"images of {images} pixels are taken {how}" + (f" ({told})" if told else "")


class InitialWeights(Frozen):
    """The trained weights that a training started from."""

    source: str = Field(description="timm's name with its tag, or the path of the file")
    sha256: Digest = Field(description="of the file")

    def __str__(self) -> str:
        return f"weights of {self.source} (SHA-256 {self.sha256[:12]}), the last layer new"


class RunIdentity(Frozen):
    """What must be the same for an unfinished run to be gone on with."""

    experiment_digest: Digest
    data_digest: Digest
    weights_sha256: Digest | None = Field(default=None, description="of the trained weights it starts from")

    def __str__(self) -> str:
        start = "" if self.weights_sha256 is None else f", from weights {self.weights_sha256[:12]}"
        return f"experiment {self.experiment_digest[:12]} on data {self.data_digest[:12]}{start}"


class RunRecord(Frozen):
    """Written last: a folder without it is no finished run."""

    format_version: Literal[1] = 1
    experiment: ExperimentRecipe
    experiment_digest: Digest
    data: TrainingData
    head: Head
    stretch: AnyFittedStretch
    parameters: int = Field(description="trainable numbers of the model")
    epochs: int = Field(description="passes done; fewer than asked for after an early stop")
    best_epoch: int = Field(description="the epoch whose weights were kept")
    val_loss: float | None
    train_seconds: float
    device: str
    versions: dict[str, str]
    weights_sha256: Digest
    network_input: NetworkInput | None = Field(
        default=None, description="how the network takes the images; runs from before do not say"
    )
    initial_weights: InitialWeights | None = Field(default=None, description="None: trained from scratch")
    images_at_once: int | None = Field(
        default=None, description="how many images of a batch fitted into memory; None: all of them"
    )
    compiled: bool = Field(default=False, description="whether torch.compile was in use")
    calibration: Calibration | None = Field(
        default=None, description="fitted on the validation split; None without one, or in runs from before"
    )
    mlflow_run: str | None = Field(
        default=None, description="its id in MLflow's book, if it was logged there"
    )
