"""All of it: the real command with its own Prefect server and Dask workers, then again."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import extras, pipeline, running
from flows.assess import evaluate_flow, metric_rows, report_text
from flows.experiments import DEFAULT_EXPERIMENTS, data_path
from flows.fitting import train_flow
from flows.pipeline import pipeline_flow
from schemas.errors import FlowError, RecipeError, UnknownNameError
from schemas.placement import OnWorkPool
from schemas.report import Report
from schemas.run import RunRecord
from storage.verify import verify
from tests.reports import KINDS, full_report

EXPERIMENTS = {
    "classify": "objective: {kind: classification}",
    "regress": "objective: {kind: regression, targets: [{column: theta_E}]}",
}


@pytest.fixture
def recipes(tmp_path: Path) -> list[Path]:
    """Experiments of one epoch, as files."""
    paths = []
    for name, objective in EXPERIMENTS.items():
        paths.append(tmp_path / f"{name}.yaml")
        paths[-1].write_text(f"name: {name}\n{objective}\ntraining: {{epochs: 1, batch_size: 16}}\n")
    return paths


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _measured(name: str) -> bool:
    """Whether a file is of a measurement, which is made again and written down again."""
    return "/reports/" in name or name.endswith("/looks.jsonl")


@pytest.mark.timeout(600)  # two whole pipelines on a busy machine
def test_one_command_does_it_all_and_resumes(
    start: Callable[..., Any], recipes: list[Path], tmp_path: Path, small_overrides: list[str]
) -> None:
    out = tmp_path / "all" / "of it"
    words = [word for one in small_overrides for word in ("--set", one)]
    arguments = ["run", "tiny", *recipes, "--out", out, "--workers", "2", *words, "--quiet"]
    command = start(*arguments)
    said = command.wait()
    assert said.code == 0, said
    assert "Traceback" not in said.err
    command.wait_until_alone()
    assert verify(out / "tiny.zarr").sound
    assert {path.name for path in out.iterdir()} == {"tiny.zarr", "runs"}
    lines = said.out.splitlines()
    assert "60 images in 9 shards" in lines[0]
    for name in EXPERIMENTS:
        run = out / "runs" / name
        record = RunRecord.model_validate_json((run / "run.json").read_bytes())
        assert record.data.train_samples == 42
        (folder,) = (run / "reports").iterdir()
        report = Report.model_validate_json((folder / "report.json").read_bytes())
        assert f"report: {folder / 'report.html'}" in lines
        assert f"{name}: {report.headline}" in lines
        assert (folder / "report.html").stat().st_size > 10_000
    # path of the report and the headline come last
    assert lines[-2].startswith("report: ")
    assert lines[-1].startswith("regress: theta_E MAE ")

    kept = {name: content for name, content in _files(out).items() if not _measured(name)}
    last = start(*arguments)
    said = last.wait()
    assert said.code == 0, said
    last.wait_until_alone()
    assert "all there before" in said.out
    assert {name: content for name, content in _files(out).items() if not _measured(name)} == kept

    # `tiny` does not compensate mass
    pages = set(out.rglob("report.html"))
    gated = start(*arguments, "--audit")
    said = gated.wait()
    assert said.code == 1, said
    gated.wait_until_alone()
    assert "labels leak: total mass" in said.err
    assert "Traceback" not in said.err
    assert {path.name for path in (out / "audit").iterdir()} == {"audit.json", "audit.png"}
    assert set(out.rglob("report.html")) == pages


# -- refused before anything is started or written


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def started() -> Any:
        raise AssertionError("a server was started although the input is bad")

    monkeypatch.setattr(running, "prefect_api", started)


@pytest.mark.parametrize(
    ("recipe", "experiments", "overrides", "error", "says"),
    [
        ("tinny", ["classify_tiny"], [], UnknownNameError, "unknown recipe 'tinny'"),
        ("tiny", ["classify_tinny"], [], UnknownNameError, "unknown experiment 'classify_tinny'"),
        ("tiny", ["classify_tiny"], ["sed=1"], RecipeError, "unknown key"),
        ("tiny", ["classify_tiny", "none.yaml"], [], RecipeError, "cannot read the recipe"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    tmp_path: Path,
    recipe: str,
    experiments: list[str],
    overrides: list[str],
    error: type[Exception],
    says: str,
) -> None:
    with pytest.raises(error, match=says):
        running.run(recipe, experiments, tmp_path / "out", overrides=overrides)
    assert not list(tmp_path.iterdir())


# -- a deployed pipeline


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine without the extra; what was simulated there."""
    simulated: list[str] = []

    def simulate(recipe: str, *_: Any, **__: Any) -> None:
        simulated.append(recipe)
        raise StopIteration

    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    monkeypatch.setattr(pipeline, "simulate_flow", simulate)
    return simulated


