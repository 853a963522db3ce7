"""A Prefect server for as long as a command runs: own folder, free port, loopback only, no leftovers."""

import contextlib
import fcntl
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.errors import FlowError, WriteError

STARTUP_SECONDS = 90


def state_folder() -> Path:
    """Where lensmill keeps what is neither data nor configuration: `LENSMILL_HOME` or the XDG place."""
    if own := os.environ.get("LENSMILL_HOME"):
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "lensmill"


def set_private_environment(verbose: bool = False) -> None:
    """Keep Prefect off the user's own `~/.prefect` and quiet. To be called before Prefect is imported."""
    home = state_folder() / "prefect"
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO" if verbose else "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "info" if verbose else "critical")


@contextlib.contextmanager
def prefect_api() -> Iterator[str]:
    """The address of a Prefect API: by `PREFECT_API_URL`, the service's, else a server of our own."""
    # imported here: the command sets PREFECT_HOME before anything of Prefect is loaded
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    if address := os.environ.get("PREFECT_API_URL"):
        yield address
        return
    if service := _service_that_is_up():
        with temporary_settings(service):
            yield service[PREFECT_API_URL]
        return
    # loopback is shared by everyone on a machine, so even a short-lived server asks for a password
    password = f"lensmill:{secrets.token_urlsafe(24)}"
    with _private_home() as home, _server(home, password) as address:
        settings = {PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: password}
        with temporary_settings(settings):
            yield address


def _service_that_is_up() -> "dict[Any, str] | None":
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    from flows.service import password, running

    record = running()
    return {PREFECT_API_URL: record.address, PREFECT_API_AUTH_STRING: password()} if record else None


@contextlib.contextmanager
def _private_home() -> Iterator[Path]:
    """The state folder, or a temporary one while another command is using it: SQLite takes one server."""
    home = state_folder() / "prefect"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot make the state folder {home}: {error.strerror}",
            advice="name another one in LENSMILL_HOME",
        ) from error
    with (home / "lensmill.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with tempfile.TemporaryDirectory(prefix="lensmill-prefect-") as temporary:
                yield Path(temporary)
        else:
            yield home


@contextlib.contextmanager
def _server(home: Path, password: str) -> Iterator[str]:
    address = f"http://127.0.0.1:{free_port()}/api"
    log = home / "server.log"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_UI_ENABLED": "false",
    }
    guarded = [sys.executable, "-m", "flows.guarded", str(os.getpid()), *prefect_server_command(address)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            guarded,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C reaches all of a terminal's processes: the server must answer until the driver is done
            start_new_session=True,
        )
    try:
        wait_until_healthy(process, address, log)
        yield address
    finally:
        stop(process)


def free_port(wanted: int = 0) -> int:
    """A free loopback port: the wanted one if it is free, else any."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prefect_server_command(address: str) -> list[str]:
    """The command of a server that listens at an address of loopback."""
    port = address.removesuffix("/api").rpartition(":")[2]
    return [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]


def wait_until_healthy(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Until the API answers; a server that ends or stays silent is an error that names its log."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{address}/health", timeout=2)  # noqa: S310
            return
        time.sleep(0.1)
    state = "ended" if process.poll() is not None else f"did not answer within {STARTUP_SECONDS} s"
    raise FlowError(
        f"Prefect's server {state}",
        where=str(log),
        advice="read that log; a server of your own can be named in PREFECT_API_URL",
    )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and make it after a while."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
