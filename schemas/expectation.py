"""What a training of an experiment reaches, so that anyone can see whether it still does."""

from typing import Literal, Self

from pydantic import Field, model_validator

from schemas.frozen import Frozen
from schemas.numbers import score_words
from schemas.report import Report, Verdict


class Expectation(Frozen):
    """A score on the test split of some data. The score alone counts where no bound is given."""

    data: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name of the data recipe")
    overrides: tuple[str, ...] = Field(
        default=(), description="changes to that recipe, as after `lensmill simulate RECIPE --set`"
    )
    score: str = Field(description="auc_macro, auc_all, or mae.TARGET as in the report")
    at_least: float | None = None
    at_most: float | None = None
    above: Literal["components"] | None = Field(
        default=None, description="the whole 95% interval is better than that of principal components"
    )
    cpu_minutes: float | None = Field(
        default=None, gt=0, description="user and system time that the training may take, without simulation"
    )

    @model_validator(mode="after")
    def _something_is_expected(self) -> Self:
        if self.at_least is None and self.at_most is None and self.above is None:
            raise ValueError("give at_least, at_most or above")
        return self

    def __str__(self) -> str:
        told = [
            f"at least {self.at_least:g}" if self.at_least is not None else "",
            f"at most {self.at_most:g}" if self.at_most is not None else "",
            "above principal components" if self.above else "",
        ]
        return f"{score_words(self.score)} {' and '.join(one for one in told if one)}"


def judge(expectation: Expectation, report: Report) -> Verdict | None:
    """Whether a report is as expected; None where it is of other data, another split or has no such score."""
    if (report.store_recipe, report.split) != (expectation.data, "test"):
        return None
    found = {one.name: one for one in report.scores}.get(expectation.score)
    if found is None:
        return None
    value, wanted = found.value.value, []
    if expectation.at_least is not None:
        wanted.append(value >= expectation.at_least)
    if expectation.at_most is not None:
        wanted.append(value <= expectation.at_most)
    if expectation.above is not None:
        beside = [
            one
            for baseline in report.baselines
            if baseline.kind == expectation.above
            for one in baseline.scores
            if one.name == expectation.score
        ]
        higher = found.better == "higher"
        wanted.append(bool(beside))
        wanted += [
            found.value.low > one.value.high if higher else found.value.high < one.value.low for one in beside
        ]
    return Verdict(expected=str(expectation), met=all(wanted))
