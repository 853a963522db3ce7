"""A Prefect server for as long as a command runs: own folder, free port, loopback only, no leftovers."""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import FlowError

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
    """The address of a Prefect API: the user's by `PREFECT_API_URL`, else a server of our own."""
    # imported here: the command sets PREFECT_HOME before anything of Prefect is loaded
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if address := os.environ.get("PREFECT_API_URL"):
        yield address
        return
    with _private_home() as home, _server(home) as address, temporary_settings({PREFECT_API_URL: address}):
        yield address


@contextlib.contextmanager
def _private_home() -> Iterator[Path]:
    """The state folder, or a temporary one while another command is using it: SQLite takes one server."""
    home = state_folder() / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lensmill.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with tempfile.TemporaryDirectory(prefix="lensmill-prefect-") as temporary:
                yield Path(temporary)
        else:
            yield home


@contextlib.contextmanager
def _server(home: Path) -> Iterator[str]:
    port = _free_port()
    address = f"http://127.0.0.1:{port}/api"
    log = home / "server.log"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_UI_ENABLED": "false",
    }
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    guarded = [sys.executable, "-m", "flows.guarded", str(os.getpid()), *prefect]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            guarded, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait_until_healthy(process, address, log)
        yield address
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
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


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
