"""Workers of this machine that Dask has given up, started anew.

Dask drops a worker that died and is not back in a while, which a busy machine takes easily, and one that dies
while it starts. When all are dropped, work would wait for ever.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

LOOK_SECONDS = 10.0
PATIENCE: dict[str, Any] = {"distributed.deploy.lost-worker-timeout": "60s"}


@contextlib.contextmanager
def kept_up(cluster: Any, workers: int) -> Iterator[None]:
    """So many workers, whatever becomes of them."""
    ending = threading.Event()

    def look() -> None:
        while not ending.wait(LOOK_SECONDS):
            # starts what is missing of them; nothing where nothing is
            cluster.scale(workers)

    looking = threading.Thread(target=look, name="lensmill-upkeep", daemon=True)
    looking.start()
    try:
        yield
    finally:
        ending.set()
        looking.join()
