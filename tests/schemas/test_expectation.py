"""What an experiment expects, and whether a report has it."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.expectation import Expectation, judge
from schemas.metrics import Interval, Score
from schemas.report import Baseline, Report, Verdict

MakeReport = Callable[..., Report]


def _score(name: str, value: float, half_width: float = 0.01, better: Any = "higher") -> Score:
    interval = Interval(value=value, low=value - half_width, high=value + half_width)
    return Score(name=name, value=interval, better=better, chance=0.5)


@pytest.fixture
def report() -> MakeReport:
    """A report with the given scores, and baselines with others; the rest is of no matter."""

    def make(scores: list[Score], baseline: list[Score] | None = None, **changes: Any) -> Report:
        beside = [Baseline(kind="components", what="principal components", scores=tuple(baseline or ()))]
        content = {"store_recipe": "model_ii", "split": "test", "scores": tuple(scores)}
        content["baselines"] = tuple(beside if baseline is not None else ())
        return Report.model_construct(**(content | changes))  # type: ignore[arg-type]

    return make


def _expected(**changes: Any) -> Expectation:
    return Expectation(**({"data": "model_ii", "score": "auc_macro"} | changes))


@pytest.mark.parametrize(
    ("bounds", "value", "met"),
    [
        ({"at_least": 0.98}, 0.98, True),
        ({"at_least": 0.98}, 0.979, False),
        ({"at_most": 0.25}, 0.25, True),
        ({"at_most": 0.25}, 0.26, False),
        ({"at_least": 0.47, "at_most": 0.53}, 0.5, True),
        ({"at_least": 0.47, "at_most": 0.53}, 0.46, False),
        ({"at_least": 0.47, "at_most": 0.53}, 0.54, False),
    ],
)
def test_bounds_include_their_ends(
    report: MakeReport, bounds: dict[str, float], value: float, met: bool
) -> None:
    verdict = judge(_expected(**bounds), report([_score("auc_macro", value)]))
    assert verdict is not None
    assert verdict.met == met


@pytest.mark.parametrize(
    ("better", "value", "beside", "met"),
    [
        ("higher", 0.8, 0.7, True),
        ("higher", 0.8, 0.785, False),
        ("higher", 0.7, 0.8, False),
        ("lower", 0.2, 0.3, True),
        ("lower", 0.2, 0.215, False),
    ],
)
def test_whole_intervals_are_compared_with_principal_components(
    report: MakeReport, better: str, value: float, beside: float, met: bool
) -> None:
    made = report([_score("auc_macro", value, better=better)], [_score("auc_macro", beside, better=better)])
    assert judge(_expected(above="components"), made) == Verdict(
        expected="AUC macro above principal components", met=met
    )


def test_without_principal_components_nobody_can_say_that_they_are_beaten(report: MakeReport) -> None:
    verdict = judge(_expected(above="components"), report([_score("auc_macro", 0.99)]))
    assert verdict is not None
    assert not verdict.met


@pytest.mark.parametrize("other", [{"store_recipe": "tiny"}, {"split": "val"}])
def test_other_data_are_not_judged(report: MakeReport, other: dict[str, Any]) -> None:
    assert judge(_expected(at_least=0.1), report([_score("auc_macro", 0.9)])) is not None
    assert judge(_expected(at_least=0.1), report([_score("auc_macro", 0.9)], **other)) is None


def test_a_score_that_is_not_there_is_not_judged(report: MakeReport) -> None:
    assert judge(_expected(at_least=0.1), report([_score("auc_all", 0.9)])) is None


def test_an_expectation_expects_something() -> None:
    with pytest.raises(ValidationError, match="at_least, at_most or above"):
        _expected()


def test_it_reads_as_a_sentence() -> None:
    expected = _expected(at_least=0.47, at_most=0.53)
    assert str(Verdict(expected=str(expected), met=False)) == (
        "expected AUC macro at least 0.47 and at most 0.53: NOT met"
    )
