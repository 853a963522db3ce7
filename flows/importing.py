"""Other people's data as a store of ours: look at everything, then write what is missing, then seal."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import Field

from flows.telling.progress import Report, progress_bar
from schemas.frozen import Frozen
from schemas.imported import ImportOptions, ImportReport
from schemas.store import Receipt
from storage import commit, layout, target
from storage.files.place import Root, place
from storage.importing.orders import ImportOrder, order_import, seal, write_shard
from storage.importing.sources import open_source
from storage.importing.survey import survey
from storage.layout import Span
from storage.reader import open_store
from storage.reading.threads import threaded


class ImportSummary(Frozen):
    """What an import did."""

    store: str
    shards: int = Field(ge=0)
    made: int = Field(ge=0, description="shards written now; the others were there and whole")


Told = Callable[[ImportReport], None]


def import_data(
    source: str | Path,
    out: str | Root,
    options: ImportOptions | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    told: Told = lambda _: None,
) -> ImportSummary | None:
    """Import a source into the store `out`; run again to complete it. `told` gets what was found before that.

    A source with any fault is refused with all of them. A dry run ends there, and so does nothing.
    """
    options, root = options or ImportOptions(), place(out)
    if not dry_run:
        target.check_place(root)
    with open_source(Path(source), options) as opened:
        with progress_bar("looking at the source", opened.count, "images", quiet) as report:
            found = survey(opened, options, report)
        found.refuse_faults(Path(source))
        order = order_import(root, str(source), opened, found, options)
        told(order.report)
        if dry_run:
            return None
        return _write(order, quiet)


def _write(order: ImportOrder, quiet: bool) -> ImportSummary:
    root, data, plan = order.root, order.data, order.plan
    target.check_target(root, data, plan)
    target.check_space(root, layout.store_bytes(plan) - target.bytes_present(root))
    with commit.writing(root):
        target.check_target(root, data, plan)
        commit.begin(root, data, plan)
        receipts = _whole_shards(root, order)
        missing = [span for span in layout.spans(plan) if span not in receipts]
        if missing:
            commit.unseal(root)
        with progress_bar("importing", sum(span.rows for span in missing), "images", quiet) as report:
            receipts |= _make(order, missing, report)
        if missing or not commit.is_sealed(root):
            seal(order, [receipts[span] for span in layout.spans(plan)])
        open_store(root)
    return ImportSummary(store=str(root), shards=len(receipts), made=len(missing))


def _whole_shards(root: Root, order: ImportOrder) -> dict[Span, Receipt]:
    """What an earlier run wrote, checked byte by byte."""
    found: dict[Span, Receipt] = {}
    spans = list(layout.spans(order.plan))
    checked = threaded(partial(commit.valid_receipt, root, order.plan), spans)
    for span, receipt in zip(spans, checked, strict=True):
        if receipt:
            found[span] = receipt
        else:
            commit.discard(root, span)
    return found


def _make(order: ImportOrder, missing: list[Span], report: Report) -> dict[Span, Receipt]:
    made: dict[Span, Receipt] = {}
    done = 0
    for span in missing:
        made[span] = write_shard(order, span)
        done += span.rows
        report(done)
    return made
