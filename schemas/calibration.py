"""What makes probabilities and intervals honest, fitted on the validation split, and how well it did."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.frozen import Frozen
from schemas.metrics import Interval


class Temperature(Frozen):
    """Of a classifier: outputs are divided by it before they become probabilities."""

    kind: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0, description="above 1: the network was too sure of itself")
    samples: int = Field(description="validation samples that it was fitted on")


class ConformalTarget(Frozen):
    """Half widths of intervals around the prediction of one target."""

    target: str
    levels: tuple[float, ...] = Field(description="shares of samples that the intervals are to hold")
    half_widths: tuple[float, ...] = Field(
        description="in the unit that is learned, or in predicted sigmas if the model predicts them"
    )
    in_sigmas: bool
    samples: int = Field(description="validation samples that have the target")


class Conformal(Frozen):
    """Of a regressor: split-conformal intervals (Vovk et al. 2005, Lei et al. 2018)."""

    kind: Literal["conformal"] = "conformal"
    targets: tuple[ConformalTarget, ...] = Field(description="those that enough validation samples have")
    samples: int


class Thresholds(Frozen):
    """Of an anomaly detector: scores that a share of ordinary validation samples exceeds."""

    kind: Literal["thresholds"] = "thresholds"
    shares: tuple[float, ...] = Field(
        description="of ordinary samples above the score; those that the number of samples allows"
    )
    scores: tuple[float, ...]
    samples: int


Calibration = Annotated[Temperature | Conformal | Thresholds, Field(discriminator="kind")]


class ReliabilityBin(Frozen):
    """Predictions of about the same confidence."""

    low: float
    high: float
    samples: int
    confidence: float = Field(description="mean probability of the predicted class")
    right: Interval = Field(description="share of them that are right, with Wilson's interval")


class Coverage(Frozen):
    """How many true values predicted intervals hold, or how many ordinary scores a threshold."""

    target: str = Field(description="name of the target; anomaly_score for thresholds")
    level: float = Field(description="the share that they should hold")
    covered: Interval = Field(description="the share that they do hold, with Wilson's interval")
    before: float | None = Field(
        default=None,
        description="the share within as many predicted sigmas as a Gaussian needs, not calibrated",
    )
    width: float = Field(description="median width, in the unit that is learned; of a threshold, its score")
    samples: int


class Reliability(Frozen):
    """What was measured of a calibration on samples that it was not fitted on."""

    error_before: float | None = Field(default=None, description="expected calibration error without it")
    error: Interval | None = Field(default=None, description="expected calibration error with it")
    error_by_chance: float | None = Field(
        default=None, description="what perfect probabilities would show in as many samples"
    )
    bins: tuple[ReliabilityBin, ...] = ()
    coverage: tuple[Coverage, ...] = ()
