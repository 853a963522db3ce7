"""Due times that pass while nothing is up: one run makes up for all of them."""

import random
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from benchmarks.fault_service import FINAL, Service, Told, until
from benchmarks.fault_stores import OVERRIDES, SMALL, Workplace, same
from flows.generate import Order
from flows.serving.missed import MESSAGE

# until the first due time: a busy machine takes a good part of it to bring the service down
LEAD = timedelta(seconds=120)
APART = timedelta(seconds=5)
TIMES = 3
PLANNING_SECONDS = 100.0


def while_down(here: Service, place: Workplace, _: random.Random) -> bool:
    """`lensmill down` before the first due time, `lensmill up` after the last."""
    return _missed(here, place, lambda: here.run("down"))


def without_server(here: Service, place: Workplace, _: random.Random) -> bool:
    """The server killed, while its worker goes on asking for runs."""
    return _missed(here, place, lambda: psutil.Process(here.record.server[0]).kill())


def _missed(here: Service, place: Workplace, stop: Any) -> bool:
    order = place.empty(place.small, "missed.zarr")
    first = datetime.now(UTC).replace(microsecond=0) + LEAD
    deployment = _schedule(here, order, first)
    planned = until(lambda: len(_since(here, deployment, first)) == TIMES, PLANNING_SECONDS)
    stop()
    in_time = datetime.now(UTC) < first
    last = first + (TIMES - 1) * APART
    until(lambda: datetime.now(UTC) > last, 2 * LEAD.total_seconds())
    here.run("up")
    until(lambda: all(run["state_type"] in FINAL for run in _since(here, deployment, first)))
    *older, newest = _since(here, deployment, first)
    dropped = [(run["state_type"], run["state"]["message"]) == ("CANCELLED", MESSAGE) for run in older]
    done = newest["state_type"] == "COMPLETED" and same(order, place.small)
    print(f"{planned=} {in_time=} {dropped=} {done=}", file=sys.stderr, flush=True)
    return planned and in_time and dropped == [True] * (TIMES - 1) and done


def _schedule(here: Service, order: Order, first: datetime) -> str:
    """Let the deployment that makes a store fall due some times, then never again; its id."""
    deployment = here.deployment("simulate")
    every = f"FREQ=SECONDLY;INTERVAL={APART.seconds};COUNT={TIMES}"
    schedule = {"rrule": f"DTSTART:{first:%Y%m%dT%H%M%SZ}\nRRULE:{every}", "timezone": "UTC"}
    parameters = {"recipe": "tiny", "out": str(order.root), "workers": 2, "overrides": [*OVERRIDES, *SMALL]}
    body = [{"schedule": schedule, "active": True, "parameters": parameters}]
    here.server.ask(f"/deployments/{deployment}/schedules", body)
    return deployment


def _since(here: Service, deployment: str, first: datetime) -> list[dict[str, Any]]:
    """All runs of a deployment from a due time on, by when they were due; the server's word."""
    wanted = {
        "flow_runs": {
            "deployment_id": {"any_": [deployment]},
            "expected_start_time": {"after_": first.isoformat()},
        },
        "sort": "EXPECTED_START_TIME_ASC",
    }
    return list(here.server.ask("/flow_runs/filter", wanted))


ONCE = "the newest of three due times is made up for, once; the others are Cancelled and say why"
DOWN: Told = (while_down, "a schedule falls due three times between `lensmill down` and `lensmill up`", ONCE)
SERVERLESS: Told = (
    without_server,
    "the same between kill -9 of the service's server and `lensmill up`; its worker lives",
    ONCE,
)
