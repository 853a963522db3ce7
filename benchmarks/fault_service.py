"""Faults of deployed runs: killed, cancelled from Prefect's page, two at once, without a server."""

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.fault_processes import PYTHON
from benchmarks.fault_stores import LONG, OVERRIDES, Outcome, Workplace, bad_receipts, same
from flows.generate import Order
from flows.serving.answers import Server
from flows.serving.service import ServiceRecord
from storage import commit

MOST_SECONDS = 1200.0
CLOSING_SECONDS = 180.0
# A server takes a worker for lost after three heartbeats of thirty seconds.
AWAY_SECONDS = 120.0
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Service:
    """A service of its own: state folder, processes that carry a mark, and the server's answers."""

    home: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def run(self, *words: str) -> None:
        """`lensmill`, which must end well."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("PREFECT_")}
        environment |= {"LENSMILL_HOME": str(self.home), "MARK": self.mark}
        command = [PYTHON, "-m", "flows.cli", *words]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")

    @property
    def record(self) -> ServiceRecord:
        """What is up."""
        return ServiceRecord.model_validate_json((self.home / "service.json").read_bytes())

    @property
    def server(self) -> Server:
        """Prefect's server."""
        return Server(self.record.address, (self.home / "prefect" / "auth").read_text())

    def deployment(self, name: str) -> str:
        """Its id."""
        found = self.server.ask("/deployments/filter", {"limit": 200})
        (deployment,) = [str(one["id"]) for one in found if one["name"] == name]
        return deployment

    def begin(self, order: Order) -> str:
        """A run of the deployment that makes the long store; its id."""
        parameters = {
            "recipe": "tiny",
            "out": str(order.root),
            "workers": 2,
            "overrides": [*OVERRIDES, *LONG],
        }
        path = f"/deployments/{self.deployment('simulate')}/create_flow_run"
        return str(self.server.ask(path, {"parameters": parameters, "state": {"type": "SCHEDULED"}})["id"])

    def state(self, run: str) -> str:
        """The type of a run's state."""
        return str(self.server.ask(f"/flow_runs/{run}", method="GET")["state_type"])

    def ended(self, run: str) -> str:
        """Its last state."""
        until(lambda: self.state(run) in FINAL)
        return self.state(run)

    def open_runs(self) -> int:
        """Flow and task runs that are said to be running."""
        running = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
        flows = self.server.ask("/flow_runs/filter", {"flow_runs": running})
        return len(flows) + len(self.server.ask("/task_runs/filter", {"task_runs": running}))

    def processes(self) -> list[psutil.Process]:
        """All that the service started, itself left out."""
        found, own = [], {self.record.server[0], *([self.record.worker[0]] if self.record.worker else [])}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("MARK") == self.mark and process.pid not in own
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def drivers(self) -> list[psutil.Process]:
        """The processes of flow runs."""
        return [one for one in self.processes() if "prefect.engine" in " ".join(one.cmdline())]


def until(condition: Callable[[], bool], seconds: float = MOST_SECONDS) -> bool:
    """Wait for something; whether it came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def met(order: Order, receipts: int) -> bool:
    """Wait until so many shards are there."""
    return until(lambda: sum(1 for _ in (order.root / commit.RECEIPTS).rglob("*.json")) >= receipts)


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """Up, and down whatever happens."""
    with tempfile.TemporaryDirectory(prefix="lensmill-faults-") as home:
        here = Service(Path(home))
        try:
            here.run("up")
            yield here
        finally:
            record = here.record if (here.home / "service.json").exists() else None
            with contextlib.suppress(RuntimeError, subprocess.SubprocessError):
                here.run("down")
            for one in here.processes() if record and (here.home / "service.json").exists() else []:
                with contextlib.suppress(psutil.Error):
                    one.kill()


def _completes(here: Service, order: Order, sound: Order) -> bool:
    """Whether another run makes the same files, after which no run is open."""
    good = here.ended(here.begin(order)) == "COMPLETED" and same(order, sound)
    closed = until(lambda: here.open_runs() == 0, CLOSING_SECONDS)
    print(f"completed={good} {closed=}", file=sys.stderr, flush=True)
    return good and closed


def killed_runs(here: Service, place: Workplace, rng: random.Random) -> bool:
    """The process of a flow run, killed."""
    order = place.empty(place.long, "service.zarr")
    run = here.begin(order)
    came = met(order, rng.randrange(1, 60))
    for one in here.drivers():
        with contextlib.suppress(psutil.Error):
            one.kill()
    crashed = here.ended(run) == "CRASHED"
    gone = until(lambda: not here.drivers() and not _workers(here), CLOSING_SECONDS)
    print(f"{came=} {crashed=} {gone=}", file=sys.stderr, flush=True)
    return came and crashed and gone and not bad_receipts(order) and _completes(here, order, place.long)


def _workers(here: Service) -> list[psutil.Process]:
    found = []
    for one in here.processes():
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(one.cmdline()):
                found.append(one)
    return found


def cancelled_runs(here: Service, place: Workplace, rng: random.Random) -> bool:
    """As the button of Prefect's page does it."""
    order = place.empty(place.long, "service.zarr")
    run = here.begin(order)
    came = met(order, rng.randrange(1, 40))
    state = {"type": "CANCELLING", "name": "Cancelling"}
    here.server.ask(f"/flow_runs/{run}/set_state", {"state": state})
    cancelled = here.ended(run) == "CANCELLED"
    gone = until(lambda: not here.drivers() and not _workers(here), CLOSING_SECONDS)
    unsealed = not (order.root / commit.MARKER).exists() and not bad_receipts(order)
    print(f"{came=} {cancelled=} {gone=} {unsealed=}", file=sys.stderr, flush=True)
    return came and cancelled and gone and unsealed and _completes(here, order, place.long)


