"""What flows lean on, taken away: workers, single shards, Prefect's server, Dask's scheduler, their disk."""

import contextlib
import os
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fault_disks import BLOCK, fill, small_disk
from benchmarks.fault_processes import (
    FORMS,
    MOST_SECONDS,
    PYTHON,
    Command,
    clean,
    command,
    is_clear_error,
    simulate,
)
from benchmarks.fault_stores import Outcome, Workplace, bad_receipts, same
from flows.generate import Order
from flows.serving.server import free_port
from storage import commit, layout

ROOT = Path(__file__).resolve().parents[1]
POISON = Path(__file__).resolve().parent / "poison"
NAMED = "all others are made; one error names the shard, exit code 1; the rerun makes that one alone"


def _poison(spans: str, kind: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(POISON), str(ROOT), os.environ.get("PYTHONPATH")]))
    return {"POISON": spans, "POISON_KIND": kind, "PYTHONPATH": path}


def _bad_shards(place: Workplace, tries: int, rng: random.Random, kind: str, says: str) -> int:
    held = 0
    for trial in range(tries):
        order = place.empty(place.long, "poison.zarr")
        spans = list(layout.spans(order.plan))
        bad = rng.choice(spans)
        with command(*simulate(order.root, *FORMS[trial % 2]), **_poison(str(bad), kind)) as running:
            code, said = running.ended()
            named = is_clear_error(code, said, f"1 shard could not be made: {bad} {says}")
            alone = running.alone()
        kept = [span for span in spans if (order.root / commit.receipt_path(span)).exists()]
        good = named and alone and not bad_receipts(order) and set(kept) == set(spans) - {bad}
        with command(*simulate(order.root)) as running:
            code, said = running.ended()
            held += good and code == 0 and "1 of 114 shards made" in said and same(order, place.long)
    return held


