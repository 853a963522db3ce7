"""A Dask scheduler and workers as processes of their own, as other people run them. Loopback only."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flows.serving.server import free_port

MOST_SECONDS = 60
# a worker of an environment in which nobody installed lensmill
BARE = "import sys; sys.modules['flows'] = None; from distributed.cli.dask_worker import main; main()"


@dataclass
class DaskProcesses:
    """A scheduler, its address, and the workers that were started."""

    folder: Path
    address: str
    options: list[str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def scheduler(self) -> None:
        """Start the scheduler."""
        scheme, _, port = self.address.replace("://127.0.0.1", "").partition(":")
        where = ["--host", "127.0.0.1", "--port", port, "--protocol", scheme, "--no-dashboard"]
        self._start(["-m", "distributed.cli.dask_scheduler", *where], "scheduler.log")
        self._wait("scheduler.log", b"Scheduler at")

    def worker(self, bare: bool = False) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny, so that a kill is a loss, and wait until it is taken in."""
        log = f"worker-{len(self.processes)}.log"
        program = ["-c", BARE] if bare else ["-m", "distributed.cli.dask_worker"]
        options = [self.address, "--nthreads", "2", "--no-nanny", "--no-dashboard"]
        process = self._start([*program, *options, "--local-directory", str(self.folder)], log)
        self._wait(log, b"Registered to")
        return process

    def _start(self, words: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *words, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # what they say is how one knows that they are ready
                env=os.environ | {"DASK_LOGGING__DISTRIBUTED": "info"},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def _wait(self, log: str, for_what: bytes) -> None:
        deadline = time.monotonic() + MOST_SECONDS
        while for_what not in (self.folder / log).read_bytes():
            if self.processes[-1].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / log).read_text())
            time.sleep(0.05)

    def end(self) -> None:
        """Whatever happened, nothing stays."""
        for process in reversed(self.processes):
            process.kill()
            process.wait(timeout=30)


@contextlib.contextmanager
def dask_processes(
    folder: Path, scheme: str = "tcp", options: list[str] | None = None
) -> Iterator[DaskProcesses]:
    """A running scheduler without workers."""
    found = DaskProcesses(folder, f"{scheme}://127.0.0.1:{free_port()}", options or [])
    try:
        found.scheduler()
        yield found
    finally:
        found.end()
