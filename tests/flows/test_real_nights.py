"""Nights of a real service: by hand, then by a schedule; trained on, compared, cleared by the policy."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.lineage import Version, version_seed
from schemas.report import Report
from storage.upkeep.versions import numbers, read_book, version_name
from storage.verify import verify
from tests.live_service import Service, live_service

QUICK = "name: quick\nobjective: {kind: classification}\ntraining: {epochs: 1, batch_size: 16}\n"
# One is kept, though never less than what a run refers to.
KEEP = {"last": 1, "weeks": 0, "months": 0, "failed": 0, "own_runs": False}
# The server looks for new schedules every five seconds, and for those it overlooked every minute.
DUE_SECONDS, INTERVAL_SECONDS = 15, 60


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    """A service that is up."""
    with live_service(tmp_path) as service:
        service.well("lensmill", "up")
        yield service


def _night(service: Service, run: str) -> None:
    """A run that ends well."""
    ended = service.ended(run)
    assert ended["state_type"] == "COMPLETED", (ended["state"], service.log_of(run))


def _versions(folder: Path) -> list[Version]:
    return list(read_book(folder).versions)


def _report(folder: Path, number: int) -> Report:
    (path,) = (folder / "runs" / "quick" / f"v{number:04d}").glob("reports/*/report.json")
    return Report.model_validate_json(path.read_bytes())


def _trend(service: Service) -> str:
    latest = service.ask("/artifacts/latest/filter", {}, service.secret)
    return str(next(one["data"] for one in latest if one["key"] == "trend-quick"))


def _of_schedule(service: Service, folder: Path) -> list[dict[str, Any]]:
    """Runs below this folder that a schedule asked for."""
    wanted = {"flow_runs": {"tags": {"all_": ["auto-scheduled"]}}, "limit": 200}
    runs = service.ask("/flow_runs/filter", wanted, service.secret)
    return [one for one in runs if one["parameters"].get("folder") == str(folder)]


def _begin_by_schedule(service: Service, parameters: dict[str, Any]) -> str:
    """The run that a schedule starts by itself; there is no second one."""
    named = {"deployments": {"name": {"any_": ["regenerate"]}}}
    (deployment,) = service.ask("/deployments/filter", named, service.secret)
    due = datetime.now(UTC) + timedelta(seconds=DUE_SECONDS)
    every = {"interval": INTERVAL_SECONDS, "anchor_date": due.isoformat()}
    here = f"/deployments/{deployment['id']}"
    service.ask(f"{here}/schedules", [{"schedule": every, "parameters": parameters}], service.secret)
    # a deployment that was changed is looked at soon
    for change in ("pause_deployment", "resume_deployment"):
        service.ask(f"{here}/{change}", {}, service.secret)

    def begun() -> list[str]:
        runs = _of_schedule(service, Path(parameters["folder"]))
        return [one["id"] for one in runs if one["state_type"] != "SCHEDULED"]

    (first, *_) = service.wait_until(begun)
    service.ask(f"{here}/pause_deployment", {}, service.secret)
    return str(first)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nights_by_hand_and_by_schedule(running: Service, tmp_path: Path, small_overrides: list[str]) -> None:
    folder, mine = tmp_path / "lineage", tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "quick.yaml").write_text(QUICK)
    parameters = {"recipe": "tiny", "folder": str(folder), "workers": 1, "overrides": small_overrides}
    parameters |= {"audit": False, "keep": KEEP, "runs": [str(mine)]}
    parameters |= {"experiments": [str(tmp_path / "quick.yaml")]}

    _night(running, running.submit("regenerate", parameters))
    assert (folder / "latest").read_text() == "v0001.zarr\n"
    assert "first" in _trend(running)
    # somebody goes on with this model
    shutil.copytree(folder / "runs" / "quick" / "v0001", mine / "kept")

    _night(running, running.submit("regenerate", parameters))
    assert (folder / "latest").read_text() == "v0002.zarr\n"
    assert numbers(folder) == [1, 2], "a run refers to the first one, which one alone would not keep"
    first, second = _versions(folder)
    assert (first.state, second.state) == ("good", "good")
    assert [first.seed, second.seed] == [version_seed(1001, 1), version_seed(1001, 2)]
    assert [_report(folder, one.number).store_digest for one in (first, second)] == [
        first.digest,
        second.digest,
    ]
    assert "| 2 |" in _trend(running)
    assert "| 1 |" in _trend(running)

    _night(running, _begin_by_schedule(running, parameters))
    assert (folder / "latest").read_text() == "v0003.zarr\n"
    assert [one.state for one in _versions(folder)] == ["good", "removed", "good"]
    assert numbers(folder) == [1, 3]
    assert all(verify(folder / version_name(number)).sound for number in (1, 3))
    assert _report(folder, 3).store_digest == _versions(folder)[2].digest
    # models and reports outlive their data
    assert _report(folder, 2).store_digest == second.digest
    assert "| 3 |" in _trend(running)
