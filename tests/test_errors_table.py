"""The table of errors in docs/accuracy.md, and the script that makes it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import errors
from flows.catalogue import complete, load_recipe

ROOT = Path(__file__).parent.parent


def test_it_can_be_run_by_its_path_and_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "errors.py"), "--help"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "python -m benchmarks.errors --systems 200 --out errors.json" in done.stdout


def test_the_table_is_written_between_its_markers(tmp_path: Path) -> None:
    page, out = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text(f"a\n{errors.START}\nold\n{errors.END}\nb\n")
    what = ["--systems", "4", "--only", "tiny, *", "*steep*", "10 truncated*"]
    errors.main([*what, "--docs", str(page), "--out", str(out)])
    text = page.read_text()
    assert text.startswith(f"a\n{errors.START}\n\n| case | systems |")
    assert text.endswith(f"\n\n{errors.END}\nb\n")
    assert "old" not in text
    rows = json.loads(out.read_text())["cases"]
    assert [row["case"] for row in rows] == [
        "tiny, no_sub",
        "tiny, cdm",
        "tiny, vortex",
        "10 truncated halos",
    ]
    assert all(row["largest"][engine] <= row["limit"][engine] for row in rows for engine in errors.FUSED)
    assert rows[-1]["limit"]["fused"] > rows[0]["limit"]["fused"]
    assert rows[1]["largest"]["fused_float32"] > 1e-9 > rows[1]["median"]["fused"]


def test_a_broken_limit_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(errors.LIMITS["fused_float32"], "usual", 1e-12)
    with pytest.raises(SystemExit, match="tiny, cdm: fused_float32"):
        errors.main(["--systems", "3", "--only", "tiny, cdm"])
    assert "above its limit" in capsys.readouterr().out


def test_a_page_without_markers_and_an_unknown_case_are_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing here")
    with pytest.raises(SystemExit, match="must have the lines"):
        errors.write_into(tmp_path / "page.md", "")
    with pytest.raises(SystemExit, match="no case matches"):
        errors.main(["--only", "nothing"])


def test_the_page_has_every_shipped_class_and_every_limit() -> None:
    """After a new recipe: python -m benchmarks.errors."""
    page = errors.PAGE.read_text()
    for name in complete():
        for one in load_recipe(name).classes:
            assert f"| {name}, {one.name} | " in page
    assert all(f"| {title} | " in page for title, _, _ in errors.RICH)
    assert "above its limit" not in page
    for limits in errors.LIMITS.values():
        assert all(f" {limit:.0e} ".replace("e-0", "e-") in page for limit in limits.values())
