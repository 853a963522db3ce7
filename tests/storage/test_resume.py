"""What a rerun keeps and what it makes again, and that it does not matter where the run before died."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.generate import DatasetSummary, Order
from flows.shards import make_shard
from schemas.errors import StoreUnfinishedError
from storage import commit, layout
from storage.layout import Span
from storage.reader import open_store
from storage.verify import verify

BytesOf = Callable[[Path], dict[str, bytes]]


class Died(BaseException):
    """Stands for a process that ends in the middle: nothing catches it, nothing is cleaned up."""


def _receipt(order: Order, span: Span) -> Path:
    return order.root / commit.receipt_path(span)


def _shard_file(order: Order, span: Span, position: int = 0) -> Path:
    receipt = commit.valid_receipt(order.root, order.plan, span)
    assert receipt is not None
    return order.root / receipt.files[position].path


def test_a_whole_store_is_left_alone(store: Order, simulate_here: Any, bytes_of: BytesOf) -> None:
    before = bytes_of(store.root)
    times = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.name != "lock"}
    summary: DatasetSummary = simulate_here(store)
    assert (summary.made, summary.shards, summary.rows) == (0, 9, 60)
    assert bytes_of(store.root) == before
    assert times == {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.name != "lock"}


def test_only_missing_shards_are_made(
    sound_store: Order, simulate_here: Any, tmp_path: Path, bytes_of: BytesOf
) -> None:
    order = replace(sound_store, root=tmp_path / "small.zarr")
    spans = list(layout.spans(order.plan))
    commit.begin(order.root, order.recipe, order.plan)
    for span in spans[::2]:
        make_shard(order.root, order.recipe, order.plan, span)
    with pytest.raises(StoreUnfinishedError, match="5 of 9 shards"):
        open_store(order.root)
    summary: DatasetSummary = simulate_here(order)
    assert simulate_here.made == spans[1::2]
    assert summary.made == 4
    assert bytes_of(order.root) == bytes_of(sound_store.root)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink], ids=["bit", "truncated", "missing"])
@pytest.mark.parametrize("position", range(4))
def test_a_damaged_shard_is_made_again_byte_for_byte(
    store: Order,
    sound_store: Order,
    simulate_here: Any,
    bytes_of: BytesOf,
    damage: Callable[[Path], None],
    position: int,
) -> None:
    span = list(layout.spans(store.plan))[4]
    damage(_shard_file(store, span, position))
    assert commit.valid_receipt(store.root, store.plan, span) is None
    assert simulate_here(store).made == 1
    assert simulate_here.made == [span]
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"shard": 1}', "\x00" * 50])
def test_a_receipt_that_cannot_be_read_counts_as_none(
    store: Order, sound_store: Order, simulate_here: Any, bytes_of: BytesOf, content: str
) -> None:
    span = list(layout.spans(store.plan))[2]
    _receipt(store, span).write_text(content)
    assert commit.valid_receipt(store.root, store.plan, span) is None
    simulate_here(store)
    assert simulate_here.made == [span]
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("plan_digest", "0" * 64),
        ("recipe_digest", "0" * 64),
        ("first_row", 0),
        ("rows", 7),
        ("shard", 3),
        ("split", "val"),
    ],
)
def test_a_receipt_of_something_else_counts_as_none(store: Order, key: str, value: Any) -> None:
    span = list(layout.spans(store.plan))[2]
    path = _receipt(store, span)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert commit.valid_receipt(store.root, store.plan, span) is None


def test_a_receipt_that_leaves_out_a_file_counts_as_none(store: Order) -> None:
    span = list(layout.spans(store.plan))[2]
    path = _receipt(store, span)
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "files": found["files"][:-1]}))
    assert commit.valid_receipt(store.root, store.plan, span) is None


def test_the_receipt_of_another_shard_counts_as_none(store: Order) -> None:
    one, other = list(layout.spans(store.plan))[1:3]
    _receipt(store, one).write_bytes(_receipt(store, other).read_bytes())
    assert commit.valid_receipt(store.root, store.plan, one) is None


@pytest.mark.parametrize("lost", ["bytes", "receipt"])
def test_the_seal_is_off_before_anything_changes(
    store: Order, simulate_here: Any, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    span = next(layout.spans(store.plan))
    if lost == "bytes":
        _shard_file(store, span).write_bytes(b"")
    else:
        _receipt(store, span).unlink()
    changed: list[Path] = []
    whole = commit.write_whole

    def noted(path: Path, content: Any) -> Any:
        changed.append(path)
        assert not (store.root / commit.MARKER).exists(), path
        return whole(path, content)

    monkeypatch.setattr(commit, "write_whole", noted)
    simulate_here(store)
    assert changed[-2:] == [store.root / commit.MANIFEST, store.root / commit.MARKER]


def test_a_store_without_its_marker_is_sealed_again(
    store: Order, sound_store: Order, simulate_here: Any, bytes_of: BytesOf
) -> None:
    commit.unseal(store.root)
    assert simulate_here(store).made == 0
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize(
    "name",
    [
        "lensmill/manifest.json",
        "lensmill/COMMIT.json",
        "lensmill/recipe.json",
        "zarr.json",
        "train/zarr.json",
        "train/image/zarr.json",
    ],
)
@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink], ids=["bit", "truncated", "missing"])
def test_books_and_metadata_are_repaired_too(
    store: Order,
    sound_store: Order,
    simulate_here: Any,
    bytes_of: BytesOf,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    damage(store.root / name)
    assert simulate_here(store).made == 0
    assert bytes_of(store.root) == bytes_of(sound_store.root)


def _tiny_order(order_small: Callable[..., Order], root: Path) -> Order:
    """Two shards, one in part."""
    return order_small(root, "samples_per_class=4", "splits={train: 1}")


class Deathly:
    """Counts system calls that change or sync the disk and dies at a given one, before or after it."""

    CALLS = ("fsync", "replace", "unlink")

    def __init__(self, patch: pytest.MonkeyPatch, at: int, after: bool) -> None:
        self.count = 0
        self.at = at
        self.after = after
        for call in self.CALLS:
            patch.setattr(os, call, self.wrapped(getattr(os, call)))

    def wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.at and not self.after:
                raise Died
            result = real(*arguments, **options)
            if self.count == self.at:
                raise Died
            return result

        return call


@pytest.mark.parametrize(
    ("start", "after"),
    [
        ("fresh", False),
        ("damaged", True),
        pytest.param("fresh", True, marks=pytest.mark.slow),
        pytest.param("damaged", False, marks=pytest.mark.slow),
    ],
)
def test_a_death_at_any_step_is_survived(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    simulate_here: Any,
    tmp_path: Path,
    bytes_of: BytesOf,
    start: str,
    after: bool,
) -> None:
    sound = _tiny_order(order_small, tmp_path / "sound.zarr")
    make_store(sound)
    expected = bytes_of(sound.root)
    step, deaths = 0, 0
    while True:
        step += 1
        order = replace(sound, root=tmp_path / f"{step}.zarr")
        if start == "damaged":
            make_store(order)
            _flip(_shard_file(order, Span("train", 1, 8, 4)))
        with pytest.MonkeyPatch.context() as patch:
            deathly = Deathly(patch, step, after)
            try:
                simulate_here(order)
            except Died:
                deaths += 1
        if deathly.count < step:
            break
        for span in layout.spans(order.plan):
            if _receipt(order, span).exists() and start == "fresh":
                assert commit.valid_receipt(order.root, order.plan, span), f"step {step}: {span}"
        if (order.root / commit.MARKER).exists() and (start == "fresh" or deaths > 1):
            assert verify(order.root).sound, f"step {step}: sealed before it was whole"
        simulate_here(order)
        assert bytes_of(order.root) == expected, f"step {step}"
    assert deaths > 20
