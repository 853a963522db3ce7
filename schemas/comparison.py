"""What a comparison of runs says: scores on exactly the same samples, and which differences are real."""

from typing import Literal

from pydantic import Field

from schemas.frozen import Frozen
from schemas.metrics import Interval, Score
from schemas.store import Digest


class Contender(Frozen):
    """One of the runs."""

    name: str = Field(description="of its folder; the whole path where two folders have the same name")
    run: str = Field(description="path")
    experiment: str
    model: str
    parameters: int
    ms_per_image: float = Field(description="prediction time as its report has it")
    device: str = Field(description="where that was measured")
    trained_on: str = Field(description="name of the recipe")
    training_samples: int
    weights_sha256: Digest
    report: str = Field(description="folder of the report whose predictions were compared")
    measured_now: bool = Field(description="whether there was no report on these samples before")
    scores: tuple[Score, ...] = Field(description="on the common samples")


class Difference(Frozen):
    """How much another score one run has than another, paired over samples."""

    score: str
    unit: str = "1"
    name: str = Field(description="of the run")
    against: str = Field(description="name of the run that it is compared with")
    difference: Interval = Field(description="score of the run minus score of the other")
    p: float = Field(ge=0, le=1, description="two-sided, of no difference")
    p_corrected: float = Field(ge=0, le=1, description="by Holm, for all comparisons")
    verdict: Literal["better", "worse", "not told apart"] = Field(
        description="better or worse where the corrected p is below 0.05"
    )


class Comparison(Frozen):
    """Runs side by side."""

    format_version: Literal[1] = 1
    objective: Literal["classification", "regression", "anomaly"]
    store: str
    store_recipe: str
    store_digest: Digest
    split: str
    samples: int = Field(description="that all runs were measured on")
    resamples: int = Field(description="bootstrap resamples, the same for all runs")
    against: str | None = Field(
        default=None, description="name of the run to compare with, if chosen beforehand; None: the best"
    )
    comparisons: int = Field(description="that p is corrected for")
    contenders: tuple[Contender, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...] = ()
    versions: dict[str, str]
    at: str = Field(description="UTC, ISO 8601")
