"""The table of times in docs/models.md, and the script that makes it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import models

ROOT = Path(__file__).parent.parent


def test_it_can_be_run_by_its_path_and_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "models.py"), "--help"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "python -m benchmarks.models --facts" in done.stdout


def test_the_page_says_what_was_measured() -> None:
    results = json.loads(models.RESULTS.read_text())
    shown = models.PAGE.read_text().split(models.START)[1].split(models.END)[0]
    assert shown.strip() == models.table(results).strip(), "python -m benchmarks.models --table"
    assert {row["side"] for row in results["rows"]} == {64, 150}
    measured = {row["model"] for row in results["rows"]}
    assert measured | set(results["left_out"]) == {name for one in models.FAMILIES for name in one.names}
    assert all(one.names[0] in measured for one in models.FAMILIES), "one of each family at least"


def test_a_quick_run_measures_and_writes_the_page(tmp_path: Path) -> None:
    out, page = tmp_path / "models.json", tmp_path / "page.md"
    page.write_text(f"a\n{models.START}\nold\n{models.END}\nb\n")
    models.main(["--quick", "--only", "lensmill_*", "--out", str(out)])
    models.main(["--table", "--out", str(out), "--docs", str(page)])
    rows = json.loads(out.read_text())["rows"]
    assert [(row["model"], row["side"]) for row in rows] == [
        ("lensmill_stem_vit", 64),
        ("lensmill_stem_vit", 150),
        ("lensmill_detail_cnn", 64),
        ("lensmill_detail_cnn", 150),
        ("resnet18", 64),
        ("resnet18", 150),
    ]
    assert all(row["forward_ms"] > 0 for row in rows)
    assert [row["relative"] for row in rows if row["model"] == "resnet18"] == [1, 1]
    assert "old" not in page.read_text()
    assert page.read_text().count("| `resnet18` | 11.2 |") == 2


def test_networks_without_time_are_named(tmp_path: Path) -> None:
    out = tmp_path / "models.json"
    models.main(["--quick", "--only", "resnet34", "--minutes", "0.000001", "--out", str(out)])
    results = json.loads(out.read_text())
    assert results["left_out"] == ["resnet34"]
    assert "Left out for want of time: resnet34." in models.table(results)


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing here")
    with pytest.raises(SystemExit, match="must have the lines"):
        models.write_into(tmp_path / "page.md", {"rows": []})
