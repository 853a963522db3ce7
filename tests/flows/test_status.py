"""How things stand, from books alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import standing
from flows.commands import app
from flows.generate import Order
from flows.serving.service_standing import service_standing
from flows.standing import status
from schemas.standing import FlowRunStanding, PoolStanding, ServiceStanding
from storage import commit
from storage.upkeep.versions import catch_up, name_latest, version_name
from tests.reports import full_report

UP = ServiceStanding(
    address="http://127.0.0.1:4200/api",
    pools=(PoolStanding(name="lensmill", status="ready", workers=1),),
    runs=(
        FlowRunStanding(name="late-owl", flow="simulate", state="Running", begins=None, progress=41.7),
        FlowRunStanding(name="sad-cat", flow="train", state="Failed", begins=None, message="no [store] at x"),
    ),
)


@pytest.fixture
def folder(sound_store: Order, tmp_path: Path, run_folder: Callable[[Path], Path]) -> Path:
    """A store, an unfinished one, two versions, a measured run and one in training."""
    for name in ("a.zarr", "b.zarr", "lineage/v0001.zarr", "lineage/v0002.zarr"):
        shutil.copytree(sound_store.root, tmp_path / name)
    commit.unseal(tmp_path / "b.zarr")
    next((tmp_path / "b.zarr" / commit.RECEIPTS).rglob("*.json")).unlink()
    name_latest(tmp_path / "lineage", 2)
    run = run_folder(tmp_path / "runs/net")
    (run / "reports/tiny-test-1").mkdir(parents=True)
    (run / "reports/tiny-test-1/report.json").write_text(full_report("classification").to_json())
    (tmp_path / "runs/.next.partial").mkdir()
    (tmp_path / "runs/.next.partial/identity.json").write_text("{}")
    return tmp_path


@pytest.fixture(autouse=True)
def _no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "service_standing", lambda _: ServiceStanding(address=None))


def test_stores_and_versions_are_told(folder: Path) -> None:
    found = {Path(one.path).name: one for one in status(folder).stores}
    assert set(found) == {"a.zarr", "b.zarr", "lineage"}
    assert (found["a.zarr"].state, found["a.zarr"].rows, found["a.zarr"].exact) == ("finished", 60, True)
    assert found["a.zarr"].bytes > 60 * 16 * 16 * 4
    assert found["b.zarr"].state == "unfinished, 8 of 9 shards"
    assert found["b.zarr"].planned == 60
    assert found["b.zarr"].bytes
    assert not found["b.zarr"].exact
    lineage = found["lineage"]
    assert (lineage.versions, lineage.latest, lineage.rows) == (2, 2, 120)
    assert lineage.bytes == 2 * found["a.zarr"].bytes


def test_nothing_is_written_and_no_array_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in folder.rglob("c/*"):
        if path.is_dir():
            shutil.rmtree(path)
    before = sorted(folder.rglob("*"))
    assert len(status(folder).stores) == 3
    assert sorted(folder.rglob("*")) == before


def test_a_long_manifest_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MOST_MANIFEST_BYTES", 10)
    found = {Path(one.path).name: one for one in status(folder).stores}["a.zarr"]
    assert not found.exact
    assert found.bytes > 60 * 16 * 16 * 4


def test_an_unfinished_version_and_failures_are_told(folder: Path) -> None:
    lineage = folder / "lineage"
    shutil.copytree(folder / "b.zarr", lineage / version_name(3))
    catch_up(lineage)
    found = next(one for one in status(folder).stores if one.versions)
    assert found.state == "3: unfinished, 8 of 9 shards"
    (lineage / "lineage.json").write_text("{")
    found = next(one for one in status(folder).stores if one.versions)
    assert "is not what lensmill wrote" in found.state


def test_runs_are_told_with_their_score(folder: Path) -> None:
    found = {Path(one.path).name: one for one in status(folder).runs}
    assert found["net"].score == "AUC macro 0.981"
    assert found["net"].headline
    assert found["next"].state == "unfinished"
    (folder / "runs/net/run.json").write_text("{")
    assert {Path(one.path).name: one.state for one in status(folder).runs}["net"] == "unreadable"


def test_a_folder_that_is_not_there_has_nothing(lensmill: Callable[..., Any], tmp_path: Path) -> None:
    found = status(tmp_path / "none")
    assert (found.stores, found.runs) == ((), ())
    assert found.free_bytes
    said = lensmill("status", tmp_path / "none")
    assert said.code == 0
    assert "0 data sets, 0 training runs" in said.out


@pytest.mark.parametrize("width", [80, 120])
def test_the_command_fits_the_screen(
    lensmill: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(standing, "service_standing", lambda _: UP)
    monkeypatch.setattr(app.out, "_width", width)
    said = lensmill("status", folder)
    assert said.code == 0, said
    lines = [line for line in said.out.splitlines() if str(folder) not in line]
    assert max(map(len, lines)) <= width
    for words in ("late-owl", "Running 42%", "sad-cat: no [store] at x", "lineage", "latest 2", "AUC macro"):
        assert words in said.out, said.out


def test_the_command_as_json(lensmill: Callable[..., Any], folder: Path) -> None:
    found = json.loads(lensmill("status", folder, "--json").out)
    assert found["service"]["address"] is None
    assert len(found["stores"]) == 3
    assert "not up" in lensmill("status", folder).out


def test_a_service_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = service_standing(True)
    assert found.address == "http://127.0.0.1:9/api"
    assert found.fault
    assert service_standing(False) == ServiceStanding(address="http://127.0.0.1:9/api")
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr("flows.serving.service_standing.running", lambda: None)
    assert service_standing(True).address is None
