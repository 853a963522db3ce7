"""`lensmill compare`, in this process: at 80 columns, as JSON, as files, and refused with one message."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.commands.app import out
from flows.comparing import compare_flow, comparison_rows
from flows.fitting import fit_experiment
from flows.generate import Order
from flows.serving.api import prefect_api
from flows.telling import run_log
from schemas.comparison import Comparison
from tests.flows.messages import one_message
from train.evaluate import evaluate

Lensmill = Callable[..., Any]
BAD_INPUT = 2
NAME = "a_run_with_quite_a_long_name"
QUICK = """\
name: quick
seed: {seed}
objective: {{kind: classification}}
training: {{epochs: 1, batch_size: 16}}
"""


@pytest.fixture(scope="module")
def trained(sound_store: Order, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs without reports. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, name in enumerate(("short", NAME)):
        (folder / "quick.yaml").write_text(QUICK.format(seed=seed))
        fit_experiment(str(folder / "quick.yaml"), sound_store.root, folder / name, quiet=True)
    return [folder / "short", folder / NAME]


@pytest.fixture
def runs(trained: list[Path], tmp_path: Path) -> list[Path]:
    for one in trained:
        shutil.copytree(one, tmp_path / one.name)
    return [tmp_path / one.name for one in trained]


@pytest.fixture(scope="module")
def measured(trained: list[Path], sound_store: Order, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The two runs with reports. Not to be changed."""
    folder = tmp_path_factory.mktemp("measured")
    for one in trained:
        shutil.copytree(one, folder / one.name)
        evaluate(folder / one.name, sound_store.root)
    return [folder / one.name for one in trained]


def test_runs_are_compared(
    lensmill: Lensmill,
    runs: list[Path],
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out, "_width", 80)
    folder = tmp_path / "comparison"
    said = lensmill("compare", *runs, "--data", sound_store.root, "--out", folder)
    assert said.code == 0, said
    found = Comparison.model_validate_json((folder / "compare.json").read_bytes())
    for one in found.contenders:
        assert f"{one.name} had no report on these samples: it was measured now" in said.out
        assert f"{one.scores[0].value.value:.4g}" in said.out
    tables = [line for line in said.out.splitlines() if line.startswith(f" {NAME}")]
    assert len(tables) >= 3
    assert "\N{HORIZONTAL ELLIPSIS}" not in said.out
    assert "differences: run minus the one with the best value, paired over samples" in said.out
    assert "only the seed differs" in said.out
    assert re.search(r"^ seed +0 +1 *$", said.out, re.MULTILINE)
    assert said.out.splitlines()[-1] == f"page: {folder / 'compare.html'}"

    rows = comparison_rows(found)
    assert [row["run"] for row in rows] == ["short", NAME]
    standing = found.standing("auc_macro")
    assert sorted(row["verdict"] for row in rows) == sorted([standing, found.differences[0].verdict])

    # all have reports now, and a run is named
    said = lensmill("compare", *runs, "--against", runs[0], "--json")
    again = json.loads(said.out)
    assert (again["against"], again["differences"][0]["name"]) == ("short", NAME)
    assert not any(one["measured_now"] for one in again["contenders"])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_verdict_stands_beside_the_score(
    lensmill: Lensmill, measured: list[Path], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(out, "_width", width)
    lines = lensmill("compare", *measured).out.splitlines()
    assert max(len(line) for line in lines if "warning: " not in line) <= width
    (scores,) = [line for line in lines if "score" in line]
    assert ("verdict" in scores) == (width > 60)
    told = next(place for place, line in enumerate(lines) if line.startswith("differences: "))
    assert "but not beyond chance" in " ".join(" ".join(lines[told - 2 : told]).split())
    assert not any(" best " in f"{line} " for line in lines[: told - 2])


def test_the_flow_shows_what_the_command_tells(
    measured: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(run_log, "in_a_run", lambda: True)
    monkeypatch.setattr(run_log, "create_table_artifact", lambda **given: shown.append(given))
    # the flow's own function: a server would only be told of it
    found = compare_flow.fn([str(one) for one in measured], out=str(tmp_path / "comparison"))
    scores, recipes = shown
    assert scores["table"] == comparison_rows(found)
    assert scores["key"] == "comparison-tiny"
    assert scores["description"] == "2 runs on tiny, test, 12 samples"
    assert recipes["table"] == [{"key": "seed", "short": "0", NAME: "1"}]
    assert (tmp_path / "comparison" / "compare.html").is_file()
    again = compare_flow.fn([str(one) for one in measured], against=str(measured[0]))
    assert (again.against, again.differences[0].name) == ("short", NAME)


@pytest.mark.slow
@pytest.mark.timeout(300)  # a server of its own
def test_the_flow_runs_under_prefect(measured: list[Path]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    key = ArtifactFilter(key=ArtifactFilterKey(any_=["comparison-tiny"]))
    # not by `Artifact.get`, which leaves its connection open
    with prefect_api(), get_client(sync_client=True) as client:
        found = compare_flow([str(one) for one in measured])
        (shown,) = client.read_artifacts(artifact_filter=key)
    assert json.loads(str(shown.data)) == comparison_rows(found)


def test_what_cannot_be_compared_is_one_message(
    lensmill: Lensmill, runs: list[Path], sound_store: Order, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for arguments, says in (
        ([runs[0]], "1 run to compare"),
        ([runs[0], runs[0]], "the same run is named twice"),
        (runs, "no store has a report of all these runs on its test split"),
        ([*runs, "--data", sound_store.root, "--against", tmp_path], "none of the runs"),
        ([*runs, "--data", sound_store.root, "--split", "tset"], "unknown split 'tset'"),
        ([*runs, "--data", sound_store.root, "--out", runs[0]], "holds something else"),
        ([*runs, "--data", sound_store.root, "--out", tmp_path / "file" / "a"], "file is a file"),
        ([runs[0], tmp_path / "none"], "is no finished run"),
    ):
        assert says in one_message(lensmill("compare", *arguments), BAD_INPUT)
    assert not any((run / "looks.jsonl").exists() for run in runs)
