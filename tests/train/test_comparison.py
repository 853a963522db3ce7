"""Runs side by side: paired on the same samples, told apart honestly, and refused where they cannot be."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.generate import Order
from schemas.comparison import Comparison
from schemas.errors import DataError, RunError, RunMissingError, WriteError
from schemas.experiment import ExperimentRecipe
from schemas.report import Report
from train.comparing.comparison import compare
from train.evaluate import evaluate
from train.fit import fit
from train.records.recipe_differences import recipe_differences
from train.report.comparison import table_of, write_comparison

MakeExperiment = Callable[..., ExperimentRecipe]
Runs = dict[str, Path]
QUICK = {"epochs": 1, "batch_size": 16, "precision": "float32"}


def _trained(experiment: MakeExperiment, kind: str, seed: int, data: Path, out: Path) -> Path:
    fit(experiment(kind, seed=seed, training=QUICK), data, out, quiet=True)
    return out


@pytest.fixture(scope="module")
def measured(
    experiment: MakeExperiment, sound_store: Order, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Path]]:
    """Three runs of a kind with reports, made once. Not to be changed."""
    made: dict[str, list[Path]] = {}

    def runs(kind: str) -> list[Path]:
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            made[kind] = [
                _trained(experiment, kind, seed, sound_store.root, root / name)
                for seed, name in enumerate(("first", "second", "third"), 1)
            ]
            for one in made[kind]:
                evaluate(one, sound_store.root)
        return made[kind]

    return runs


@pytest.fixture
def runs(measured: Callable[[str], list[Path]], tmp_path: Path) -> list[Path]:
    """Three classifiers with reports, to be changed."""
    for one in measured("classification"):
        shutil.copytree(one, tmp_path / one.name)
    return [tmp_path / name for name in ("first", "second", "third")]


def _folder(run: Path) -> Path:
    (folder,) = (run / "reports").iterdir()
    return folder


def _predict(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Put other predictions into a run's report."""
    path = _folder(run) / "predictions.parquet"
    table = {name: np.array(column) for name, column in pq.read_table(path).to_pydict().items()}
    change(table)
    pq.write_table(pa.table(table), path)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_scores_are_those_of_the_reports(measured: Callable[[str], list[Path]], kind: str) -> None:
    runs = measured(kind)
    found = compare(runs)
    assert (found.objective, found.samples, found.split) == (kind, 12, "test")
    assert [one.name for one in found.contenders] == ["first", "second", "third"]
    for run, one in zip(runs, found.contenders, strict=True):
        report = Report.model_validate_json((_folder(run) / "report.json").read_bytes())
        assert (one.parameters, one.ms_per_image) == (report.parameters, report.ms_per_image)
        assert not one.measured_now
        told = {score.name: score.value.value for score in one.scores}
        assert told == pytest.approx({score.name: score.value.value for score in report.scores})
        for score in one.scores:
            assert score.value.low <= score.value.value <= score.value.high
    scores = [score.name for score in found.contenders[0].scores]
    assert len(found.differences) == 2 * len(scores)
    assert found.comparisons == 3 * len(scores)
    for one in found.differences:
        ends = [_score(found, name, one.score) for name in (one.name, one.against)]
        assert one.difference.value == pytest.approx(ends[0] - ends[1])
        best = max if one.score.startswith("auc") else min
        assert ends[1] == best(_score(found, name, one.score) for name in ("first", "second", "third"))
        assert one.p_corrected >= one.p
    assert "12 samples are too few" in found.warnings[0]


def _score(found: Comparison, name: str, score: str) -> float:
    (run,) = [one for one in found.contenders if one.name == name]
    (value,) = [one.value.value for one in run.scores if one.name == score]
    return value


