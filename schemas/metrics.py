"""How well a model does, in numbers: what an objective measures, and the scores that sum it up."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.frozen import Frozen


class Interval(Frozen):
    """A number with its 95% bootstrap interval over samples."""

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value


class ClassificationMetrics(Frozen):
    """How well classes are told apart, one class against the rest.

    AUCs are areas under ROC curves. Average precisions sum up precision-recall curves. Micro: every class of
    every sample is a case of its own.
    """

    kind: Literal["classification"] = "classification"
    accuracy: Interval
    auc_macro: Interval
    auc_micro: Interval
    auc: dict[str, Interval] = Field(description="by class")
    precision_macro: Interval = Field(description="mean of the average precisions of all classes")
    precision_micro: Interval = Field(description="average precision of all classes together")
    precision: dict[str, Interval] = Field(description="average precision by class")
    share: dict[str, float] = Field(
        description="of the samples, by class: the average precision of knowing nothing"
    )
    confusion: tuple[tuple[int, ...], ...] = Field(description="row: true class, column: predicted class")
    constant_accuracy: float = Field(description="always the most frequent class of the training samples")


class TargetMetrics(Frozen):
    """How well one number is predicted, in the unit of the learned quantity."""

    target: str
    unit: str
    mae: Interval
    rmse: Interval
    r2: Interval
    bias: Interval = Field(description="mean of predicted minus true")
    percentage_error: float | None = Field(
        description="median of |predicted - true| / |true| of the physical value, %; None where it has none"
    )
    mean_percentage_error: float | None = Field(
        default=None, description="its mean, which few samples near zero may rule"
    )
    constant_mae: Interval = Field(description="MAE of always predicting the mean of the training samples")
    mae_gain: Interval = Field(description="constant MAE minus MAE, paired")
    samples: int | None = Field(default=None, description="samples that the target applies to")
    sigma: float | None = Field(
        default=None,
        description="median of the predicted standard deviations, calibrated, if any are predicted",
    )
    within_sigma: float | None = Field(
        default=None, description="share of errors below that standard deviation; .683 is ideal"
    )


class RegressionMetrics(Frozen):
    """How well numbers are predicted."""

    kind: Literal["regression"] = "regression"
    targets: tuple[TargetMetrics, ...]


class Found(Frozen):
    """Anomalies that are found when a share of the ordinary samples is called anomalous."""

    class_name: str | None = Field(default=None, description="None: all other classes together")
    false_positives: float = Field(description="share of the ordinary samples")
    found: Interval = Field(description="share of the class")


class AnomalyMetrics(Frozen):
    """How well the score tells other classes from those trained on."""

    kind: Literal["anomaly"] = "anomaly"
    trained_on: tuple[str, ...]
    auc: dict[str, Interval] = Field(description="area under the ROC curve of each other class")
    auc_all: Interval = Field(description="of all other classes together")
    precision: dict[str, Interval] = Field(
        description="average precision of each other class among it and those trained on"
    )
    precision_all: Interval = Field(description="of all other classes together")
    share: dict[str, float] = Field(
        description="of each other class among it and those trained on: the precision of knowing nothing"
    )
    share_all: float = Field(description="of all other classes among the samples")
    found: tuple[Found, ...] = ()
    score: dict[str, float] = Field(description="median score by class; about 1 for those trained on")


Metrics = Annotated[ClassificationMetrics | RegressionMetrics | AnomalyMetrics, Field(discriminator="kind")]


class Score(Frozen):
    """One number that sums up a model, by the name that expectations and comparisons use."""

    name: str = Field(description="auc_macro, auc_all, mae.TARGET")
    unit: str = "1"
    value: Interval
    better: Literal["higher", "lower"]
    chance: float = Field(description="what knowing nothing scores")


def scores_of(metrics: Metrics) -> tuple[Score, ...]:
    """The scores that sum up metrics, the most important one first."""
    if isinstance(metrics, ClassificationMetrics):
        return (Score(name="auc_macro", value=metrics.auc_macro, better="higher", chance=0.5),)
    if isinstance(metrics, AnomalyMetrics):
        return (Score(name="auc_all", value=metrics.auc_all, better="higher", chance=0.5),)
    return tuple(
        Score(
            name=f"mae.{one.target}",
            unit=one.unit,
            value=one.mae,
            better="lower",
            chance=one.constant_mae.value,
        )
        for one in metrics.targets
    )
