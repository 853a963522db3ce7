"""What a run folder holds beside its weights, and what a report says. All of it is plain JSON."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.columns import ColumnSpec
from schemas.experiment import ExperimentRecipe, Target
from schemas.frozen import Frozen
from schemas.store import ClassSpec, Digest


class FittedStretch(Frozen):
    """The stretch as fitted on the training images: (asinh(x / softening) - mean) / spread."""

    kind: Literal["asinh"] = "asinh"
    softening: float = Field(gt=0, description="in the unit of the images")
    mean: float
    spread: float = Field(gt=0)


class ClassifierHead(Frozen):
    """What the outputs of a classifier mean."""

    kind: Literal["classification"] = "classification"
    classes: tuple[ClassSpec, ...] = Field(min_length=2, description="one output each, in this order")
    most_frequent: int = Field(ge=0, description="the output of the class with the most training samples")


class FittedTarget(Frozen):
    """A target with its standardisation: output = (transform(value) - mean) / spread."""

    target: Target
    unit: str
    mean: float
    spread: float = Field(gt=0)


class RegressorHead(Frozen):
    """What the outputs of a regressor mean."""

    kind: Literal["regression"] = "regression"
    targets: tuple[FittedTarget, ...] = Field(min_length=1)
    labels: tuple[int, ...] = Field(description="classes that all targets apply to")


Head = Annotated[ClassifierHead | RegressorHead, Field(discriminator="kind")]


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


class RunRecord(Frozen):
    """Written last: a folder without it is no finished run."""

    format_version: Literal[1] = 1
    experiment: ExperimentRecipe
    experiment_digest: Digest
    data: TrainingData
    head: Head
    stretch: FittedStretch
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


class Interval(Frozen):
    """A number with its 95% bootstrap interval over samples."""

    value: float
    low: float
    high: float


class ClassificationMetrics(Frozen):
    """How well classes are told apart. AUCs are areas under ROC curves, one class against the rest."""

    kind: Literal["classification"] = "classification"
    accuracy: Interval
    auc_macro: Interval
    auc_micro: float
    auc: dict[str, float] = Field(description="by class")
    confusion: tuple[tuple[int, ...], ...] = Field(description="row: true class, column: predicted class")
    constant_accuracy: float = Field(description="always the most frequent class of the training samples")


class TargetMetrics(Frozen):
    """How well one number is predicted, in the unit of the learned quantity."""

    target: str
    unit: str
    mae: Interval
    rmse: float
    r2: float
    percentage_error: float | None = Field(
        description="median of |predicted - true| / |true| of the physical value, %; None where it has none"
    )
    constant_mae: Interval = Field(description="MAE of always predicting the mean of the training samples")
    mae_gain: Interval = Field(description="constant MAE minus MAE, paired")


class RegressionMetrics(Frozen):
    """How well numbers are predicted."""

    kind: Literal["regression"] = "regression"
    targets: tuple[TargetMetrics, ...]


Metrics = Annotated[ClassificationMetrics | RegressionMetrics, Field(discriminator="kind")]


class Report(Frozen):
    """What an evaluation says."""

    format_version: Literal[1] = 1
    run: str
    experiment: str
    model: str
    experiment_digest: Digest
    store: str
    store_recipe: str
    store_digest: Digest
    same_recipe: bool = Field(description="whether the data are of the recipe that the model was trained on")
    split: str
    samples: int
    headline: str
    metrics: Metrics
    ms_per_image: float = Field(description="prediction time on this device, stretch included")
    device: str
    parameters: int
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
