"""Schedules: what was missed is made up for once, and a night at 3:00 UTC comes once a day all year."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from prefect.server.schemas.schedules import CronSchedule

from flows.serving.missed import drop_missed, superseded
from flows.serving.service import ROOT
from schemas.errors import FlowError
from schemas.reading import parse

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def _run(
    name: str,
    hours: float,
    deployment: str | None = "nightly",
    scheduled: bool = True,
    state: str = "Late",
    recipe: str = "tiny",
) -> dict[str, Any]:
    at = (NOW + timedelta(hours=hours)).isoformat()
    return {
        "id": name,
        "expected_start_time": at,
        "deployment_id": deployment,
        "auto_scheduled": scheduled,
        "state_name": state,
        "parameters": {"recipe": recipe},
    }


@pytest.mark.parametrize(
    ("runs", "dropped"),
    [
        ([], []),
        ([_run("only", -9)], []),
        ([_run("next", 15)], []),
        ([_run("old", -33), _run("new", -9), _run("next", 15)], ["old"]),
        ([_run("new", -9), _run("older", -57), _run("old", -33)], ["older", "old"]),
        ([_run("old", -33), _run("other", -9, "weekly")], []),
        ([_run("asked for", -33, scheduled=False), _run("new", -9)], []),
        ([_run("of none", -33, None), _run("new", -9)], []),
        ([_run("one", -9), _run("another", -9, recipe="hst")], []),
        ([_run("queued", -33, state="AwaitingConcurrencySlot"), _run("new", -9)], []),
    ],
)
def test_only_the_newest_of_what_was_missed_is_done(runs: list[dict[str, Any]], dropped: list[str]) -> None:
    assert superseded(runs, NOW) == dropped


class Books:
    """As much of a server as is asked."""

    def __init__(self, taken: str) -> None:
        self.taken = taken
        self.ended: list[str] = []

    def ask(self, path: str, body: Any) -> list[dict[str, Any]]:
        """Three runs that are long due."""
        assert path == "/flow_runs/filter"
        assert body["flow_runs"]["state"]["type"]["any_"] == ["SCHEDULED"]
        return [_run(name, hours - 2e5) for hours, name in enumerate("abc")]

    def end_run(self, run: str, why: str) -> None:
        """One of them was taken by a worker meanwhile."""
        assert "makes up for it" in why
        if run == self.taken:
            raise FlowError("too late")
        self.ended.append(run)


def test_a_run_that_was_taken_meanwhile_is_left() -> None:
    books: Any = Books("a")
    assert drop_missed(books) == 2
    assert books.ended == ["b"]


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_changes_of_clocks_move_no_night(day: str) -> None:
    path = ROOT / "prefect.yaml"
    (schedule,) = [
        schedule
        for deployment in parse(path.read_text(), str(path)).value["deployments"]
        for schedule in deployment.get("schedules", [])
        if deployment["name"] == "regenerate"
    ]
    cron = CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")

    async def dates() -> list[datetime]:
        return await cron.get_dates(n=4, start=start)

    found = anyio.run(dates)
    assert [one.astimezone(UTC) for one in found] == [
        start + timedelta(days=number, hours=3) for number in range(4)
    ]
