"""Whether scheduler and workers are there. Without a worker no shard is made, and Dask waits for ever."""

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from distributed import CancelledError, Client, Future
from distributed.comm.core import CommClosedError

from schemas.cluster import AnyCluster, ExistingScheduler, Kubernetes, Slurm
from schemas.errors import ClusterLostError

# Whoever ends workers to start others has done so by then.
PATIENCE_MINUTES = 10.0
LOOK_SECONDS = 10.0
REASON = "no-workers"


@contextlib.contextmanager
def told_when_lost(client: Client, during: str, kept: str) -> Iterator[None]:
    """A scheduler that goes away is one error; it is not waited for, since it would know of no work."""
    address = client.scheduler.address if client.scheduler else "?"
    try:
        yield
    except (CancelledError, CommClosedError) as error:
        raise ClusterLostError(
            f"the Dask scheduler at {address} went away while {during}",
            expected="a scheduler that runs until its flows have ended",
            advice=f"start one again and run the same command; {kept}",
        ) from error


@contextlib.contextmanager
def attended(
    client: Client, where: AnyCluster, log: logging.Logger | logging.LoggerAdapter[Any]
) -> Iterator[None]:
    """While this lasts, the loss of all workers for good is one error; the scheduler must be there.

    Jobs and pods may wait in a queue for hours. The log says so now and then, and nothing is ended.
    """
    watch = _Watch(client, where, log)
    # what Prefect knows of the run is in the context of the flow's thread
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(watch.look_on,), name="attendance", daemon=True)
    thread.start()
    try:
        yield
    except CancelledError as error:
        if watch.given_up:
            raise watch.lost() from error
        raise
    finally:
        watch.ended.set()
        # a question to a scheduler that is gone takes longer, and disturbs nobody
        thread.join(1.0)


class _Watch:
    """Looks whether workers are there, and gives up the work when none was for too long."""

    def __init__(
        self, client: Client, where: AnyCluster, log: logging.Logger | logging.LoggerAdapter[Any]
    ) -> None:
        self.client, self.log = client, log
        self.address = str(client.scheduler.address if client.scheduler else "?")
        self.queues = isinstance(where, Slurm | Kubernetes)
        first = where.patience_minutes if isinstance(where, ExistingScheduler) else 0.0
        self.minutes = max(PATIENCE_MINUTES, first)
        self.ended = threading.Event()
        self.given_up = False

    def look_on(self) -> None:
        """Until the work has ended or is given up."""
        seen = said = time.monotonic()
        while not self.ended.wait(LOOK_SECONDS):
            now = time.monotonic()
            if self._anybody():
                if said > seen:
                    self.log.info("workers are there again, after %.1f minutes", (now - seen) / 60)
                seen = said = now
            elif not self.queues and now - seen >= 60 * self.minutes:
                self._give_up()
                return
            elif said == seen or now - said >= 60 * self.minutes:
                said = now
                self._say((now - seen) / 60)

    def _anybody(self) -> bool:
        """A scheduler that does not answer is another fault, which the work itself meets."""
        try:
            return bool(self.client.nthreads())
        except Exception:
            return True

    def _say(self, minutes: float) -> None:
        what = "jobs may wait in the queue" if self.queues else f"after {self.minutes:g} the flow ends"
        self.log.warning("no worker was at %s for %.1f minutes; %s", self.address, minutes, what)

    def _give_up(self) -> None:
        """Cancel all work, so that whoever waits for it does so no longer."""
        self.given_up = True
        work: list[Future[Any]] = [Future(key, self.client) for key in list(self.client.futures)]
        self.client.cancel(work, reason=REASON)

    def lost(self) -> ClusterLostError:
        """What is to be told."""
        return ClusterLostError(
            f"no worker was at the Dask scheduler for {self.minutes:g} minutes while shards were made",
            expected="one worker at least until the flow has ended",
            where=self.address,
            advice="start workers again, with nannies if nobody watches them, and run the same command;"
            " finished shards are kept",
        )
