"""The table of faults in docs/faults.md, its outcomes, and the script that makes both."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.fault_stores import Outcome, Workplace


def _documented(of_flows: bool | None = None) -> list[Outcome]:
    return faults.rows_of(json.loads(faults.OUTCOMES.read_text()), of_flows)


def test_the_table_is_that_of_the_outcomes() -> None:
    page = faults.PAGE.read_text()
    assert f"{faults.START}\n\n{faults.markdown(_documented(False))}\n\n{faults.END}" in page
    flows = faults.markdown(_documented(True))
    assert f"{faults.FLOWS_START}\n\n{flows}\n\n{faults.FLOWS_END}" in page


def test_everything_was_tried_and_came_out_as_it_must() -> None:
    """After a new trial: python -m benchmarks.faults --only NAME."""
    tried = json.loads(faults.OUTCOMES.read_text())["series"]
    assert set(tried) == set(faults.SERIES)
    assert all(row.sound for row in _documented())
    bits = [row for row in _documented() if row.tries == 40]
    assert len(bits) == 3


def test_outcomes_are_renewed_and_the_others_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, out = tmp_path / "page.md", tmp_path / "faults.json"
    page.write_text(f"a\n{faults.START}\nold\n{faults.END}\nb\n")

    def trial(place: Workplace, tries: int, *_: object) -> list[Outcome]:
        return [Outcome("a fault", tries, tries, "mended")]

    monkeypatch.setattr(faults, "SERIES", {"one": (trial, 3), "other": (trial, 5)})
    what = ["--out", str(out), "--docs", str(page), "--scratch", str(tmp_path)]
    faults.main(what)
    faults.main([*what, "--only", "oth*", "--tries", "7"])
    assert [row.tries for row in faults.rows_of(json.loads(out.read_text()))] == [3, 7]
    assert "| a fault | 3 | 3 | mended |\n| a fault | 7 | 7 | mended |" in page.read_text()
    with pytest.raises(SystemExit, match="nothing matches"):
        faults.main([*what, "--only", "nothing"])


def test_what_did_not_hold_is_an_error_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, out = tmp_path / "page.md", tmp_path / "faults.json"
    page.write_text(f"{faults.START}{faults.END}")
    row = Outcome("a fault", 4, 3, "mended")
    assert not row.sound
    assert not replace(row, tries=0, held=0).sound
    monkeypatch.setattr(faults, "SERIES", {"one": (lambda *_: [row], 4)})
    with pytest.raises(SystemExit, match="a fault: 3 of 4"):
        faults.main(["--out", str(out), "--docs", str(page), "--scratch", str(tmp_path)])
    assert "3 **not all**" in page.read_text()
