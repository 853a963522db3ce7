"""What workers log, in the log of the flow that they work for: warnings, pressed memory, lost workers.

The plugins here run in workers and their nannies, wherever those are, so nothing here loads Prefect. Each
sends its lines as events through Dask's scheduler to the flow, a bounded number of them: what is logged for
every sample must not become a flood on the network and in Prefect's database. What is left out is counted.
"""

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from distributed import Client
from distributed.diagnostics.plugin import NannyPlugin, WorkerPlugin

# Dask's own topic about workers that come and go
COMINGS = "all"
PYTHON_WARNINGS = "py.warnings"
# our packages from INFO on; of Dask, and of Python's own warnings, what is wrong
OURS = {"flows": logging.INFO, "simulate": logging.INFO, "storage": logging.INFO}
OF_WORKERS = {**OURS, "distributed": logging.WARNING, PYTHON_WARNINGS: logging.WARNING}
OF_NANNIES = {"distributed.nanny": logging.WARNING}
SECONDS, LINES_OF_WORKER, LINES_OF_FLOW = 10.0, 20, 60
LAST_LINES_SECONDS = 0.1


class Allowance:
    """So many lines in so many seconds; the others are counted."""

    def __init__(self, lines: int, seconds: float = SECONDS) -> None:
        self.lines, self.seconds = lines, seconds
        self.began, self.used, self.left_out = -seconds, 0, 0
        self.lock = threading.Lock()

    def take(self, now: float) -> int | None:
        """None if a line is too many; else how many were left out since the last that was not."""
        with self.lock:
            if now - self.began >= self.seconds:
                self.began, self.used = now, 0
            if self.used >= self.lines:
                self.left_out += 1
                return None
            self.used += 1
            left_out, self.left_out = self.left_out, 0
            return left_out


class Sender(logging.Handler):
    """Sends lines as events of a worker or a nanny."""

    def __init__(self, topic: str, log_event: Callable[[str, Any], None], name: str) -> None:
        super().__init__()
        self.topic, self.log_event, self.sender = topic, log_event, name
        self.allowance = Allowance(LINES_OF_WORKER)

    def emit(self, record: logging.LogRecord) -> None:
        """One line, if it is not too many."""
        left_out = self.allowance.take(time.monotonic())
        if left_out is not None:
            message = record.getMessage().strip()
            # Python shows the line of code below its warnings
            message = message.partition("\n")[0] if record.name == PYTHON_WARNINGS else message
            self._send(record.levelno, message, left_out)

    def end(self) -> None:
        """Tell of the lines that were left out after the last one."""
        if self.allowance.left_out:
            self._send(logging.WARNING, "no more of it", self.allowance.left_out)

    def _send(self, level: int, message: str, left_out: int) -> None:
        # `worker` is overwritten by Dask with the address
        line = {"sender": self.sender, "level": level, "message": message, "left_out": left_out}
        # a worker that is closing has nobody to send to
        with contextlib.suppress(Exception):
            self.log_event(self.topic, line)


class _Ear:
    """A sender at some loggers of a process, until it is told to end.

    Lines are in the flow's log then and not on the process's own screen: workers on this machine share the
    terminal's, where each line would stand twice. Several flows, or workers, may listen in one process; the
    first to come changes a logger and the last to go puts it back.
    """

    def __init__(self, sender: Sender, levels: dict[str, int]) -> None:
        self.sender, self.levels = sender, levels
        for name, level in levels.items():
            logger = logging.getLogger(name)
            if not _listeners(logger):
                BEFORE[name] = _State.of(logger)
                logger.setLevel(min(level, logger.getEffectiveLevel()))
                logger.propagate = False
                for handler in logger.handlers:
                    handler.setLevel(logging.CRITICAL + 1)
            logger.addHandler(sender)

    def end(self) -> None:
        """As it was before."""
        self.sender.end()
        for name in self.levels:
            logger = logging.getLogger(name)
            logger.removeHandler(self.sender)
            if not _listeners(logger) and name in BEFORE:
                BEFORE.pop(name).put_back(logger)


