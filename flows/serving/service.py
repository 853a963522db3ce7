"""Prefect's server, a process worker and all deployments on this machine: up and down.

Both processes outlive the command that starts them. They listen on loopback only, and since loopback is not
private on a shared node, the API asks for a password that is kept in a file only the user can read.
"""

import contextlib
import functools
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.serving.answers import Server
from flows.serving.closing import close_orphans_of
from flows.serving.deploying import deploy_all, deployment_names, deployments_digest
from flows.serving.missed import drop_missed
from flows.serving.pools import (
    ROOT,
    WorkerRecord,
    down_pools,
    kept_or_started,
    make_pool,
    note_restart,
    recorded_pools,
    stop_worker,
    up_pool,
)
from flows.serving.private_files import create_private, mine, write_private
from flows.serving.processes import (
    Identity,
    end,
    identity,
    in_turn,
    keep_short,
    listens,
    living,
    spawn,
    suspended,
)
from flows.serving.server import (
    ALL_LEVELS,
    CONSOLE_LEVEL,
    free_port,
    need_space,
    prefect_server_command,
    stop,
    wait_until_healthy,
)
from flows.serving.waiting import wait_until_idle
from schemas.errors import FlowError
from schemas.frozen import Frozen
from storage.files.file_lock import STATE_FOLDER, take
from storage.files.process_identity import seen_from_here
from storage.files.state import private_folder, state_folder

POOL = "lensmill"
PORT = 4200
ENDED_BY_DOWN = "ended by `lensmill down`; the same run resumes from what is there"
# Kept in memory, as Prefect does by itself, the right of a run to a deployment's slot would be forgotten with
# the server, and the slot taken for ever.
LEASES = "prefect.server.concurrency.lease_storage.filesystem"


class ServiceRecord(Frozen):
    """What `up` started."""

    address: str
    server: Identity
    worker: Identity | None = None
    worker_name: str = ""
    outlived: bool = False
    deployed: str = ""

    @property
    def polling(self) -> WorkerRecord | None:
        """Its worker."""
        if self.worker is None:
            return None
        return WorkerRecord(
            pool=POOL,
            address=self.address,
            name=self.worker_name,
            process=self.worker,
            outlived=self.outlived,
        )


@dataclass(frozen=True)
class Ended:
    """What `down` brought to an end."""

    runs: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()


def home() -> Path:
    """Prefect's own folder for lensmill."""
    return state_folder() / "prefect"


def record_path() -> Path:
    """Where the running service is written down."""
    return state_folder() / "service.json"


def password() -> str:
    """The API's password, made on first use, readable by the user alone."""
    path = home() / "auth"
    if not path.exists():
        create_private(path, f"lensmill:{secrets.token_urlsafe(24)}")
    if not mine(path):
        raise FlowError(
            "the password of Prefect's server can be read by others",
            expected="a file of mode 0600 that is yours",
            where=str(path),
            advice="`lensmill down`, then `lensmill up`: it makes a new password",
        )
    return path.read_text()


def _renew_password() -> None:
    """A password that others could read is none; while no server asks for it, another one takes its place."""
    path = home() / "auth"
    if path.is_symlink() or (path.exists() and not (mine(path) and path.read_text())):
        path.unlink()


def running() -> ServiceRecord | None:
    """The service that is up with server and worker, or None."""
    record = _recorded()
    alive = record and living(record.worker) and living(record.server)
    return record if alive else None


def _recorded() -> ServiceRecord | None:
    try:
        return ServiceRecord.model_validate_json(record_path().read_bytes())
    except (OSError, ValueError):
        return None


def client_environment(address: str) -> dict[str, str]:
    """What a Prefect client needs to talk to the service."""
    return {"PREFECT_API_URL": address, "PREFECT_API_AUTH_STRING": password(), "PREFECT_HOME": str(home())}


def up() -> ServiceRecord:
    """Server, work pool, deployments and worker: what is missing or died is started, the rest left alone.

    Two at once would start two workers: the second waits, and finds everything there.
    """
    with in_turn(_starting()):
        _keep_logs_short()
        return _up()


