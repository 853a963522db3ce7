"""Looks at a split are written down and told: by this run and by others, whole or torn, writable or not."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.generate import Order
from schemas.errors import WriteError
from schemas.experiment import ExperimentRecipe
from schemas.metrics import Interval, Score
from schemas.report import Look, Report
from schemas.tries import told, tries
from train.evaluate import evaluate, report_folder
from train.fit import fit

# what is looked for is in the report itself
pytestmark = pytest.mark.usefixtures("without_page")

MakeExperiment = Callable[..., ExperimentRecipe]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nobody measured anything yet."""
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run(classifier: Path, tmp_path: Path) -> Path:
    shutil.copytree(classifier, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def other(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> Path:
    """A run with other weights."""
    fit(experiment(seed=5), sound_store.root, tmp_path / "other", quiet=True)
    return tmp_path / "other"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_look_is_written_with_the_run_and_on_the_machine(
    home: Path, run: Path, sound_store: Order
) -> None:
    first = evaluate(run, sound_store.root)
    second = evaluate(run, sound_store.root)
    assert first.looks == ()
    (look,) = second.looks
    assert look.again
    assert look.scores == first.scores
    (ledger,) = (home / "looks").iterdir()
    assert ledger.name == f"{first.store_digest}-test.jsonl"
    assert _lines(ledger) == _lines(run / "looks.jsonl")
    assert [one["split"] for one in _lines(ledger)] == ["test", "test"]
    # a run folder that went elsewhere took its looks along
    shutil.rmtree(home)
    assert len(evaluate(run, sound_store.root).looks) == 2


def test_other_runs_are_told_apart(home: Path, run: Path, other: Path, sound_store: Order) -> None:
    evaluate(run, sound_store.root)
    evaluate(run, sound_store.root)
    looks = evaluate(other, sound_store.root).looks
    assert [look.again for look in looks] == [False, False]
    assert sorted(look.at for look in looks) == [look.at for look in looks]
    assert "Look 2 at these samples: 1 other model was measured" in told(looks)
    looks = evaluate(run, sound_store.root).looks
    assert [look.again for look in looks] == [True, True, False]
    assert "2 times before, which is no other try" in told(looks)


def test_another_split_and_other_data_are_other_samples(
    home: Path, run: Path, sound_store: Order, another_store: Callable[..., Path]
) -> None:
    evaluate(run, sound_store.root)
    assert evaluate(run, sound_store.root, "val").looks == ()
    assert evaluate(run, another_store("seed=77")).looks == ()
    assert len(list((home / "looks").iterdir())) == 3


def test_a_look_for_another_goal_is_known(
    home: Path, run: Path, regressor: Path, sound_store: Order, tmp_path: Path
) -> None:
    shutil.copytree(regressor, tmp_path / "regressor")
    evaluate(tmp_path / "regressor", sound_store.root)
    (look,) = evaluate(run, sound_store.root).looks
    assert (look.again, look.same_goal) == (False, False)
    assert "same_goal" not in (run / "looks.jsonl").read_text()


def test_torn_and_strange_lines_are_passed_over(home: Path, run: Path, sound_store: Order) -> None:
    evaluate(run, sound_store.root)
    (ledger,) = (home / "looks").iterdir()
    for path in (ledger, run / "looks.jsonl"):
        whole = path.read_text()
        path.write_text(f'{{"at": 1}}\nnonsense\n{whole}{whole[:40]}')
    assert len(evaluate(run, sound_store.root).looks) == 1
    assert len(evaluate(run, sound_store.root).looks) == 2


def test_a_ledger_that_cannot_be_written_is_warned_of(
    home: Path, run: Path, sound_store: Order, caplog: pytest.LogCaptureFixture
) -> None:
    home.write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        report = evaluate(run, sound_store.root)
    assert "other runs will not know of this look at the test split" in caplog.text
    assert report_folder(run, report).is_dir()
    assert len(_lines(run / "looks.jsonl")) == 1


def test_a_look_that_the_run_cannot_keep_gives_no_report(home: Path, run: Path, sound_store: Order) -> None:
    (run / "looks.jsonl").mkdir()
    with pytest.raises(WriteError, match=r"looks\.jsonl"):
        evaluate(run, sound_store.root)
    assert not list(run.glob("reports/*"))


def test_a_report_that_said_something_else_is_kept(home: Path, run: Path, sound_store: Order) -> None:
    folder = report_folder(run, evaluate(run, sound_store.root))
    for number in (1, 2):
        changed = json.loads((folder / "report.json").read_text())
        changed["metrics"]["accuracy"]["value"] = 0.01 * number
        (folder / "report.json").write_text(json.dumps(changed))
        report = evaluate(run, sound_store.root)
        kept = folder.with_name(f"{folder.name}-{number}")
        assert Report.model_validate_json((kept / "report.json").read_bytes()).metrics != report.metrics
        assert (kept / "predictions.parquet").is_file()
        assert Report.model_validate_json((folder / "report.json").read_bytes()) == report
    assert len(list((run / "reports").iterdir())) == 3


# -- what is told


def _look(weights: str, value: float, name: str = "auc_macro", again: bool = False) -> Look:
    better = "higher" if name.startswith("auc") else "lower"
    unit = "1" if name.startswith("auc") else "arcsec"
    score = Score(name=name, unit=unit, value=Interval(value=value, low=0, high=1), better=better, chance=0.5)
    return Look(
        at="2026-01-01T00:00:00+00:00",
        run=f"/runs/{weights}",
        experiment="e",
        experiment_digest="0" * 64,
        weights_sha256=weights * 64,
        scores=(score,),
        again=again,
    )


def test_the_first_look() -> None:
    assert told(()) == "First look at these samples, as far as this run and this machine know."


def test_the_best_of_the_others_is_told() -> None:
    said = told([_look("a", 0.91), _look("b", 0.97), _look("b", 0.97), _look("c", 0.2)])
    assert "Look 4 at these samples: 3 other models were measured on them before" in said
    assert "the best with AUC macro 0.97 (b)" in said
    said = told([_look("a", 0.91, "mae.theta_E"), _look("b", 0.2, "mae.theta_E"), _look("c", 0.99)])
    assert "the best with MAE theta_E 0.2 arcsec (b)" in said


def test_other_goals_are_no_tries_at_this_one() -> None:
    elsewhere = _look("d", 0.1, "mae.theta_E").model_copy(update={"same_goal": False})
    assert told([elsewhere]) == (
        "First look at these samples for this goal, as far as this run and this machine know. 1 model was"
        " measured on them for other goals, which is no try at this one."
    )
    said = told([elsewhere, _look("a", 0.9)])
    assert "Look 2 at these samples: 1 other model was" in said
    assert "1 model was measured on them for other goals" in said
    assert (tries([elsewhere]), tries([elsewhere, _look("a", 0.9)])) == (1, 2)


def test_the_same_model_again_is_no_other_try() -> None:
    said = told([_look("a", 0.91, again=True)])
    assert said == "This model was measured on these samples once before, which is no other try."
