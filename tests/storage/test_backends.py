"""The battery that every file format must pass: nothing here knows which one it is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import google_crc32c
import numpy as np
import pytest

from flows.generate import Order
from schemas.errors import ColumnError, UnknownNameError
from schemas.frozen import sha256_of
from schemas.store import FileRecord
from simulate.render import render
from storage import commit, layout
from storage.files.place import Root
from storage.formats import BACKENDS
from storage.layout import Span
from storage.reader import open_store
from storage.verify import verify

ARRAYS = ("image", "label", "sample_id", "params")


def test_what_was_rendered_is_read_bit_for_bit(backend_store: Order) -> None:
    store = open_store(backend_store.root)
    for span in layout.spans(backend_store.plan):
        rendered = render(backend_store.recipe, layout.sample_ids(backend_store.recipe, span)).arrays()
        rows = slice(span.first_row, span.first_row + span.rows)
        for name in ARRAYS:
            read = store.read(span.split, name, rows)
            assert read.dtype == rendered[name].dtype
            assert read.shape == rendered[name].shape
            assert read.tobytes() == rendered[name].tobytes()


def test_odd_floats_survive(
    backend_store: Order, order_small: Callable[..., Order], new_root: Callable[[str], Root]
) -> None:
    backend = backend_store.plan.backend
    order = order_small(
        new_root("odd.store"), f"storage.backend={backend}", "samples_per_class=4", "splits={train: 1}"
    )
    commit.begin(order.root, order.recipe, order.plan)
    receipts, written = [], []
    for span in layout.spans(order.plan):
        arrays = render(order.recipe, layout.sample_ids(order.recipe, span)).arrays()
        info = np.finfo(np.float32)
        odd = [-0.0, float(info.smallest_subnormal), float(info.tiny), float(info.max), float(info.min), 0.0]
        arrays["image"][:, 0, 0, : len(odd)] = odd
        written.append(arrays["image"])
        receipts.append(commit.write_shard(order.root, order.recipe, order.plan, span, arrays))
    commit.seal(order.root, order.recipe, order.plan, receipts)
    assert open_store(order.root).read("train", "image").tobytes() == np.concatenate(written).tobytes()


def test_the_last_shard_of_a_split_may_be_partial(backend_store: Order) -> None:
    store = open_store(backend_store.root)
    lengths = {split.name: split.rows for split in store.plan.splits}
    assert lengths == {"train": 42, "val": 6, "test": 12}
    for split, rows in lengths.items():
        for name in ARRAYS:
            assert len(store.read(split, name)) == rows
    assert np.isfinite(store.read("train", "image")).all()
    assert (store.read("train", "label") >= 0).all()


def test_a_read_may_cross_shards(backend_store: Order) -> None:
    store = open_store(backend_store.root)
    whole = store.read("train", "image")
    for rows in (slice(5, 20), slice(0, 1), slice(41, 42), slice(40, 42), slice(8, 16)):
        assert store.read("train", "image", rows).tobytes() == whole[rows].tobytes()


def test_columns_are_read_by_name(backend_store: Order) -> None:
    store = open_store(backend_store.root)
    names = [column.name for column in store.plan.columns]
    theta = store.column("train", "theta_E")
    assert np.array_equal(theta, store.read("train", "params")[:, names.index("theta_E")])
    assert (theta > 0.5).all()
    with pytest.raises(UnknownNameError, match="theta_E"):
        store.column("train", "theta_e")
    with pytest.raises(UnknownNameError, match="train"):
        store.read("training", "image")


def test_receipts_tell_the_truth(backend_store: Order) -> None:
    for span in layout.spans(backend_store.plan):
        receipt = commit.valid_receipt(backend_store.root, backend_store.plan, span)
        assert receipt is not None
        assert (receipt.split, receipt.shard, receipt.first_row, receipt.rows) == (
            span.split,
            span.shard,
            span.first_row,
            span.rows,
        )
        assert receipt.recipe_digest == backend_store.recipe.digest
        assert receipt.plan_digest == commit.plan_digest(backend_store.root)
        assert receipt.files
        for record in receipt.files:
            content = (backend_store.root / record.path).read_bytes()
            assert record.size == len(content) > 0
            assert record.sha256 == sha256_of(content)
            assert record.crc32c == f"{google_crc32c.value(content):08x}"


def test_no_file_is_shared_between_shards(backend_store: Order) -> None:
    records: list[FileRecord] = []
    for span in layout.spans(backend_store.plan):
        receipt = commit.valid_receipt(backend_store.root, backend_store.plan, span)
        assert receipt is not None
        records += receipt.files
    paths = [record.path for record in records]
    assert len(set(paths)) == len(paths)


def test_a_shard_writes_its_own_files_and_its_receipt_last(
    backend_store: Order,
    new_root: Callable[[str], Root],
    monkeypatch: pytest.MonkeyPatch,
    bytes_of: Callable[[Root], dict[str, bytes]],
) -> None:
    order = replace(backend_store, root=new_root("one.store"))
    commit.begin(order.root, order.recipe, order.plan)
    before = bytes_of(order.root).keys()
    span = list(layout.spans(order.plan))[3]
    arrays = render(order.recipe, layout.sample_ids(order.recipe, span)).arrays()
    written: list[Root] = []
    whole = commit.write_whole

    def noted(path: Root, content: Any) -> Any:
        written.append(path)
        return whole(path, content)

    monkeypatch.setattr(commit, "write_whole", noted)
    receipt = commit.write_shard(order.root, order.recipe, order.plan, span, arrays)
    own = {record.path for record in receipt.files}
    receipt_path = str(commit.receipt_path(span))
    assert bytes_of(order.root).keys() - before == own | {receipt_path}
    assert written[-1] == order.root / receipt_path
    assert own == BACKENDS[order.plan.backend].shard_files(order.plan, span, arrays).keys()


def test_the_same_shard_has_the_same_bytes(backend_store: Order) -> None:
    span = Span("test", 1, 8, 4)
    arrays = render(backend_store.recipe, layout.sample_ids(backend_store.recipe, span)).arrays()
    files = BACKENDS[backend_store.plan.backend].shard_files(backend_store.plan, span, arrays)
    for path, content in files.items():
        whole = content if isinstance(content, bytes) else b"".join(map(bytes, content))
        assert whole == (backend_store.root / path).read_bytes()


def test_a_shard_that_breaks_the_specification_is_not_written(
    backend_store: Order, new_root: Callable[[str], Root], bytes_of: Callable[[Root], dict[str, bytes]]
) -> None:
    order = replace(backend_store, root=new_root("bad.store"))
    commit.begin(order.root, order.recipe, order.plan)
    before = bytes_of(order.root)
    span = next(layout.spans(order.plan))
    arrays = render(order.recipe, layout.sample_ids(order.recipe, span)).arrays()
    arrays["image"][3, 0, 1, 1] = np.nan
    with pytest.raises(ColumnError, match="images not finite"):
        commit.write_shard(order.root, order.recipe, order.plan, span, arrays)
    assert bytes_of(order.root) == before


def test_a_finished_store_is_sound_and_within_its_estimate(
    backend_store: Order, bytes_of: Callable[[Root], dict[str, bytes]]
) -> None:
    found = verify(backend_store.root)
    assert found.sound
    assert (found.shards, found.rows) == (9, 60)
    total = sum(map(len, bytes_of(backend_store.root).values()))
    assert found.bytes <= total <= layout.store_bytes(backend_store.plan)


def test_samples_are_where_the_layout_says(backend_store: Order) -> None:
    store = open_store(backend_store.root)
    ids = {split.name: store.read(split.name, "sample_id") for split in store.plan.splits}
    for sample in range(store.recipe.sample_count):
        split, row = layout.locate(store.recipe, sample)
        assert ids[split][row] == sample
