"""What starting a Prefect server takes: environment, free port, health, end. Loopback only."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from schemas.errors import FlowError, WriteError
from storage.files.state import private_folder, state_folder

# A machine that others use too takes minutes over ten seconds of work. A server that ended is told at once.
STARTUP_SECONDS = 300
# A new one takes less than a tenth of it.
DATABASE_BYTES = 16_000_000
# Prefect's own override of its console's level; servers and workers, whose console is a file, want all
CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
ALL_LEVELS = "NOTSET"
LOOPBACK = ("127.0.0.1", "localhost")
# Prefect by itself forgets events alone; with this, runs that ended 90 days ago, with their tasks, logs and
# artifacts. Of every server, for whoever never calls `up` has a database that grows as well.
FORGOTTEN = "events,flow_runs"


def set_private_environment(verbose: bool = False, shown: bool = False) -> None:
    """Keep Prefect off the user's own `~/.prefect` and quiet. To be called before Prefect is imported."""
    with contextlib.suppress(OSError):
        private_folder("prefect")
    os.environ["PREFECT_HOME"] = str(state_folder() / "prefect")
    # the log goes to Prefect's page in any case, and to the screen where somebody wants it
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    # of events that find no server: they are sent again when it is back
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "ERROR" if verbose else "CRITICAL")
    os.environ.setdefault(CONSOLE_LEVEL, "INFO" if verbose or shown else "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED", FORGOTTEN)
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "info" if verbose else "critical")
    keep_loopback_from_proxies()


def keep_loopback_from_proxies() -> None:
    """Let this process, and all that it starts, ask servers of this machine themselves.

    A proxy cannot reach them, and would be told the password. For other addresses it stays as it is.
    """
    names = {name.lower() for name, value in os.environ.items() if value}
    # alone, the variable would hide the proxies that macOS has in its settings
    if not any(name.endswith("_proxy") for name in names - {"no_proxy"}):
        return
    # programs read either one first, and some only one
    given = {one: os.environ.get(one) for one in ("no_proxy", "NO_PROXY")}
    for name, value in given.items():
        spared = [one.strip() for one in (value or given[name.swapcase()] or "").split(",") if one.strip()]
        if "*" not in spared:
            os.environ[name] = ",".join([*spared, *(one for one in LOOPBACK if one not in spared)])


def free_port(wanted: int = 0) -> int:
    """A free loopback port: the wanted one if it is free, else any."""
    with socket.socket() as probe:
        # as servers do: one that died leaves connections behind, which fade for a minute
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prefect_server_command(address: str) -> list[str]:
    """The command of a server that listens at an address of loopback."""
    port = address.removesuffix("/api").rpartition(":")[2]
    words = ["server", "start", "--host", "127.0.0.1", "--port", port]
    return [sys.executable, "-m", "flows.serving.prefect_server", *words]


def wait_until_healthy(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Until the API answers; a server that ends or stays silent is an error that names its log."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{address}/health", timeout=2)  # noqa: S310
            return
        time.sleep(0.1)
    need_space(log.parent)
    state = "ended" if process.poll() is not None else f"did not answer within {STARTUP_SECONDS} s"
    raise FlowError(
        f"Prefect's server {state}",
        where=str(log),
        advice="read that log; a server of your own can be named in PREFECT_API_URL",
    )


def need_space(folder: Path) -> None:
    """Refuse a disk on which Prefect's database cannot grow."""
    free = shutil.disk_usage(folder).free
    if free < DATABASE_BYTES:
        raise WriteError(
            f"no space for Prefect's database: {free / 1e6:.1f} MB are free",
            expected=f"{DATABASE_BYTES / 1e6:.0f} MB at least",
            where=str(folder),
            advice="free space there, or name another state folder in LENSMILL_HOME",
        )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and make it after a while."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
