"""`lensmill down --wait`: nothing new begins, and what is at work is waited for."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from flows.serving.answers import Server
from flows.serving.closing import close_orphans_of
from flows.serving.pools import WorkerRecord
from schemas.errors import FlowError

LOOK_SECONDS = 2.0
# Runs that nobody would ever end are looked for now and then: that loads Prefect.
CLOSE_SECONDS = 60.0


def wait_until_idle(
    server: Server | None,
    lives: Callable[[], bool],
    own: Sequence[str],
    workers: Sequence[WorkerRecord],
    tell: Callable[[str], None],
) -> None:
    """Until no run is at work: on the server that is to be ended, and below workers for servers elsewhere.

    Pools of the server are paused. One elsewhere is not: workers of other machines may poll it too. What runs
    on a server that dies meanwhile is not waited for.
    """
    here = [one.pool for one in workers if server and one.address == server.address]
    away = [one for one in workers if server is None or one.address != server.address]
    told: set[str] = set()
    closed = -CLOSE_SECONDS
    with _paused(server, [*own, *here]):
        while True:
            if server and lives() and time.monotonic() - closed > CLOSE_SECONDS:
                close_orphans_of(server)
                closed = time.monotonic()
            busy = _at_work(server) if server and lives() else set()
            busy |= {f"what runs on pool {one.pool}" for one in away if one.has_runs}
            if not busy:
                return
            for one in sorted(busy - told):
                tell(f"waiting for {one}")
            told |= busy
            time.sleep(LOOK_SECONDS)


def _at_work(server: Server) -> set[str]:
    try:
        return set(server.underway().values())
    except FlowError as error:
        # too busy to answer, which passes
        return {f"an answer of Prefect's server at {error.where}"}


@contextlib.contextmanager
def _paused(server: Server | None, pools: Sequence[str]) -> Iterator[None]:
    """Pools whose workers begin nothing new; they go on where the wait is given up."""

    def pause(paused: bool) -> None:
        for pool in pools:
            with contextlib.suppress(FlowError):
                if server:
                    server.pause(pool, paused)

    pause(True)
    try:
        yield
    except BaseException:
        pause(False)
        raise
