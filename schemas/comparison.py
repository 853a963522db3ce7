"""What a comparison of runs says: scores on exactly the same samples, and which differences are real."""

from typing import Literal

from pydantic import Field

from schemas.frozen import Frozen
from schemas.metrics import Interval, Score
from schemas.store import Digest

# a corrected p below this is beyond chance
SURE = 0.05


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


class RecipeDifference(Frozen):
    """A key of the experiments' recipes that has not the same value in all of them."""

    key: str = Field(description="as --set takes it")
    values: tuple[str, ...] = Field(description="in the order of the runs, long ones cut; - is no such key")


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
    recipe_differences: tuple[RecipeDifference, ...] = Field(
        default=(), description="how the experiments differ, but for names, paths and expectations"
    )
    warnings: tuple[str, ...] = ()
    versions: dict[str, str]
    at: str = Field(description="UTC, ISO 8601")

    def reference(self, score: str) -> str:
        """The run that the others are compared with in a score."""
        return next(one.against for one in self.differences if one.score == score)

    def standing(self, score: str) -> str:
        """What the run is that the others are compared with: best only where chance is excluded."""
        if self.against is not None:
            return "compared with"
        if all(one.verdict == "worse" for one in self._of(score)):
            return "best"
        return {"higher": "highest", "lower": "lowest"}[self._score(score).better]

    def conclusion(self, score: str) -> str:
        """One sentence: which runs are told apart in a score."""
        name = self.reference(score)
        said = {
            verdict: ", ".join(one.name for one in self._of(score) if one.verdict == verdict)
            for verdict in ("better", "worse", "not told apart")
        }
        if self.against is not None:
            told = [f"{verdict}: {names}" for verdict, names in said.items() if names]
            return f"compared with {name}, {'; '.join(told)}"
        extreme = {"higher": "highest", "lower": "lowest"}[self._score(score).better]
        if not said["not told apart"]:
            return f"{name} is best: better than {said['worse']} beyond chance"
        if not said["worse"]:
            return f"no run is best: {name} has the {extreme} value, but not beyond chance"
        return (
            f"{name} has the {extreme} value: better than {said['worse']} beyond chance,"
            f" not told apart from {said['not told apart']}"
        )

    def _of(self, score: str) -> list[Difference]:
        return [one for one in self.differences if one.score == score]

    def _score(self, name: str) -> Score:
        return next(one for one in self.contenders[0].scores if one.name == name)
