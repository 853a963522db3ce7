"""Kills without warning, at random moments: no receipt ever vouches for a bad shard."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.generate import Order
from storage import commit, layout
from storage.reader import open_store

BytesOf = Callable[[Path], dict[str, bytes]]

REPOSITORY = Path(__file__).resolve().parents[2]
# driver and worker in one process that starts quickly
WRITER = [sys.executable, "-m", "benchmarks.fault_writer"]


@contextmanager
def _writer(order: Order, books: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*WRITER, str(order.root), str(books)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=REPOSITORY
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def _kill_at_random(order: Order, sound: Order, rng: random.Random, seconds: float) -> int:
    """How many receipts there are after one more kill; all of them are good."""
    with _writer(order, sound.root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, seconds))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    present = [span for span in layout.spans(order.plan) if (order.root / commit.receipt_path(span)).exists()]
    for span in present:
        assert commit.valid_receipt(order.root, order.plan, span), span
    if (order.root / commit.MARKER).exists():
        open_store(order.root)
    return len(present)


def _kill_and_complete(
    sound: Order, root: Path, kills: int, bytes_of: BytesOf, simulate_here: Any, seconds: float
) -> None:
    rng = random.Random(kills)
    order = Order(root, sound.recipe, sound.plan)
    found = [_kill_at_random(order, sound, rng, seconds) for _ in range(kills)]
    assert found == sorted(found), "a shard was lost"
    simulate_here(order)
    assert bytes_of(root) == bytes_of(sound.root)


def test_three_kills(
    sound_store: Order, tmp_path: Path, bytes_of: BytesOf, simulate_here: Any, assert_same_arrays: Any
) -> None:
    _kill_and_complete(sound_store, tmp_path / "small.zarr", 3, bytes_of, simulate_here, 0.5)
    assert_same_arrays(tmp_path / "small.zarr", sound_store.root)


def test_three_kills_of_a_store_with_products(
    sound_product_store: Order, tmp_path: Path, bytes_of: BytesOf, simulate_here: Any
) -> None:
    _kill_and_complete(sound_product_store, tmp_path / "small.zarr", 3, bytes_of, simulate_here, 0.8)


@pytest.mark.slow
def test_twenty_five_kills(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
    bytes_of: BytesOf,
    simulate_here: Any,
) -> None:
    sound = order_small(tmp_path / "sound.zarr", "samples_per_class=300")
    make_store(sound)
    _kill_and_complete(sound, tmp_path / "killed.zarr", 25, bytes_of, simulate_here, 0.6)


@pytest.mark.slow
def test_shards_of_64_and_4096_images_hold_the_same(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
    assert_same_arrays: Any,
) -> None:
    roots = []
    for size in (64, 4096):
        roots.append(tmp_path / f"{size}.zarr")
        order = order_small(roots[-1], "samples_per_class=2000", f"storage.shard_images={size}")
        make_store(order)
        assert order.plan.rows_of("train") > 4096
    assert_same_arrays(*roots)


def test_shards_of_any_size_hold_the_same(
    sound_store: Order,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
    assert_same_arrays: Any,
) -> None:
    for size in (1, 2, 32, 4096):
        order = order_small(tmp_path / f"{size}.zarr", f"storage.shard_images={size}")
        make_store(order)
        assert_same_arrays(order.root, sound_store.root)
