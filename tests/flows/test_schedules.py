"""What a cron in UTC is for: nights of 24 hours when clocks are changed."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from prefect.server.schemas.schedules import CronSchedule
from ruamel.yaml import YAML

from flows.serving.service import ROOT

# The nights in which clocks are changed in Europe in 2026, and a day or two around them.
CHANGES = (datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC))


def _steps(schedule: CronSchedule, start: datetime) -> set[timedelta]:
    dates = asyncio.run(schedule.get_dates(n=6, start=start))
    return {timedelta(seconds=after.timestamp() - before.timestamp()) for before, after in pairwise(dates)}


def _schedules() -> dict[str, dict[str, str]]:
    deployments = YAML(typ="safe", pure=True).load((ROOT / "prefect.yaml").read_text())["deployments"]
    return {one["name"]: schedule for one in deployments for schedule in one.get("schedules", ())}


@pytest.mark.parametrize("start", CHANGES)
def test_nights_are_of_24_hours_when_clocks_change(start: datetime) -> None:
    night = _schedules()["regenerate"]
    schedule = CronSchedule(cron=night["cron"], timezone=night["timezone"])
    assert _steps(schedule, start) == {timedelta(hours=24)}


@pytest.mark.parametrize(("start", "odd"), [(CHANGES[0], 23), (CHANGES[1], 25)])
def test_a_local_clock_would_have_nights_of_23_and_25(start: datetime, odd: int) -> None:
    schedule = CronSchedule(cron=_schedules()["regenerate"]["cron"], timezone="Europe/Berlin")
    assert _steps(schedule, start) == {timedelta(hours=24), timedelta(hours=odd)}


def test_every_schedule_is_in_utc() -> None:
    found = _schedules()
    assert "regenerate" in found
    assert {one["timezone"] for one in found.values()} == {"UTC"}
