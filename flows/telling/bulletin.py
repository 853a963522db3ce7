"""Progress for those who are not at the terminal: an artifact of Prefect's page, lines in the flow's log.

Telling is never in the way of the work. Prefect's server is spoken to by a thread of its own, which sends
what is newest when the last answer has come; a server that is slow or gone costs nothing but the telling.
"""

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from flows.telling.progress import Pace, clock
from flows.telling.run_log import run_logger

ARTIFACT_SECONDS = 5.0
FIRST_LINE_SECONDS = 10.0
# Lines come further apart the longer the work takes: some twenty for each factor of three.
LATER_LINES = 20
LAST_WORD_SECONDS = 5.0


class Bulletin:
    """How far some shards are. To be used as a context."""

    def __init__(
        self,
        shards: int,
        images: int,
        store: str,
        create: Callable[[str], UUID],
        update: Callable[[UUID, float, str], object],
    ) -> None:
        self.shards, self.images, self.store = shards, images, store
        self.create, self.update = create, update
        self.pace = Pace(images)
        self.log = run_logger()
        self.news: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
        # what Prefect knows of a run is in the context of its thread
        work = contextvars.copy_context().run
        self.thread = threading.Thread(target=work, args=(self._send_news,), name="bulletin", daemon=True)
        self.sent = self.logged = -1.0

    def __enter__(self) -> "Bulletin":
        self.news.put((0.0, self.words(0, 0)))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.news.put(None)
        self.thread.join(LAST_WORD_SECONDS)

    def words(self, shards: int, images: int) -> str:
        """Where the work is, in words."""
        said = f"{shards:,} of {self.shards:,} shards, {images:,} of {self.images:,} images"
        left = self.pace.remaining_s(images)
        if left is None:
            return said
        return f"{said}, {self.pace.rate(images):,.0f} images/s, {clock(left)} left"

    def tell(self, shards: int, images: int) -> None:
        """So many are done; told at the first, at the last, and now and then between."""
        seconds, last = time.monotonic() - self.pace.started, shards == self.shards
        if last or self.sent < 0 or seconds - self.sent > ARTIFACT_SECONDS:
            self.sent = seconds
            self.news.put((100 * images / self.images, self.words(shards, images)))
        if last or self.logged < 0 or seconds - self.logged > max(FIRST_LINE_SECONDS, seconds / LATER_LINES):
            self.logged = seconds
            self.log.info(self.words(shards, images), extra={"facts": self._facts(shards, images)})

    def _facts(self, shards: int, images: int) -> dict[str, Any]:
        left = self.pace.remaining_s(images)
        return {
            "store": self.store,
            "done": images,
            "total": self.images,
            "unit": "images",
            "shards": shards,
            "per_s": round(self.pace.rate(images), 3),
            "remaining_s": None if left is None else round(left, 1),
        }

    def _send_news(self) -> None:
        artifact, told, over = None, False, False
        while not over:
            waiting = [self.news.get()]
            while not self.news.empty():
                waiting.append(self.news.get())
            over = waiting[-1] is None
            newest = next((one for one in reversed(waiting) if one is not None), None)
            if newest is None:
                continue
            try:
                artifact = artifact or self.create(newest[1])
                self.update(artifact, *newest)
            except Exception as error:
                if not told:
                    told = True
                    self.log.warning("Prefect's page does not get the progress: %s; the work goes on", error)
