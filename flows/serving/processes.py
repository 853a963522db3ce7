"""Processes that outlive the command that starts them, and how a later command finds and ends them."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from storage.files.file_lock import STATE_FOLDER, take

# also for those who start processes here
from storage.files.process_identity import Identity as Identity
from storage.files.process_identity import identity as identity
from storage.files.process_identity import still_runs

ASKED_SECONDS, TOLD_SECONDS = 15.0, 10.0
LOG_BYTES = 32_000_000


def spawn(
    command: list[str],
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    inherited: tuple[int, ...] = (),
) -> "subprocess.Popen[bytes]":
    """A process of its own session, so that Ctrl-C in this terminal does not reach it."""
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=inherited,
        )


def keep_short(log: Path) -> None:
    """Begin a log anew that has grown long; its end is kept beside it, in NAME.1.

    Whoever writes it may be alive and has the file open, so the file itself stays. A line that is written
    between the two steps is lost.
    """
    # a disk that is full, say, is told by what needs it more
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_BYTES:
            with log.open("rb") as long, log.with_name(f"{log.name}.1").open("wb") as before:
                long.seek(-LOG_BYTES, os.SEEK_END)
                shutil.copyfileobj(long, before)
            os.truncate(log, 0)


def living(known: Identity | None) -> psutil.Process | None:
    """The process, if it still runs here."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if known is not None and still_runs(known):
            return psutil.Process(known.pid)
    return None


def listens(process: psutil.Process, port: int) -> bool:
    """Whether it is this process, and not somebody else's, that answers at a port."""
    with contextlib.suppress(psutil.Error):
        family = [process, *process.children(recursive=True)]
        sockets = [one for member in family for one in member.net_connections("tcp")]
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)
    return False


@contextlib.contextmanager
def suspended(process: psutil.Process | None) -> Iterator[None]:
    """A process that does nothing meanwhile; what it started goes on."""
    with contextlib.suppress(psutil.Error):
        if process is not None:
            process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.Error):
            if process is not None:
                process.resume()


def end(process: psutil.Process) -> None:
    """A process and its children: asked first, then made to."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [*process.children(recursive=True), process]
        process.terminate()
        _, alive = psutil.wait_procs([process], timeout=ASKED_SECONDS)
        rest = [one for one in (*family, *alive) if one.is_running()]
        for one in rest:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        _, alive = psutil.wait_procs(rest, timeout=TOLD_SECONDS)
        for one in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """One process after the other, by a lock that the kernel takes back from a dead one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # what is started meanwhile does not inherit the file
    with path.open("w") as lock:
        take(lock, STATE_FOLDER, wait=True)
        yield
