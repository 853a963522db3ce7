"""Shards as they arrive: read back while others are made, told on the bar and in Prefect's page."""

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.assess import artifact_key
from flows.shards import Order, row_count
from flows.telling.bulletin import Bulletin
from flows.telling.progress import Report
from schemas.errors import FlowError
from schemas.store import Receipt
from storage import commit
from storage.layout import Span


class Tally:
    """Which of the missing shards are there. To be used as a context."""

    def __init__(self, order: Order, missing: Sequence[Span], report: Report) -> None:
        self.order = order
        self.open = set(missing)
        self.total = row_count(missing)
        self.done = 0
        self.report = report
        # one thread: it reads shards faster than a machine makes them, and workers need the cores
        self.reader = ThreadPoolExecutor(1, "lensmill-reader")
        self.checks: dict[Span, Future[Receipt | None]] = {}
        self.bulletin = Bulletin(
            len(missing), self.total, str(order.root), self._new_artifact, self._renew_artifact
        )

    def __enter__(self) -> Self:
        self.bulletin.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.bulletin.__exit__()
        self.reader.shutdown(wait=True, cancel_futures=True)

    def look(self, batch: deque[Span]) -> None:
        """Take from the head of a batch, which is made in order, the shards whose receipts came since."""
        came = []
        while batch and self.has(batch[0]):
            came.append(batch.popleft())
        self.arrived(came)

    def has(self, span: Span) -> bool:
        """Whether the receipt of a shard came."""
        return (self.order.root / commit.receipt_path(span)).is_file()

    def arrived(self, spans: Iterable[Span]) -> None:
        """These shards are done."""
        before = self.done
        for span in spans:
            self.open.remove(span)
            self.done += span.rows
            self.checks[span] = self.reader.submit(self._read_back, span)
        self.report(self.done)
        if self.done > before:
            self.bulletin.tell(len(self.checks), self.done)

    def _new_artifact(self, about: str) -> UUID:
        key = f"shards-{artifact_key(self.order.recipe.name)}"
        # outside of async code it returns the id itself, which its type does not say
        return cast("UUID", create_progress_artifact(progress=0.0, key=key, description=about))

    @staticmethod
    def _renew_artifact(artifact: UUID, percent: float, about: str) -> None:
        update_progress_artifact(artifact, progress=percent, description=about)

    def _read_back(self, span: Span) -> Receipt | None:
        return commit.valid_receipt(self.order.root, self.order.plan, span, thorough=False)

    def receipts(self) -> dict[Span, Receipt]:
        """The receipts of all shards, once their files have been read back."""
        found = {span: check.result() for span, check in self.checks.items()}
        lost = sorted(str(span) for span in found if found[span] is None) + sorted(map(str, self.open))
        if lost:
            raise FlowError(
                f"{len(lost)} shards have no valid receipt although their tasks succeeded: "
                + ", ".join(lost[:5]),
                where=str(self.order.root),
                advice="run the same command again; finished shards are kept",
            )
        return {span: receipt for span, receipt in found.items() if receipt is not None}
