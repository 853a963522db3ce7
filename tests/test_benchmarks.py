"""Benchmarks run; how fast anything is, is never tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import audits
from benchmarks import shards as shards_benchmark
from benchmarks import storage as storage_benchmark
from benchmarks import train as train_benchmark
from flows.auditing import audit
from flows.generate import Order

ROOT = Path(__file__).parent.parent


def _benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.simulate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_the_simulators_benchmark_runs(tmp_path: Path) -> None:
    out, chart = tmp_path / "rates.json", tmp_path / "rates.png"
    what = ("--quick", "--only", "model_ii/cdm/*", "--scratch", str(tmp_path))
    done = _benchmark(*what, "--out", str(out), "--chart", str(chart), "--markdown")
    assert done.returncode == 0, done.stderr
    assert "Model II, 64 x 64, cdm, written" in done.stdout
    results = json.loads(out.read_text())
    measured = {one["noise"]: one["contestants"] for one in results["cases"]}
    assert set(measured) == {"none", "normal", "written", "own"}
    assert all(one["us_per_image"] > 0 for members in measured.values() for one in members.values())
    assert chart.read_bytes().startswith(b"\x89PNG")
    # the stores that were written are gone
    assert {path.name for path in tmp_path.iterdir()} == {"rates.json", "rates.png"}


def test_the_benchmark_can_be_run_by_its_path_and_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "simulate.py"), "--help"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "python -m benchmarks.simulate --only" in done.stdout


def test_the_table_of_detectability_is_written_between_its_markers(tmp_path: Path) -> None:
    page, out = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text("a\n<!-- detectability: begin -->\nold\n<!-- detectability: end -->\nb\n")
    script = str(ROOT / "benchmarks" / "detectability.py")
    what = ("--systems", "6", "--check", "1", "--only", "1e8", "--docs", str(page), "--out", str(out))
    command = [sys.executable, script, *what]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert page.read_text().startswith("a\n<!-- detectability: begin -->\n| substructure |")
    assert "old" not in page.read_text()
    assert page.read_text().endswith("\n<!-- detectability: end -->\nb\n")
    one, four = json.loads(out.read_text())["rows"]
    assert four["median"] == pytest.approx(2 * one["median"])
    assert one["renders_per_system"] <= 20


def test_too_few_rounds_are_refused() -> None:
    done = _benchmark("--rounds", "3")
    assert done.returncode == 2
    assert "at least 7" in done.stderr


def test_the_table_of_audits_is_written_from_what_is_there(sound_store: Order, tmp_path: Path) -> None:
    audit(sound_store.root, tmp_path / "tiny", quiet=True)
    page = tmp_path / "page.md"
    page.write_text(f"a\n{audits.START}\nold\n{audits.END}\nb\n")
    audits.main(["tiny", "--folder", str(tmp_path), "--docs", str(page)])
    first, *_, last = page.read_text().split("\n\n")
    assert first == f"a\n{audits.START}"
    assert last == f"{audits.END}\nb\n"
    heading, _, row = page.read_text().split("\n\n")[1].splitlines()
    assert heading.count("|") == row.count("|")
    assert row.startswith("| `tiny` | 20 | 0.")
    assert "**fails**: total mass" in row


# WebDataset leaves its tar file to the garbage collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_stores_benchmark_runs_and_writes_its_tables(tmp_path: Path) -> None:
    page, out = tmp_path / "page.md", tmp_path / "rates.json"
    page.write_text(f"a\n{storage_benchmark.START}\nold\n{storage_benchmark.END}\nb\n")
    (tmp_path / "forms").mkdir()
    what = ["--quick", "--images", "384", "--folder", str(tmp_path / "forms")]
    storage_benchmark.main([*what, "--out", str(out), "--docs", str(page)])
    results = json.loads(out.read_text())
    names = {one["what"] for one in results["aims"]} | {one["beside"] for one in results["aims"]}
    assert names <= results["contestants"].keys()
    assert results["contestants"]["memory"]["of_memory"] == 1
    assert all(one["images_per_s"] > 0 for one in results["contestants"].values())
    assert len(results["aims"]) == len(storage_benchmark.AIMS)
    text = page.read_text()
    assert text.startswith(f"a\n{storage_benchmark.START}\n")
    assert text.endswith(f"{storage_benchmark.END}\nb\n")
    assert "| random batches | npy memmap, random |" in text
    # the forms are gone
    assert list((tmp_path / "forms").iterdir()) == []


def test_the_stores_benchmark_refuses_what_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        storage_benchmark.parse(["--rounds", "2"])
    (tmp_path / "page.md").write_text("nothing here")
    with pytest.raises(SystemExit, match="must have the lines"):
        storage_benchmark.write_into(tmp_path / "page.md", "")


def test_the_benchmark_of_the_data_path_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stores").mkdir()
    out = tmp_path / "steps.json"
    what = ["--quick", "--images", "96", "--batch", "8", "--folder", str(tmp_path / "stores")]
    train_benchmark.main([*what, "--out", str(out)])
    found = json.loads(out.read_text())["networks"]
    assert set(found) == {"lensmill_stem_vit", "mobilenetv3_small_100", "tiny"}
    for one in found.values():
        assert set(one["sources"]) == {name for name, _, _ in train_benchmark.SOURCES}
        for numbers in one["sources"].values():
            low, high = numbers["interval"]
            assert 0 < low <= numbers["of_one_batch"] <= high
            assert numbers["steps_per_s"] > 0
            assert [len(turns) for turns in numbers["turns_ms"].values()] == [1, 1]
    assert "| tiny | streamed, codes |" in capsys.readouterr().out
    assert list((tmp_path / "stores").iterdir()) == []
    with pytest.raises(SystemExit):
        train_benchmark.parse(["--pairs", "2"])
    page = tmp_path / "page.md"
    page.write_text(f"a\n{train_benchmark.START}\nold\n{train_benchmark.END}\nb\n")
    shown = ["--from", str(out), "--quick", "--docs", str(page)]
    train_benchmark.main(shown)
    assert "old" not in page.read_text()
    assert page.read_text().count("| tiny |") == len(train_benchmark.SOURCES)
    page.write_text("nothing here")
    with pytest.raises(SystemExit, match="must have the lines"):
        train_benchmark.main(shown)


def test_a_network_that_waits_for_its_data_is_named() -> None:
    def sources(ratio: float) -> dict[str, object]:
        return {"sources": {"streamed": {"of_one_batch": ratio}, "resident": {"of_one_batch": 0.99}}}

    found = {"networks": {"slow": sources(0.8), "fine": sources(0.95), "tiny": sources(0.2)}}
    assert train_benchmark.too_slow(found) == ["slow with streamed data (0.800)"]


def test_the_interval_of_a_median_is_that_of_its_order() -> None:
    # tables of order statistics: of 6 values all, of 21 the 6th to the 16th
    assert train_benchmark.interval([3.0, 1, 2, 6, 5, 4]) == (1, 6)
    assert train_benchmark.interval([float(one) for one in range(1, 22)]) == (6, 16)
    assert train_benchmark.interval([2.0]) == (2, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_thousand_small_shards_cost_little_beside_their_work(tmp_path: Path) -> None:
    out = tmp_path / "shards.json"
    # the stores of both contestants are compared there
    shards_benchmark.main(["--shards", "2000", "--rounds", "1", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["shards"] == 2000
    for clock in ("clock", "processor"):
        each = found[clock]["ms_per_shard"]
        assert set(each) == {"alone", "mapped", "empty"}
        assert all(value > 0 for value in each.values())
        assert found[clock]["mapped_over_alone"] > 0