@pytest.mark.slow
def test_directions_and_logarithms_are_compared_as_they_are_learned(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    targets = [{"column": "vortex_angle_rad"}, {"column": "axion_mass_ev", "transform": "log10"}]
    for seed in (1, 2):
        one = experiment(seed=seed, training=QUICK, objective={"kind": "regression", "targets": targets})
        fit(one, sound_store.root, tmp_path / str(seed), quiet=True)
        report = evaluate(tmp_path / str(seed), sound_store.root)
        assert [score.name for score in report.scores]
    found = compare([tmp_path / "1", tmp_path / "2"])
    for one in found.contenders:
        report = Report.model_validate_json((Path(one.report) / "report.json").read_bytes())
        assert [score.value.value for score in one.scores] == pytest.approx(
            [score.value.value for score in report.scores]
        )


def test_anomaly_detectors(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> None:
    for seed in (1, 2):
        one = experiment("anomaly", seed=seed, training=QUICK, objective={"kind": "anomaly"})
        fit(one, sound_store.root, tmp_path / str(seed), quiet=True)
        report = evaluate(tmp_path / str(seed), sound_store.root)
    found = compare([tmp_path / "1", tmp_path / "2"])
    (score,) = found.contenders[1].scores
    assert score.name == "auc_all"
    assert score.value.value == pytest.approx(report.scores[0].value.value)


def _many(run: Path, good: float, seed: int) -> None:
    """Predictions of 600 samples, better the higher `good` is, with the same luck for all runs."""
    label = np.arange(600) % 3
    rng = np.random.default_rng(0)
    logit = rng.normal(size=(600, 3)) + 0.1 * np.random.default_rng(seed).normal(size=(600, 3))
    probability = np.exp(logit + good * np.eye(3)[label])
    probability /= probability.sum(axis=1, keepdims=True)

    def change(table: dict[str, Any]) -> None:
        table.clear()
        table |= {"sample_id": np.arange(600), "label": label}
        names = ("no_sub", "cdm", "vortex")
        table |= {f"probability_{name}": probability[:, k] for k, name in enumerate(names)}

    _predict(run, change)


def test_a_difference_that_is_there_is_told(runs: list[Path]) -> None:
    for run, good, seed in zip(runs, (1.0, 1.2, 1.0), (1, 2, 3), strict=True):
        _many(run, good, seed)
    found = compare(runs)
    assert found.samples == 600
    assert {one.name: (one.against, one.verdict) for one in found.differences} == {
        "first": ("second", "worse"),
        "third": ("second", "worse"),
    }
    # either score alone is far less certain than their difference
    width = [one.scores[0].value.high - one.scores[0].value.low for one in found.contenders]
    for one in found.differences:
        assert one.difference.high < 0
        assert one.difference.high - one.difference.low < 0.5 * min(width)
    found = compare(runs, against=runs[0])
    assert found.against == "first"
    assert found.comparisons == 2
    assert {one.name: (one.against, one.verdict) for one in found.differences} == {
        "second": ("first", "better"),
        "third": ("first", "not told apart"),
    }


def test_rows_are_matched_by_their_samples(runs: list[Path]) -> None:
    whole = compare(runs[:2])
    _predict(runs[1], lambda table: table.update({name: column[::-1] for name, column in table.items()}))
    assert compare(runs[:2]).differences == whole.differences


def test_only_common_samples_count(runs: list[Path]) -> None:
    _predict(runs[1], lambda table: table.update({name: column[:9] for name, column in table.items()}))
    found = compare(runs[:2])
    assert found.samples == 9
    assert "first: 3 samples are left out, as not all runs were measured on them" in found.warnings
    _predict(runs[1], lambda table: table.update(sample_id=table["sample_id"] + 1000))
    with pytest.raises(DataError, match="no sample in common") as caught:
        compare(runs[:2])
    assert str(runs[0]) in caught.value.where


def test_a_run_without_a_report_is_measured(runs: list[Path], sound_store: Order) -> None:
    shutil.rmtree(runs[1] / "reports")
    with pytest.raises(
        DataError, match="no store has a report of all these runs on its test split"
    ) as caught:
        compare(runs)
    assert f"{runs[1]}: none" in caught.value.where
    assert "--data" in caught.value.advice
    found = compare(runs, sound_store.root)
    assert [one.measured_now for one in found.contenders] == [False, True, False]
    assert (runs[1] / "looks.jsonl").is_file()
    assert found.differences == compare(runs).differences


def test_a_report_of_another_training_does_not_count(runs: list[Path], sound_store: Order) -> None:
    path = _folder(runs[0]) / "report.json"
    changed = json.loads(path.read_text()) | {"experiment_digest": "0" * 64}
    path.write_text(json.dumps(changed))
    with pytest.raises(DataError, match="no report on the test split that belongs to it"):
        compare(runs)
    assert compare(runs, sound_store.root).contenders[0].measured_now


def test_several_stores_need_a_choice(
    runs: list[Path], sound_store: Order, another_store: Callable[..., Path]
) -> None:
    other = another_store("seed=77")
    for run in runs[:2]:
        evaluate(run, other)
    with pytest.raises(DataError, match="2 stores have reports of all these runs on their test splits"):
        compare(runs[:2])
    assert compare(runs[:2], other).store == str(other)
    assert compare(runs[:2], sound_store.root).store == str(sound_store.root)


def test_what_cannot_be_compared(
    runs: list[Path],
    measured: Callable[[str], list[Path]],
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="1 run to compare"):
        compare(runs[:1])
    with pytest.raises(DataError, match="named twice"):
        compare([runs[0], runs[1], runs[0] / ".." / "first"])
    shutil.copytree(runs[0], tmp_path / "copy")
    two = experiment(data={"classes": ["no_sub", "cdm"]}, training=QUICK)
    fit(two, sound_store.root, tmp_path / "two", quiet=True)
    with pytest.raises(DataError, match="cannot be compared") as caught:
        compare([runs[0], tmp_path / "copy", tmp_path / "two", measured("regression")[0]])
    for fault in (
        "/first have the same weights",
        "is a classification of 0 no_sub, 1 cdm,",
        "is a regression of",
    ):
        assert fault in caught.value.found
    with pytest.raises(DataError, match="none of the runs"):
        compare(runs[:2], against=runs[2])
    with pytest.raises(RunError, match="is no finished run"):
        compare([runs[0], tmp_path / "nowhere"])
    with pytest.raises(RunMissingError, match="2 of 3 runs cannot be used") as caught:
        compare([runs[0], tmp_path / "nowhere", tmp_path / "gone"])
    assert "nowhere is no finished run\n" in caught.value.found
    assert "gone is no finished run" in caught.value.found


def test_predictions_that_cannot_be_read(runs: list[Path]) -> None:
    path = _folder(runs[1]) / "predictions.parquet"
    path.write_text("no table")
    with pytest.raises(RunError, match="cannot be read") as caught:
        compare(runs)
    assert str(path) in caught.value.found
    assert f"lensmill evaluate {runs[1]}" in caught.value.advice


def _with_verdicts(found: Comparison, *verdicts: str) -> Comparison:
    told = [
        one.model_copy(update={"verdict": verdict})
        for one, verdict in zip(found.differences, verdicts, strict=True)
    ]
    return found.model_copy(update={"differences": tuple(told)})


def test_best_is_said_only_beyond_chance(runs: list[Path]) -> None:
    found = compare(runs)
    name = found.reference("auc_macro")
    one, other = (apart.name for apart in found.differences)
    for verdicts, standing, conclusion in (
        (("worse", "worse"), "best", f"{name} is best: better than {one}, {other} beyond chance"),
        (
            ("not told apart", "not told apart"),
            "highest",
            f"no run is best: {name} has the highest value, but not beyond chance",
        ),
        (
            ("worse", "not told apart"),
            "highest",
            f"{name} has the highest value: better than {one} beyond chance, not told apart from {other}",
        ),
    ):
        told = _with_verdicts(found, *verdicts)
        assert (told.standing("auc_macro"), told.conclusion("auc_macro")) == (standing, conclusion)
    found = _with_verdicts(compare(runs, against=runs[1]), "better", "not told apart")
    assert found.standing("auc_macro") == "compared with"
    assert found.conclusion("auc_macro") == "compared with second, better: first; not told apart: third"


def test_recipes_are_compared_key_by_key(experiment: MakeExperiment) -> None:
    one = experiment("classification")
    assert recipe_differences([one, one.model_copy(update={"name": "other"})]) == ()
    changed = {"model": {"name": "resnet18"}, "stretch": {"kind": "log"}, "description": "mine"}
    found = {
        row.key: row.values for row in recipe_differences([one, experiment("classification", **changed)])
    }
    assert found["model.name"] == (one.model.name, "resnet18")
    assert found["stretch.kind"] == (one.stretch.kind, "log")
    assert not {"name", "description", "data.store"} & set(found)


# -- files


def test_files_say_what_was_found(runs: list[Path], tmp_path: Path) -> None:
    found = compare(runs)
    page = write_comparison(found, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "compare.json",
        "compare.parquet",
        "compare.png",
        "compare.html",
    }
    assert Comparison.model_validate_json((tmp_path / "out/compare.json").read_bytes()) == found
    table = pq.read_table(tmp_path / "out/compare.parquet")
    assert table == table_of(found)
    rows = {row["name"]: row for row in table.to_pylist()}
    for one in found.contenders:
        assert rows[one.name]["value"] == one.scores[0].value.value
    for one in found.differences:
        assert rows[one.name]["difference_low"] == one.difference.low
        assert rows[one.name]["against"] == one.against
    assert [row["against"] for row in rows.values()].count(None) == 1
    text = page.read_text()
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert base64.b64decode(data, validate=True) == (tmp_path / "out/compare.png").read_bytes()
    for stranger in ("http://", "https://", "<script", "<link", "url("):
        assert stranger not in text
    # an earlier comparison may go, nothing else may
    write_comparison(found, tmp_path / "out")
    with pytest.raises(WriteError, match="holds something else"):
        write_comparison(found, runs[0])
    assert (runs[0] / "run.json").is_file()


def test_the_page_escapes_what_people_wrote(runs: list[Path], tmp_path: Path) -> None:
    evil = tmp_path / "<script>alert(1)<"
    runs[0].rename(evil)
    text = write_comparison(compare([evil, runs[1]]), tmp_path / "out").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;" in text
