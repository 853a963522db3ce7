"""Whether a shard still holds what was sealed, found out once for each, whoever reads it first."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from schemas.errors import StoreDamagedError
from schemas.store import Manifest, Receipt
from storage.commit import read_json, receipt_path
from storage.files.durable import file_fault
from storage.files.place import Root
from storage.layout import Span

Key = tuple[str, int]


def receipts_by_shard(manifest: Manifest) -> Mapping[Key, Receipt]:
    """The sealed receipts, found by split and number of the shard."""
    return {(receipt.split, receipt.shard): receipt for receipt in manifest.receipts}


def check_shard(root: Root, receipt: Receipt | None, span: Span) -> None:
    """Refuse a shard with a file that is not, byte by byte, the one that the manifest seals."""
    faults = _faults(root, receipt, span)
    if faults:
        raise StoreDamagedError(
            f"{span} of the store at {root} is damaged: " + "; ".join(faults),
            expected="the files whose SHA-256 the manifest lists",
            advice="find what is damaged: lensmill verify STORE; mend it: lensmill repair STORE",
        )


def _faults(root: Root, receipt: Receipt | None, span: Span) -> list[str]:
    if receipt is None or (receipt.first_row, receipt.rows) != (span.first_row, span.rows):
        return ["the manifest does not list it"]
    faults = [fault for record in receipt.files if (fault := file_fault(root, record))]
    path = receipt_path(span)
    try:
        changed = read_json(root / path, Receipt) != receipt
    except StoreDamagedError:
        changed = True
    return [*faults, f"{path} is not the receipt that the manifest lists"] if changed else faults


class ShardChecks:
    """The shards that passed. Threads that ask for the same one wait for the first to look at it."""

    def __init__(self) -> None:
        self._passed: set[Key] = set()
        self._renew_locks()

    def once(self, span: Span, check: Callable[[Span], None]) -> None:
        """Look at a shard if nobody did; one that failed is looked at again."""
        key = (span.split, span.shard)
        if key in self._passed:
            return
        if self._owner != os.getpid():
            # a lock that another thread held while this process was forked off is never released here
            self._renew_locks()
        with self._gate:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._passed:
                check(span)
                self._passed.add(key)

    def _renew_locks(self) -> None:
        self._owner = os.getpid()
        self._gate = threading.Lock()
        self._locks: dict[Key, threading.Lock] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_passed": set(self._passed)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._passed = state["_passed"]
        self._renew_locks()
