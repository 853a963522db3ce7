"""The Prefect API that a command uses: the user's, the service's, or a server for as long as it runs."""

import contextlib
import fcntl
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.server import (
    ALL_LEVELS,
    CONSOLE_LEVEL,
    free_port,
    prefect_server_command,
    stop,
    wait_until_healthy,
)
from flows.service import password, running
from schemas.errors import WriteError
from storage.state import state_folder

SENDING_SECONDS = 5.0


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
            try:
                yield address
            finally:
                _send_what_is_left()


def _send_what_is_left() -> None:
    """Logs and events, while the server is there: at exit Prefect would look for it for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=SENDING_SECONDS)


def _service_that_is_up() -> "dict[Any, str] | None":
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

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
        CONSOLE_LEVEL: ALL_LEVELS,
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
