"""The series of acceptance runs: its table, its resuming, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import acceptance
from flows.catalogue import load_experiment, load_recipe


def _row(name: str, seed: int, value: float, met: bool = True, components: float | None = None) -> Any:
    def around(middle: float) -> dict[str, float]:
        return {"value": middle, "low": middle - 0.01, "high": middle + 0.01}

    return {
        "experiment": name,
        "seed": seed,
        "expected": "auc_macro at least 0.98",
        "met": met,
        "score": around(value),
        "components": None if components is None else around(components),
        "cpu_minutes": 1.25,
        "cpu_minutes_allowed": 4.0,
    }


def test_what_the_field_asks_for_is_expected() -> None:
    expected = {name: load_experiment(name).expectation for name in acceptance.expecting()}
    wanted = {
        "classify_model_ii": ("model_ii", "auc_macro", 0.98, None, 4),
        "classify_model_ii_noisy": ("model_ii_noisy", "auc_macro", 0.90, None, 2),
        "regress_axion_mass": ("model_iii", "mae.log10(axion_mass_ev)", None, 0.25, 6),
        "anomaly_model_iii": ("model_iii", "auc_all", 0.99, None, 4),
        "classify_shuffled": ("model_ii", "auc_macro", 0.47, 0.53, 4),
        "classify_hst": ("hst", "auc_macro", None, None, 8),
        "classify_euclid": ("euclid", "auc_macro", None, None, 8),
    }
    found = {
        name: (one.data, one.score, one.at_least, one.at_most, one.cpu_minutes)
        for name, one in expected.items()
        if one is not None
    }
    assert found == wanted
    for name in ("classify_hst", "classify_euclid"):
        one = expected[name]
        assert one is not None
        assert one.above == "components"


@pytest.mark.parametrize("name", acceptance.expecting())
def test_expected_data_are_recipes_with_enough_images(name: str) -> None:
    expected = load_experiment(name).expectation
    assert expected is not None
    recipe = load_recipe(expected.data, expected.overrides)
    a_class = recipe.samples_per_class * recipe.splits.train
    assert a_class == (4000 if expected.data in ("hst", "euclid") else 2000)


def test_the_table_tells_seeds_and_their_spread() -> None:
    rows = [_row("b", 1, 0.99, components=0.9), _row("a", 1, 0.5), _row("a", 2, 0.6, met=False)]
    lines = acceptance.markdown(rows).splitlines()[2:]
    assert lines == [
        "| `a`, seed 1 | auc_macro at least 0.98 | 0.5000 [0.4900, 0.5100] |  | 1.2 | 4 | met |",
        "| `a`, seed 2 | auc_macro at least 0.98 | 0.6000 [0.5900, 0.6100] |  | 1.2 | 4 | **not met** |",
        "| `a`, mean and spread |  | **0.5500 ± 0.0707** |  | 1.2 |  |  |",
        "| `b` | auc_macro at least 0.98 | 0.9900 [0.9800, 1.0000] | 0.9000 [0.8900, 0.9100]"
        " | 1.2 | 4 | met |",
    ]


def test_experiments_that_expect_nothing_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        acceptance.parse(["classify_tiny"])
    assert "classify_tiny: expect nothing; these do: anomaly_model_iii" in capsys.readouterr().err


@pytest.mark.slow
def test_a_series_runs_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = load_experiment(
        "classify_model_ii",
        ["expectation.overrides=[samples_per_class=60, 'splits={train: 2/3, val: 1/12, test: 1/4}']"],
    )
    monkeypatch.setattr(acceptance, "load_experiment", lambda _: experiment)
    page, out = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text(f"a\n{acceptance.START}\nold\n{acceptance.END}\nb\n")
    what = ["classify_model_ii", "--folder", str(tmp_path), "--set", "training.epochs=1"]
    what += ["--out", str(out), "--docs", str(page)]
    for _ in range(2):
        acceptance.main(what)
    first, second = capsys.readouterr().out.splitlines()
    # the second time nothing is trained, so the minutes are the same
    assert first == second
    (row,) = json.loads(out.read_text())["rows"]
    assert row["cpu_minutes"] > 0
    assert row["samples"] == 45
    assert "| `classify_model_ii` |" in page.read_text()
