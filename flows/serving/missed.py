"""Scheduled runs that were due while nothing was up: the newest of each schedule makes up for all of them.

Prefect would do them all, one after the other: after a week without the machine, as many new versions of a
data set as it had planned ahead.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from flows.serving.answers import Server
from schemas.errors import FlowError

MESSAGE = "was due while nothing was up; a later run makes up for it"
# Others that wait were taken by a worker already: for a slot of the deployment, or to be tried again.
NOT_TAKEN = ("Scheduled", "Late")


def drop_missed(server: Server) -> int:
    """Cancel all that were missed but for the newest of each schedule; how many there were."""
    waiting = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "limit": 200}
    dropped = superseded(server.ask("/flow_runs/filter", waiting), datetime.now(UTC))
    for run in dropped:
        # one that a worker took meanwhile is that worker's
        with contextlib.suppress(FlowError):
            server.end_run(run, MESSAGE)
    return len(dropped)


def superseded(runs: Iterable[Mapping[str, Any]], now: datetime) -> list[str]:
    """Of runs that a schedule asked for and that are due, all but the newest of each schedule.

    Schedules of a deployment are told apart by their parameters: one for each data set.
    """
    due: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for run in runs:
        at = datetime.fromisoformat(run["expected_start_time"])
        asked = run["auto_scheduled"] and run["deployment_id"] and run["state_name"] in NOT_TAKEN
        if asked and at <= now:
            schedule = (run["deployment_id"], json.dumps(run["parameters"], sort_keys=True))
            due.setdefault(schedule, []).append((at, run["id"]))
    return [run for found in due.values() for _, run in sorted(found)[:-1]]