@dataclass(frozen=True)
class _State:
    """How a logger was before anyone listened."""

    level: int
    propagates: bool
    handlers: tuple[tuple[logging.Handler, int], ...]

    @classmethod
    def of(cls, logger: logging.Logger) -> "_State":
        """As it is."""
        return cls(logger.level, logger.propagate, tuple((one, one.level) for one in logger.handlers))

    def put_back(self, logger: logging.Logger) -> None:
        """As it was."""
        logger.setLevel(self.level)
        logger.propagate = self.propagates
        for handler, level in self.handlers:
            handler.setLevel(level)


BEFORE: dict[str, _State] = {}


def _listeners(logger: logging.Logger) -> list[Sender]:
    return [handler for handler in logger.handlers if isinstance(handler, Sender)]


class WorkerLog(WorkerPlugin):
    """Lets a worker tell a flow what it logs."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.ear: _Ear | None = None

    def setup(self, worker: Any) -> None:
        """Called by Dask in each worker, those that come later too."""
        self.ear = _Ear(Sender(self.topic, worker.log_event, f"worker {worker.name}"), OF_WORKERS)
        logging.captureWarnings(True)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask's signature
        """Called by Dask at the end."""
        if self.ear:
            self.ear.end()
        logging.captureWarnings(bool(_listeners(logging.getLogger(PYTHON_WARNINGS))))


class NannyLog(NannyPlugin):
    """Lets a nanny, which restarts workers that die or take too much memory, tell a flow of it."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.ear: _Ear | None = None

    def setup(self, nanny: Any) -> None:
        """Called by Dask in each nanny; those of a local cluster share a process and its loggers."""
        if all(one.topic != self.topic for one in _listeners(logging.getLogger(*OF_NANNIES))):
            self.ear = _Ear(Sender(self.topic, nanny.log_event, "nanny"), OF_NANNIES)

    def teardown(self, nanny: Any) -> None:  # noqa: ARG002 - Dask's signature
        """Called by Dask at the end."""
        if self.ear:
            self.ear.end()


@contextlib.contextmanager
def heard(client: Client, log: logging.Logger | logging.LoggerAdapter[Any]) -> Iterator[None]:
    """While this lasts, what workers log arrives in `log`, and so does the loss of a worker.

    Nothing of it is in the way of the work: where it cannot be set up, the log says so.
    """
    # several flows may use one cluster
    topic = f"lensmill-log-{client.id}"
    desk = _Desk(log)
    try:
        client.subscribe_topic(topic, desk.line)
        client.subscribe_topic(COMINGS, desk.coming)
        client.register_plugin(WorkerLog(topic), topic)
        client.register_plugin(NannyLog(topic), topic)
    except Exception as error:
        log.warning("what workers log does not arrive here: %s", error)
    try:
        yield
    finally:
        if client.status == "running":
            _hang_up(client, topic)


def _hang_up(client: Client, topic: str) -> None:
    with contextlib.suppress(Exception):
        client.unsubscribe_topic(COMINGS)
        client.unregister_worker_plugin(topic)
        client.unregister_worker_plugin(topic, nanny=True)
        # their last lines are on their way
        time.sleep(LAST_LINES_SECONDS)
        client.unsubscribe_topic(topic)


class _Desk:
    """Where events of Dask become lines of a log, on the thread of Dask's client."""

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self.log = log
        self.allowance = Allowance(LINES_OF_FLOW)
        # what Prefect knows of the run, its server among it, is in the context of the flow's thread
        self.context = contextvars.copy_context()

    def line(self, event: tuple[float, Any]) -> None:
        """What a worker or a nanny logged."""
        said = event[1]
        self._write(said["level"], said["sender"], said["message"], said["left_out"])

    def coming(self, event: tuple[float, Any]) -> None:
        """What Dask's scheduler tells of workers; of interest is who is lost."""
        said = event[1]
        if said.get("action") == "remove-worker" and not said.get("expected", False):
            underway = len(said.get("processing-tasks", ()))
            lost = f"lost, with {underway} pieces of work underway; others get them"
            self._write(logging.WARNING, f"worker at {said['worker']}", lost, 0)

    def _write(self, level: int, worker: str, message: str, left_out: int) -> None:
        more = self.allowance.take(time.monotonic())
        if more is None:
            return
        more += left_out
        note = f" ({more} more lines were left out before this one)" if more else ""
        facts = {"worker": worker, "left_out": more or None}
        self.context.run(self.log.log, level, f"{worker}: {message}{note}", extra={"facts": facts})
