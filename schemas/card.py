"""What goes with a model that is given away: what it was made from, how good it is, where it ends."""

from typing import Literal

from pydantic import Field

from schemas.calibration import Calibration
from schemas.frozen import Frozen
from schemas.metrics import Metrics, Score
from schemas.report import Baseline, Bound, Flag
from schemas.store import ClassSpec, Digest


class CardData(Frozen):
    """What a model was trained on."""

    recipe_name: str
    recipe_digest: Digest
    family: Literal["replica", "survey", "imported"] | None = Field(
        description="None: the data were not there when the model was exported"
    )
    seed: int
    samples: int
    image_shape: tuple[int, int, int] = Field(description="channels, y, x")
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    classes: tuple[ClassSpec, ...]


class CardEvaluation(Frozen):
    """The latest report on a model."""

    store_recipe: str
    store_digest: Digest
    same_recipe: bool
    split: str
    samples: int
    headline: str
    scores: tuple[Score, ...]
    metrics: Metrics | None = Field(default=None, description="by class or target; not in older cards")
    bounds: tuple[Bound, ...] = ()
    baselines: tuple[Baseline, ...]
    flags: tuple[Flag, ...]
    warnings: tuple[str, ...]
    at: str | None


class OnnxFile(Frozen):
    """The network as ONNX: stretch and resizing inside, any number of images at once."""

    file: str
    sha256: Digest
    input: str = Field(description="images as the data set has them: float32 (images, channels, y, x)")
    outputs: dict[str, tuple[str, ...]] = Field(description="names of the columns of each output")
    checked_images: int = Field(ge=0, description="compared with torch; 0: onnxruntime was not there")
    checked_on: Literal["training data", "random images"] | None = None
    largest_difference: float | None = Field(
        default=None, description="from torch, relative to the largest value of a column"
    )


class Card(Frozen):
    """card.json of an exported model."""

    format_version: Literal[1] = 1
    name: str
    description: str
    model: str
    parameters: int
    predicts: tuple[str, ...] = Field(description="columns of a prediction")
    experiment_digest: Digest
    weights_sha256: Digest
    starts_from: str | None = Field(description="trained weights that the training started from")
    data: CardData
    calibration: Calibration | None
    evaluation: CardEvaluation | None
    onnx: OnnxFile | None
    limits: tuple[str, ...]
    versions: dict[str, str]
    licence: str
    remarks: tuple[str, ...] = Field(default=(), description="what the export left out, and why")
    at: str = Field(description="UTC, ISO 8601")
