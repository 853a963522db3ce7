"""The Prefect API that a command uses: the user's, the service's, or a server for as long as it runs."""

import contextlib
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.scratch import scratch_folder
from flows.serving.server import (
    ALL_LEVELS,
    CONSOLE_LEVEL,
    free_port,
    need_space,
    prefect_server_command,
    stop,
    wait_until_healthy,
)
from flows.serving.service import password, running
from schemas.errors import FlowError, PlaceError, WriteError
from storage.files.file_lock import STATE_FOLDER, take
from storage.files.state import private_folder, state_folder

SENDING_SECONDS = 5.0
WATCH_SECONDS = 1.0
# a server that cannot live is not started for ever
MOST_STARTS = 3


def nothing() -> None:
    """There is nothing to do meanwhile."""


@contextlib.contextmanager
def prefect_api(meanwhile: Callable[[], None] = nothing) -> Iterator[str]:
    """The address of a Prefect API: by `PREFECT_API_URL`, the service's, else a server of our own.

    `meanwhile` is called once, while a server of our own starts.
    """
    with _chosen_api(meanwhile) as address, _told_when_lost(address):
        yield address


@contextlib.contextmanager
def _told_when_lost(address: str) -> Iterator[None]:
    """A server that is gone for longer than clients try again, or fails itself, is one error."""
    from httpx import TransportError
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        yield
    except PrefectHTTPStatusError as error:
        need_space(state_folder())
        raise FlowError(
            f"Prefect's server at {address} answers {error.response.status_code}",
            advice=f"read its log ({state_folder() / 'prefect' / 'server.log'} if it is ours),"
            " then run the same command again; what was made is kept",
        ) from error
    except TransportError as error:
        raise FlowError(
            f"Prefect's server at {address} does not answer: {str(error) or type(error).__name__}",
            expected="a server that is back within a minute or two",
            advice="see whether it runs, then run the same command again; what was made is kept",
        ) from error


@contextlib.contextmanager
def _chosen_api(meanwhile: Callable[[], None]) -> Iterator[str]:
    if address := os.environ.get("PREFECT_API_URL"):
        meanwhile()
        yield address
        return
    if service := running():
        meanwhile()
        with _settings(service.address, password()):
            yield service.address
        return
    # loopback is shared by everyone on a machine, so even a short-lived server asks for a password
    secret = f"lensmill:{secrets.token_urlsafe(24)}"
    with (
        _private_home() as home,
        _server(home, secret, meanwhile) as address,
        _settings(address, secret, heartbeats=False),
    ):
        try:
            yield address
        finally:
            _send_what_is_left()


@contextlib.contextmanager
def _settings(address: str, secret: str, heartbeats: bool = True) -> Iterator[None]:
    # imported here: the command sets PREFECT_HOME before anything of Prefect is loaded, and a server starts
    # while this process loads it
    from prefect import settings

    found: dict[Any, Any] = {
        settings.PREFECT_API_URL: address,
        settings.PREFECT_API_AUTH_STRING: secret,
    }
    if not heartbeats:
        # nobody looks for those of a server that lives no longer than the command, and every flow waits up
        # to a second for the thread that sends them
        found[settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY] = None
    with settings.temporary_settings(found):
        yield


def _send_what_is_left() -> None:
    """Logs and events, while the server is there: at exit Prefect would look for it for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=SENDING_SECONDS)


@contextlib.contextmanager
def _private_home() -> Iterator[Path]:
    """The state folder, or a temporary one while another command is using it: SQLite takes one server."""
    home = state_folder() / "prefect"
    try:
        private_folder("prefect")
    except OSError as error:
        raise WriteError(
            f"cannot make the state folder {home}: {error.strerror}",
            advice="name another one in LENSMILL_HOME",
        ) from error
    need_space(home)
    with (home / "lensmill.lock").open("w") as lock:
        try:
            take(lock, STATE_FOLDER)
        except (BlockingIOError, PlaceError):
            # SQLite needs locks as well, and this server lives no longer than the command
            with scratch_folder("lensmill-prefect-") as temporary:
                yield temporary
        else:
            yield home


@contextlib.contextmanager
def _server(home: Path, password: str, meanwhile: Callable[[], None]) -> Iterator[str]:
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
        # kinds of blocks, which only people on its page use, take most of a second; nor is it noted that they
        # were written, which the server of `up` would believe
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    }
    guarded = [sys.executable, "-m", "flows.serving.guarded", str(os.getpid())]
    with log.open("wb") as output:

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(  # noqa: S603
                [*guarded, *prefect_server_command(address)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches all of a terminal's processes: the server answers until the driver is done
                start_new_session=True,
            )

        process = start()
        try:
            meanwhile()
            wait_until_healthy(process, address, log)
        except BaseException:
            stop(process)
            raise
        with _watched(process, start):
            yield address


@contextlib.contextmanager
def _watched(
    process: "subprocess.Popen[bytes]", start: Callable[[], "subprocess.Popen[bytes]"]
) -> Iterator[None]:
    """Start a server anew, at the same address, when it dies; stop it in the end."""
    ending = threading.Event()

    def watch() -> None:
        running, starts = process, 0
        while not ending.wait(WATCH_SECONDS):
            if running.poll() is not None and starts < MOST_STARTS:
                running, starts = start(), starts + 1
        stop(running)

    watcher = threading.Thread(target=watch, name="lensmill-server")
    watcher.start()
    try:
        yield
    finally:
        ending.set()
        watcher.join()
