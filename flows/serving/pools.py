"""Workers: processes that poll a pool of a server, here or elsewhere, and start the runs that it has."""

import contextlib
import os
import platform
import re
import secrets
import sys
import time
from pathlib import Path

import psutil

from flows.serving.answers import Server
from flows.serving.closing import close_orphans_of
from flows.serving.private_files import write_private
from flows.serving.processes import Identity, end, identity, living, spawn
from flows.serving.server import ALL_LEVELS, CONSOLE_LEVEL
from schemas.errors import FlowError, RecipeError
from schemas.frozen import Frozen
from storage.files.state import private_folder, state_folder

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# A worker is online with its first heartbeat, which it sends as soon as Prefect is loaded.
ONLINE_SECONDS = 120.0
LOOK_SECONDS = 0.5


class WorkerRecord(Frozen):
    """A worker that was started on this machine."""

    pool: str
    address: str
    name: str
    process: Identity
    # Its server died and was started anew. Prefect's worker then polls again, but has given up listening for
    # runs that are cancelled on the page.
    outlived: bool = False

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return living(self.process) is not None

    @property
    def has_runs(self) -> bool:
        """Whether runs are at work below it."""
        process = living(self.process)
        with contextlib.suppress(psutil.NoSuchProcess):
            return process is not None and bool(process.children())
        return False


def kept_or_started(known: WorkerRecord | None, pool: str, server: Server, home: Path) -> WorkerRecord:
    """The worker that is there if it polls and hears the server, else a new one.

    After the server was away a worker asks less and less often, up to minutes apart. One that has runs keeps
    them, and polls again by itself; it makes way when they have ended.
    """
    same = known and known.alive and known.address == server.address
    if known and same and known.has_runs:
        return known
    if known and same and not known.outlived and known.name in server.workers_online(pool):
        return known
    if known:
        stop_worker(known)
    return start_worker(pool, server, home)


def start_worker(pool: str, server: Server, home: Path) -> WorkerRecord:
    """A worker that polls a pool, once the server has heard of it."""
    # a name of its own: the server takes a dead worker for a living one for some time
    name = f"{platform.node()}-{secrets.token_hex(3)}"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    environment = {
        **os.environ,
        "PREFECT_API_URL": server.address,
        "PREFECT_HOME": str(home),
        "PREFECT_LOGGING_LEVEL": "INFO",
        CONSOLE_LEVEL: ALL_LEVELS,
    }
    if server.secret is not None:
        environment["PREFECT_API_AUTH_STRING"] = server.secret
    log = home / f"worker-{pool}.log"
    process = spawn([*command, "--name", name], environment, ROOT, log)
    record = WorkerRecord(pool=pool, address=server.address, name=name, process=identity(process.pid))
    try:
        _wait_until_online(record, server, log)
    except BaseException:
        stop_worker(record)
        raise
    return record


def _wait_until_online(record: WorkerRecord, server: Server, log: Path) -> None:
    deadline = time.monotonic() + ONLINE_SECONDS
    while record.name not in server.workers_online(record.pool):
        if not record.alive or time.monotonic() > deadline:
            state = f"was not online within {ONLINE_SECONDS:g} s" if record.alive else "ended"
            raise FlowError(
                f"the worker of pool {record.pool!r} {state}", where=str(log), advice="read that log"
            )
        time.sleep(LOOK_SECONDS)


def stop_worker(record: WorkerRecord) -> None:
    """End a worker with the runs that it started."""
    if process := living(record.process):
        end(process)


# -- pools besides the service's own, such as that of a machine with a GPU


def up_pool(pool: str, server: Server, home: Path) -> WorkerRecord:
    """A worker for a pool of a server that may be elsewhere; the one that is there stays."""
    if not NAME.fullmatch(pool):
        raise RecipeError(f"the pool's name {pool!r}", expected="letters, digits, . _ and -", where="--pool")
    known = next((one for one in recorded_pools() if one.pool == pool), None)
    make_pool(pool, server)
    close_orphans_of(server)
    record = kept_or_started(known, pool, server, home)
    private_folder("workers")
    write_private(_path(pool), record.to_json())
    return record


def make_pool(pool: str, server: Server) -> None:
    """A process pool by that name, unless there is one."""
    if not server.ask("/work_pools/filter", {"work_pools": {"name": {"any_": [pool]}}}):
        server.ask("/work_pools/", {"name": pool, "type": "process"})
    server.pause(pool, False)


def recorded_pools() -> list[WorkerRecord]:
    """What `up --pool` has started here."""
    found = []
    for path in sorted((state_folder() / "workers").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            found.append(WorkerRecord.model_validate_json(path.read_bytes()))
    return found


def note_restart(address: str) -> None:
    """Workers that are left have outlived the server that was there before."""
    for one in recorded_pools():
        if one.address == address and one.alive:
            write_private(_path(one.pool), one.model_copy(update={"outlived": True}).to_json())


def down_pools() -> list[WorkerRecord]:
    """End all of them; those that were alive."""
    found = recorded_pools()
    alive = [one for one in found if one.alive]
    for record in found:
        stop_worker(record)
        _path(record.pool).unlink(missing_ok=True)
    return alive


def _path(pool: str) -> Path:
    return state_folder() / "workers" / f"{pool}.json"
