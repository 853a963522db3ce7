"""Prefect's server, a process worker and all deployments on this machine: up, down, and running one.

Both processes outlive the command that starts them. They listen on loopback only, and since loopback is not
private on a shared node, the API asks for a password that is kept in a file only the user can read.
"""

import contextlib
import fcntl
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from flows.server import (
    ALL_LEVELS,
    CONSOLE_LEVEL,
    free_port,
    prefect_server_command,
    stop,
    wait_until_healthy,
)
from schemas.errors import DataError, FlowError
from schemas.frozen import Frozen
from schemas.registry import unknown_name
from storage.state import state_folder

POOL = "lensmill"
PORT = 4200
ROOT = Path(__file__).resolve().parent.parent


class ServiceRecord(Frozen):
    """What `up` started. A process is known by its number and its start time: numbers are used again."""

    address: str
    server: tuple[int, float]
    worker: tuple[int, float] | None = None


def home() -> Path:
    """Prefect's own folder for lensmill."""
    return state_folder() / "prefect"


def record_path() -> Path:
    """Where the running service is written down."""
    return state_folder() / "service.json"


def password() -> str:
    """The API's password, made on first use, readable by the user alone."""
    path = home() / "auth"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"lensmill:{secrets.token_urlsafe(24)}")
    return path.read_text()


def running() -> ServiceRecord | None:
    """The service that is up with server and worker, or None."""
    record = _recorded()
    alive = record and record.worker and _process(record.server) and _process(record.worker)
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
    """Start server, work pool, deployments and worker; does nothing where they run already."""
    if record := running():
        return record
    # what is left of a service whose server or worker died
    down()
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lensmill.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FlowError(
                "another lensmill command is using Prefect's state folder",
                where=str(home()),
                advice="wait for it to end, then run `lensmill up` again",
            ) from error
        # the server inherits the lock and so holds it for as long as it lives
        return _start(lock.fileno())


def _start(lock: int) -> ServiceRecord:
    address = f"http://127.0.0.1:{free_port(PORT)}/api"
    environment = os.environ | client_environment(address) | {CONSOLE_LEVEL: ALL_LEVELS}
    server_environment = environment | {
        "PREFECT_SERVER_API_AUTH_STRING": password(),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    server = _spawn(prefect_server_command(address), server_environment, "server.log", (lock,))
    worker = None
    # written at once, so that `down` finds the server even if this command is killed
    record = ServiceRecord(address=address, server=_identity(server.pid))
    record_path().write_text(record.to_json())
    try:
        wait_until_healthy(server, address, home() / "server.log")
        _prefect(["work-pool", "create", POOL, "--type", "process", "--overwrite"], environment)
        _prefect(["deploy", "--all", "--prefect-file", str(ROOT / "prefect.yaml")], environment)
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        worker = _spawn(command, environment | {"PREFECT_LOGGING_LEVEL": "INFO"}, "worker.log")
        record = record.model_copy(update={"worker": _identity(worker.pid)})
        record_path().write_text(record.to_json())
        _write_profile(address)
    except BaseException:
        for process in (worker, server):
            if process is not None:
                stop(process)
        record_path().unlink(missing_ok=True)
        raise
    return record


def _spawn(
    command: list[str], environment: Mapping[str, str], log: str, inherited: tuple[int, ...] = ()
) -> "subprocess.Popen[bytes]":
    """A process of its own session, so that Ctrl-C in this terminal does not reach it."""
    with (home() / log).open("ab") as output:
        return subprocess.Popen(  # noqa: S603
            command,
            env=dict(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=inherited,
        )


def _prefect(arguments: list[str], environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(  # noqa: S603
        command, env=dict(environment), cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    if done.returncode:
        raise FlowError(
            f"`prefect {' '.join(arguments[:2])}` failed: {(done.stderr or done.stdout).strip()[-600:]}",
            where=str(home() / "server.log"),
        )


def _write_profile(address: str) -> None:
    """With PREFECT_HOME set to our folder, Prefect's own command talks to the service."""
    lines = [
        'active = "lensmill"',
        "[profiles.lensmill]",
        f'PREFECT_API_URL = "{address}"',
        f'PREFECT_API_AUTH_STRING = "{password()}"',
    ]
    path = home() / "profiles.toml"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("\n".join(lines) + "\n")


def down() -> bool:
    """Stop worker and server with everything they started; False where nothing was up."""
    record = _recorded()
    if record is None:
        return False
    for identity in (record.worker, record.server):
        if identity and (process := _process(identity)):
            _end(process)
    record_path().unlink(missing_ok=True)
    (home() / "profiles.toml").unlink(missing_ok=True)
    return True


def _end(process: psutil.Process) -> None:
    """A process and its children: asked first, then made to."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [*process.children(recursive=True), process]
        process.terminate()
        _, alive = psutil.wait_procs([process], timeout=15)
        rest = [one for one in (*family, *alive) if one.is_running()]
        for one in rest:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        _, alive = psutil.wait_procs(rest, timeout=10)
        for one in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def _identity(pid: int) -> tuple[int, float]:
    return pid, psutil.Process(pid).create_time()


def _process(identity: tuple[int, float]) -> psutil.Process | None:
    pid, started = identity
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def run_deployment(name: str, parameters: dict[str, Any], watch: bool) -> str:
    """Start a deployment and return its flow run's state: the last one with `watch`, else the first."""
    record = running()
    if record is None:
        raise FlowError("the service is not up", advice="start it: lensmill up")
    os.environ.update(client_environment(record.address))
    # after the environment: Prefect reads it when it is imported
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment as start
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    full = name if "/" in name else f"{name}/{name}"
    try:
        with get_client(sync_client=True) as client:
            known = client.read_deployment_by_name(full).parameter_openapi_schema or {}
        for key in parameters:
            if key not in known.get("properties", {}):
                raise unknown_name("parameter", key, known.get("properties", {}))
        flow_run: Any = start(full, parameters=parameters, timeout=0, as_subflow=False)
    except ObjectNotFound as error:
        raise FlowError(
            f"there is no deployment {full!r}", advice="`prefect deployment ls` lists them"
        ) from error
    except (ValueError, PrefectHTTPStatusError) as error:
        raise DataError(f"the deployment refused its parameters: {error}") from error
    with get_client(sync_client=True) as client:
        while watch and not (flow_run.state and flow_run.state.is_final()):
            time.sleep(1.0)
            flow_run = client.read_flow_run(flow_run.id)
    return f"{flow_run.name}: {flow_run.state.name if flow_run.state else 'Scheduled'}"