def poisoned_workers(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """A shard at which every worker dies."""
    held = _bad_shards(place, tries, rng, "kill", "was given up after its worker died 4 times")
    return [Outcome("every worker that makes one certain shard is killed", tries, held, NAMED)]


def failing_shards(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """A shard that raises."""
    held = _bad_shards(place, tries, rng, "error", "failed: ZeroDivisionError")
    return [Outcome("one certain shard raises an error, again and again", tries, held, NAMED)]


def _ends_well(running: Command, order: Order, sound: Order) -> bool:
    code, said = running.ended()
    return code == 0 and "Traceback" not in said and running.alone() and same(order, sound)


def killed_servers(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """The server that a command has for itself."""
    held = 0
    for trial in range(tries):
        order = place.empty(place.long, "server.zarr")
        with command(*simulate(order.root, *FORMS[trial % 2])) as running:
            met = running.meet(order.root, rng.randrange(1, 40))
            for one in running.descendants():
                with contextlib.suppress(psutil.Error):
                    if "server" in one.cmdline():
                        one.kill()
            held += met and _ends_well(running, order, place.long)
    outcome = "the command starts it anew at the same address; the run completes, the same files"
    return [Outcome("kill -9 of the Prefect server of a command", tries, held, outcome)]


@contextlib.contextmanager
def _server(port: int, home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A Prefect server as somebody else would run it."""
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    words = [PYTHON, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    home.mkdir(exist_ok=True)
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2)
                break
            time.sleep(0.2)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)


def restarted_servers(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """A server that PREFECT_API_URL names; while it is away, shards must go on being made."""
    held = 0
    for trial in range(tries):
        order, port = place.empty(place.long, "named.zarr"), free_port()
        home = place.folder / f"prefect{trial}"
        with contextlib.ExitStack() as servers:
            first = contextlib.ExitStack()
            first.enter_context(_server(port, home))
            servers.callback(first.close)
            words = simulate(order.root, *FORMS[trial % 2])
            address = f"http://127.0.0.1:{port}/api"
            with command(*words, PREFECT_API_URL=address, PREFECT_API_AUTH_STRING="") as running:
                met = running.meet(order.root, rng.randrange(8, 40))
                first.close()
                went_on = running.meet(order.root, 114)
                servers.enter_context(_server(port, home))
                held += met and went_on and _ends_well(running, order, place.long)
    outcome = "all shards are made while it is away; once it is back the run completes, the same files"
    return [Outcome("kill -9 of a server that PREFECT_API_URL names, restarted", tries, held, outcome)]


@contextlib.contextmanager
def _dask(port: int, scratch: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A scheduler and a worker of somebody else; yields the scheduler."""
    address = f"tcp://127.0.0.1:{port}"
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    words = [PYTHON, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
    scheduler = subprocess.Popen([*words, "--no-dashboard"], **quiet)
    words = [PYTHON, "-m", "distributed.cli.dask_worker", address, "--nthreads", "2", "--no-dashboard"]
    worker = subprocess.Popen([*words, "--local-directory", str(scratch)], cwd=ROOT, **quiet)
    try:
        yield scheduler
    finally:
        for process in (worker, scheduler):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)


def lost_schedulers(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """A scheduler that runs already; afterwards another one."""
    held = 0
    for trial in range(tries):
        order, port = place.empty(place.long, "scheduler.zarr"), free_port()
        address = f"tcp://127.0.0.1:{port}"
        words = simulate(order.root, *FORMS[trial % 2], "--dask-address", address)
        with _dask(port, place.folder / "dask") as scheduler, command(*words) as running:
            met = running.meet(order.root, rng.randrange(8, 40))
            scheduler.kill()
            code, said = running.ended()
            good = met and is_clear_error(code, said, address, "finished shards are kept")
            good = good and running.alone() and clean(order)
        kept = any((order.root / commit.RECEIPTS).rglob("*.json"))
        with _dask(port, place.folder / "dask"), command(*words) as running:
            held += good and kept and _ends_well(running, order, place.long)
    outcome = "one error with its address, exit code 1; shards are kept; with a new scheduler the same files"
    return [Outcome("kill -9 of the scheduler of --dask-address", tries, held, outcome)]


def full_state_folders(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """A state folder on a disk without space for Prefect's database; then with some."""
    held = 0
    for _ in range(tries):
        order = place.empty(place.long, "state.zarr")
        home = place.folder / "state"
        with (
            small_disk(home, rng.randrange(1, 12) << 20),
            command(*simulate(order.root), LENSMILL_HOME=str(home)) as running,
        ):
            code, said = running.ended()
            good = is_clear_error(code, said, "no space for Prefect's database", str(home))
            good = good and running.alone() and not (order.root / commit.MARKER).exists()
        with command(*simulate(order.root)) as running:
            held += good and _ends_well(running, order, place.long)
    outcome = "one error that says where space is missing, exit code 1; with space, the same files"
    return [Outcome("a full disk under Prefect's database", tries, held, outcome)]


def filled_state_folders(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """A state folder whose disk something else fills: when the store has just begun, then in the middle."""
    held = 0
    for trial in range(tries):
        order, home = place.empty(place.long, "filled.zarr"), place.folder / "filled"
        words = simulate(order.root, *FORMS[trial % 2])
        with small_disk(home, 64 << 20):
            with command(*words, LENSMILL_HOME=str(home)) as running:
                met = running.meet(order.root, rng.randrange(1, 40) if trial else 0)
                fill(home / "ballast", leave=rng.randrange(0, 5) * BLOCK)
                code, said = running.ended()
                told = is_clear_error(code, said, "no space for Prefect's database", str(home))
                good = met and (told or code == 0) and running.alone() and clean(order)
            (home / "ballast").unlink()
            with command(*words, LENSMILL_HOME=str(home)) as running:
                held += good and _ends_well(running, order, place.long)
    outcome = "the run completes, or one error says where space is missing; with space, the same files"
    return [Outcome("a disk that fills up under Prefect's database during a run", tries, held, outcome)]
