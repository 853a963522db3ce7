"""`lensmill compare`, in this process: at 80 columns, as JSON, as files, and refused with one message."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.commands.app import out
from flows.comparing import comparison_rows
from flows.fitting import fit_experiment
from flows.generate import Order
from schemas.comparison import Comparison
from tests.flows.messages import one_message

Lensmill = Callable[..., Any]
BAD_INPUT, FAILED = 2, 1
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
    assert "differences to the best, paired over samples; p by Holm for 1 comparison" in said.out
    assert said.out.splitlines()[-1] == f"page: {folder / 'compare.html'}"

    rows = comparison_rows(found)
    assert [row["run"] for row in rows] == ["short", NAME]
    assert sorted(row["verdict"] for row in rows) == ["", found.differences[0].verdict]

    # all have reports now, and a run is named
    said = lensmill("compare", *runs, "--against", runs[0], "--json")
    again = json.loads(said.out)
    assert (again["against"], again["differences"][0]["name"]) == ("short", NAME)
    assert not any(one["measured_now"] for one in again["contenders"])


def test_what_cannot_be_compared_is_one_message(
    lensmill: Lensmill, runs: list[Path], sound_store: Order, tmp_path: Path
) -> None:
    for arguments, code, says in (
        ([runs[0]], BAD_INPUT, "1 run to compare"),
        ([runs[0], runs[0]], BAD_INPUT, "the same run is named twice"),
        (runs, FAILED, "report on the test split of no store"),
        ([*runs, "--data", sound_store.root, "--against", tmp_path], BAD_INPUT, "none of the runs"),
        ([*runs, "--data", sound_store.root, "--split", "tset"], BAD_INPUT, "unknown split 'tset'"),
        ([*runs, "--data", sound_store.root, "--out", runs[0]], FAILED, "holds something else"),
        ([runs[0], tmp_path / "none"], FAILED, "is no finished run"),
    ):
        assert says in one_message(lensmill("compare", *arguments), code)
    assert not any((run / "looks.jsonl").exists() for run in runs)