def _starting() -> Path:
    """The lock of those who start servers and workers."""
    return state_folder() / "up.lock"


def _keep_logs_short() -> None:
    for log in home().glob("*.log"):
        keep_short(log)


def _up() -> ServiceRecord:
    record = _recorded()
    if record and living(record.server):
        return _mended(record)
    # where the server alone died, its worker's runs wait for one at the same address
    before = record if record and record.polling and record.polling.has_runs else None
    private_folder("prefect")
    need_space(home())
    with _nobody_else() as lock:
        if before is None:
            # what is left of a service; workers of other pools may work for a server elsewhere
            _end(record)
        return _start(lock, before)


@contextlib.contextmanager
def _nobody_else() -> Iterator[int]:
    """The lock of Prefect's folder. A server inherits it, and so holds it for as long as it lives."""
    with (private_folder("prefect") / "lensmill.lock").open("w") as lock:
        try:
            take(lock, STATE_FOLDER)
        except BlockingIOError as error:
            raise FlowError(
                "another lensmill command is using Prefect's state folder, or a service that was started on"
                " another machine or in another container",
                where=str(home()),
                advice="wait for the command to end, or end the service where it was started; then try again",
            ) from error
        yield lock.fileno()


def up_pool_here(pool: str) -> WorkerRecord:
    """Only a worker for a pool, of the server that PREFECT_API_URL names or of the one here."""
    with in_turn(_starting()):
        _keep_logs_short()
        return up_pool(pool, server_to_work_for(), home())


def server_to_work_for() -> Server:
    """The server that PREFECT_API_URL names, or the one of this machine's service."""
    private_folder("prefect")
    if address := os.environ.get("PREFECT_API_URL"):
        return Server(address.rstrip("/"), os.environ.get("PREFECT_API_AUTH_STRING"))
    record = _recorded()
    if record is None or living(record.server) is None:
        raise FlowError(
            "there is no server for the worker to poll",
            expected="a service that is up here, or PREFECT_API_URL",
            advice="`lensmill up`; or export PREFECT_API_URL and PREFECT_API_AUTH_STRING of another server",
        )
    return Server(record.address, password())


def _start(lock: int, before: ServiceRecord | None = None) -> ServiceRecord:
    if before is None:
        _renew_password()
    for _ in range(3):
        worker = living(before.worker) if before else None
        # it would begin all runs that were missed, before they can be dropped
        with suspended(worker):
            record = _start_server(lock, before)
            ours = _is_ours(record)
            if ours and worker:
                _drop_missed(record)
        if ours:
            return _completed(record, before)
        # somebody took the port meanwhile
        _end(record)
        before = None
    raise FlowError(
        "every port was taken by another process while the server started",
        where=record.address,
        advice="run `lensmill up` again; it looks for a free port",
    )


def _completed(record: ServiceRecord, before: ServiceRecord | None) -> ServiceRecord:
    """What belongs to a server that was just started; without it, a new service is ended again."""
    try:
        return _mended(record)
    except BaseException:
        # runs that go on since before need the server more than this command needs a clean end
        if before is None:
            _end(_recorded())
        raise


def _drop_missed(record: ServiceRecord) -> None:
    """As soon as it can be; a server that does not answer is told of later."""
    with contextlib.suppress(FlowError):
        drop_missed(Server(record.address, password()))


def _start_server(lock: int, before: ServiceRecord | None) -> ServiceRecord:
    """A server that answers; if it can be, where the one before did, since worker and runs wait there."""
    wanted = before.address.removesuffix("/api").rpartition(":")[2] if before else PORT
    address = f"http://127.0.0.1:{free_port(int(wanted))}/api"
    server_environment = (
        os.environ
        | client_environment(address)
        | {
            CONSOLE_LEVEL: ALL_LEVELS,
            "PREFECT_SERVER_API_AUTH_STRING": password(),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
            "PREFECT_LOGGING_LEVEL": "INFO",
        }
    )
    log = home() / "server.log"
    server = spawn(prefect_server_command(address), server_environment, ROOT, log, (lock,))
    record = ServiceRecord(address=address, server=identity(server.pid))
    if before is not None and before.address == address:
        record = before.model_copy(update={"server": record.server, "outlived": True})
        note_restart(address)
    elif before is not None and before.polling:
        stop_worker(before.polling)
    # written at once, so that `down` finds the server even if this command is killed
    _noted(record)
    try:
        wait_until_healthy(server, address, log)
    except BaseException:
        stop(server)
        if before is None:
            _end(record)
        else:
            # its worker and runs live on, and wait for the next try
            _noted(before)
        raise
    return record


