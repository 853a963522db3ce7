"""What `lensmill evaluate` prints and answers, and what Prefect's page says, of reports made by hand."""

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.assess import metric_rows, report_text
from tests.reports import DOUBT, LEAK, full_report, plain_report

Lensmill = Callable[..., Any]
FAILED = 1


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch, lensmill: Lensmill, tmp_path: Path) -> Callable[..., Any]:
    """The command on a report that is there already, on a terminal of 80 columns."""
    evaluate = pytest.importorskip("train.evaluate")

    def call(report: Any, *options: str) -> Any:
        monkeypatch.setattr(evaluate, "evaluate", lambda *_: report)
        monkeypatch.setattr(evaluate, "report_folder", lambda *_: tmp_path)
        return lensmill("evaluate", tmp_path, "--data", "tiny.zarr", *options)

    return call


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.commands.app import out

    monkeypatch.setattr(out, "width", 80)


@pytest.mark.parametrize("kind", ["classification", "regression", "anomaly"])
@pytest.mark.usefixtures("narrow")
def test_numbers_come_with_intervals_baseline_and_constant(evaluated: Callable[..., Any], kind: str) -> None:
    said = evaluated(full_report(kind))
    assert said.code == 0, said
    lines = said.out[: said.out.index("leak:")].splitlines()
    assert max(len(line) for line in lines) <= 80
    heads = next(line for line in lines if "metric" in line).split()
    assert heads == ["metric", "value", "95%", "baseline", "constant"]
    told = " ".join(said.out.split())
    for one in (f"leak: {LEAK}", f"warning: {DOUBT}", "Look 3 at these samples"):
        assert one in told


def test_each_pair_stands_beside_the_best_that_is_possible(evaluated: Callable[..., Any]) -> None:
    report = full_report("anomaly")
    assert "AUC of cdm against no_sub: 0.9651 (0.9591 to 0.9711), at most 0.9855\n" in evaluated(report).out
    known = [one.model_copy(update={"holds": False}) for one in report.bounds]
    told = " ".join(evaluated(report.model_copy(update={"bounds": tuple(known)})).out.split())
    assert "at most 0.9855 for who does not know the lens, which is the same in every image" in told
    assert "at most" not in evaluated(plain_report("anomaly")).out


def test_columns_that_nothing_is_known_for_are_left_out(evaluated: Callable[..., Any]) -> None:
    said = evaluated(plain_report("classification"))
    heads = next(line for line in said.out.splitlines() if "metric" in line).split()
    assert heads == ["metric", "value", "95%", "constant"]
    assert "leak" not in said.out
    assert "First look" in said.out


@pytest.mark.parametrize(("kind", "code"), [("full", FAILED), ("plain", 0)])
def test_strict_fails_where_a_leak_is_flagged(evaluated: Callable[..., Any], kind: str, code: int) -> None:
    report = full_report("anomaly") if kind == "full" else plain_report("anomaly")
    assert evaluated(report).code == 0
    assert evaluated(report, "--strict").code == code
    assert evaluated(report, "--strict", "--json").code == code
    warned = report.model_copy(update={"flags": tuple(one for one in report.flags if one.severity != "leak")})
    assert evaluated(warned, "--strict").code == 0


def test_the_page_opens_if_asked(
    evaluated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    evaluated(plain_report("anomaly"))
    assert not opened
    evaluated(plain_report("anomaly"), "--open")
    assert opened == [(tmp_path / "report.html").as_uri()]


def test_baselines_stand_beside_the_metrics() -> None:
    report = full_report("regression")
    rows = {row["metric"]: row for row in metric_rows(report)}
    simple = report.baselines[0].scores[0].value.value
    assert rows["MAE theta_E [arcsec]"]["baseline"] == f"{simple:.4g}"
    assert rows["MAE theta_E [arcsec]"]["constant"] == "0.143"
    assert rows["RMSE theta_E [arcsec]"]["baseline"] == ""
    assert rows["time per image in batches of 256 [ms]"]["value"] == "0.031"


def test_prefect_is_told_what_to_be_careful_about(tmp_path: Path) -> None:
    report = full_report("classification")
    text = report_text(report, tmp_path / "report.html")
    assert text.startswith("## classification_by_hand on model_ii, test\n\n**macro AUC 0.9812")
    for one in (f"**leak: {LEAK}**", f"**warning: {DOUBT}**", "Look 3 at these samples", "at most 0.9855"):
        assert one in text
    assert f"[report.html]({(tmp_path / 'report.html').as_uri()})" in text
    assert "leak" not in report_text(plain_report("classification"), tmp_path / "report.html")