def test_what_cannot_be_trained_is_refused_before_anything_is_simulated(
    no_training: list[str], tmp_path: Path
) -> None:
    with pytest.raises(FlowError, match="training needs torch"):
        pipeline_flow.fn("tiny", ["classify_tiny"], str(tmp_path))
    elsewhere = OnWorkPool(pool="gpu")
    with pytest.raises(RecipeError, match="the same name"):
        pipeline_flow.fn("tiny", ["classify_tiny"] * 2, str(tmp_path), placement=elsewhere)
    assert not no_training
    with pytest.raises(StopIteration):
        pipeline_flow.fn("tiny", ["classify_tiny"], str(tmp_path), placement=elsewhere)
    assert no_training == ["tiny"]


@pytest.mark.usefixtures("no_training")
def test_flows_that_train_or_measure_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train.fit", "train.evaluate"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(FlowError, match="training needs torch"):
        train_flow.fn("classify_tiny", str(tmp_path), str(tmp_path / "run"))
    with pytest.raises(FlowError, match="training needs torch"):
        evaluate_flow.fn(str(tmp_path / "run"), str(tmp_path))


def test_a_report_made_elsewhere_is_told_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", *(name for name in sys.modules if name.startswith("train."))):
        monkeypatch.setitem(sys.modules, name, None)
    for kind in KINDS:
        assert "report.html" in report_text(full_report(kind), Path("/report.html"))


def test_the_defaults_are_shipped_and_those_of_the_deployment() -> None:
    parameters = pipeline_flow.parameters.properties
    assert parameters["recipe"]["default"] == pipeline.DEFAULT_RECIPE
    assert parameters["experiments"]["default"] == list(DEFAULT_EXPERIMENTS)
    assert data_path(Path("runs"), pipeline.DEFAULT_RECIPE) == Path("runs/tiny.zarr")


def test_rows_of_metrics_show_the_constant_beside_them() -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    target = {
        "target": "theta_E",
        "unit": "arcsec",
        "mae": interval,
        "rmse": interval,
        "r2": interval,
        "bias": interval,
        "percentage_error": 3.0,
        "constant_mae": {**interval, "value": 0.7},
        "mae_gain": interval,
    }
    digest = "0" * 64
    report = Report.model_validate_json(
        json.dumps(
            {
                "run": "r",
                "experiment": "e",
                "model": "m",
                "experiment_digest": digest,
                "store": "s",
                "store_recipe": "t",
                "store_digest": digest,
                "same_recipe": True,
                "split": "test",
                "samples": 3,
                "headline": "h",
                "metrics": {"kind": "regression", "targets": [target]},
                "ms_per_image": 1.0,
                "device": "CPU",
                "parameters": 1,
                "versions": {},
            }
        )
    )

    def row(metric: str, value: str, interval: str = "", constant: str = "") -> dict[str, str]:
        told = {"metric": metric, "value": value, "interval": interval}
        return {**told, "baseline": "", "constant": constant}

    assert metric_rows(report) == [
        row("MAE theta_E [arcsec]", "0.5", interval="0.4 to 0.6", constant="0.7"),
        row("RMSE theta_E [arcsec]", "0.5", interval="0.4 to 0.6"),
        row("R2 theta_E", "0.5", interval="0.4 to 0.6"),
        row("bias theta_E [arcsec]", "0.5", interval="0.4 to 0.6"),
        row("median error theta_E [%]", "3"),
        row("time per image [ms]", "1"),
    ]