def _is_ours(record: ServiceRecord) -> bool:
    """Whether it is our server that answers, and not another user's, which must not be told the password."""
    process = living(record.server)
    port = int(record.address.removesuffix("/api").rpartition(":")[2])
    return process is not None and listens(process, port)


def _mended(record: ServiceRecord) -> ServiceRecord:
    """The service with all that belongs to it, checked by asking the server."""
    server = Server(record.address, password())
    made_of = deployments_digest()
    if record.deployed != made_of or not deployment_names() <= server.deployments():
        make_pool(POOL, server)
        deploy_all(server, os.environ | client_environment(record.address), home() / "server.log")
        record = _noted(record.model_copy(update={"deployed": made_of}))
    server.pause(POOL, False)
    drop_missed(server)
    close_orphans_of(server)
    worker = kept_or_started(record.polling, POOL, server, home())
    record = _noted(record.model_copy(update=_polled_by(worker)))
    for one in recorded_pools():
        if one.address == record.address:
            up_pool(one.pool, server, home())
    _write_profile(record.address)
    return record


def _polled_by(worker: WorkerRecord) -> dict[str, object]:
    return {"worker": worker.process, "worker_name": worker.name, "outlived": worker.outlived}


def _noted(record: ServiceRecord) -> ServiceRecord:
    write_private(record_path(), record.to_json())
    return record


def _write_profile(address: str) -> None:
    """With PREFECT_HOME set to our folder, Prefect's own command talks to the service."""
    lines = [
        'active = "lensmill"',
        "[profiles.lensmill]",
        f'PREFECT_API_URL = "{address}"',
        f'PREFECT_API_AUTH_STRING = "{password()}"',
    ]
    write_private(home() / "profiles.toml", "\n".join(lines) + "\n")


def down(wait: bool = False, tell: Callable[[str], None] = lambda _: None) -> Ended | None:
    """Stop worker and server with everything they started; None where nothing was up.

    Runs that are at work are cancelled, or waited for while no new ones start; those are told.
    """
    record, pools = _recorded(), recorded_pools()
    if record is None and not pools:
        return None
    if record and not seen_from_here(record.server):
        # what lives elsewhere cannot be ended from here, and is not to be forgotten
        with _nobody_else():
            pass
    server = _reachable(record) if record and _lives(record) else None
    if wait:
        lives = functools.partial(_lives, record)
        wait_until_idle(server, lives, [POOL], pools, tell)
    underway = server.underway() if server else {}
    ended = tuple(one.pool for one in down_pools())
    if record and record.polling:
        stop_worker(record.polling)
    if server:
        for run in server.underway():
            server.end_run(run, ENDED_BY_DOWN)
    _end(record)
    return Ended(tuple(underway.values()), ended)


def _lives(record: ServiceRecord | None) -> bool:
    return record is not None and living(record.server) is not None


def _end(record: ServiceRecord | None) -> None:
    """The worker and the server of a record, and what tells of them."""
    if record and record.polling:
        stop_worker(record.polling)
    if record and (process := living(record.server)):
        end(process)
    record_path().unlink(missing_ok=True)
    (home() / "profiles.toml").unlink(missing_ok=True)


def _reachable(record: ServiceRecord) -> Server | None:
    """The server if it answers; one that hangs is ended all the same."""
    with contextlib.suppress(FlowError):
        server = Server(record.address, password())
        if _is_ours(record):
            server.deployments()
            return server
    return None