def lost_servers(here: Service, place: Workplace, rng: random.Random) -> bool:
    """The service's server, killed under a run; `lensmill up` starts it again."""
    order = place.empty(place.long, "service.zarr")
    run = here.begin(order)
    came = met(order, rng.randrange(1, 40))
    before = here.record
    psutil.Process(before.server[0]).kill()
    went_on = met(order, 114)
    here.run("up")
    same_place = here.record.address == before.address and here.record.server != before.server
    print(f"{came=} {went_on=} {same_place=}", file=sys.stderr, flush=True)
    return came and went_on and same_place and here.ended(run) == "COMPLETED" and same(order, place.long)


def servers_long_away(here: Service, place: Workplace, rng: random.Random) -> bool:
    """The same, but the server takes the worker for lost by then, and the worker asks it rarely."""
    order = place.empty(place.long, "service.zarr")
    run = here.begin(order)
    came = met(order, rng.randrange(1, 40))
    before = here.record
    psutil.Process(before.server[0]).kill()
    time.sleep(AWAY_SECONDS)
    here.run("up")
    kept = here.record.worker == before.worker
    print(f"{came=} {kept=}", file=sys.stderr, flush=True)
    completed = here.ended(run) == "COMPLETED" and same(order, place.long)
    idle = until(lambda: not here.drivers(), CLOSING_SECONDS)
    here.run("up")
    return came and kept and completed and idle and here.record.worker != before.worker


def dead_machines(here: Service, place: Workplace, rng: random.Random) -> bool:
    """Server, worker, run and its workers killed together, as when power is lost."""
    order = place.empty(place.long, "service.zarr")
    run = here.begin(order)
    came = met(order, rng.randrange(1, 40))
    record = here.record
    leaders = [psutil.Process(one[0]) for one in (record.worker, record.server) if one]
    for one in (*leaders, *here.processes()):
        with contextlib.suppress(psutil.Error):
            one.kill()
    here.run("up")
    # told at once: nobody has to start another run for that
    closed = here.state(run) == "CRASHED" and here.open_runs() == 0
    print(f"{came=} {closed=}", file=sys.stderr, flush=True)
    return came and closed and not bad_receipts(order) and _completes(here, order, place.long)


def two_runs(here: Service, place: Workplace, _: random.Random) -> bool:
    """One after the other, since they make one store."""
    order = place.empty(place.long, "service.zarr")
    runs = [here.begin(order), here.begin(order)]
    return [here.ended(run) for run in runs] == ["COMPLETED"] * 2 and same(order, place.long)


Told = tuple[Callable[..., bool], str, str]
KILLED: Told = (
    killed_runs,
    "kill -9 of a deployed run's process",
    "Crashed at once, its workers gone; another run makes the same files and closes what was left open",
)
CANCELLED: Told = (
    cancelled_runs,
    "a deployed run is cancelled from Prefect's page",
    "Cancelled, its workers gone; the store is resumable, another run makes the same files",
)
SERVER: Told = (
    lost_servers,
    "kill -9 of the service's server under a run, then `lensmill up`",
    "all shards are made while it is away; the run completes, the same files",
)
AWAY: Told = (
    servers_long_away,
    f"the same with {AWAY_SECONDS:g} s between the two",
    "`up` leaves the run's worker alone; the run completes, the same files; the next `up` renews the worker",
)
DIED: Told = (
    dead_machines,
    "kill -9 of server, worker and a run at once, then `lensmill up`",
    "`up` itself calls the run Crashed, with its tasks; another run makes the same files",
)
TWO: Told = (
    two_runs,
    "two runs of one recipe at once, deployed",
    "the second waits; both complete, the same files",
)


def on_a_service(told: Told, place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """One of these, again and again on one service."""
    trial, event, outcome = told
    with service() as here:
        held = sum(trial(here, place, rng) for _ in range(tries))
    return [Outcome(event, tries, held, outcome)]
