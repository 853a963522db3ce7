"""A store that was opened with `check` refuses whatever changed, at the first touch of each shard."""

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from flows.generate import Order
from schemas.errors import StoreDamagedError
from storage import commit, layout
from storage.files.durable import write_whole
from storage.files.place import Root
from storage.layout import Span
from storage.reader import open_books, open_store
from storage.shard_checks import ShardChecks

Flip = Callable[[Path], None]


@pytest.fixture
def flip() -> Flip:
    """One bit in the middle of a file."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)

    return change


def test_a_sound_store_reads_as_without_checks(backend_store: Order) -> None:
    checked, plain = (open_store(backend_store.root, check=check) for check in (True, False))
    for span in layout.spans(backend_store.plan):
        checked.check_shard(span)
        rows = slice(span.first_row, span.first_row + span.rows)
        for name in ("image", "params"):
            one, other = (store.read(span.split, name, rows) for store in (checked, plain))
            assert one.tobytes() == other.tobytes()


def test_a_flip_in_any_file_of_a_shard_is_refused_whatever_is_read(backend_store: Order) -> None:
    paths = [record.path for record in open_store(backend_store.root).receipts["train", 2].files]
    paths.append(str(commit.receipt_path(Span("train", 2, 16, 8))))
    for path in paths:
        with _flipped(backend_store.root / path):
            store = open_store(backend_store.root, check=True)
            assert len(store.read("train", "label", slice(0, 16))) == 16
            with pytest.raises(StoreDamagedError, match="shard 2 of train"):
                store.read("train", "label", slice(23, 24))
            with pytest.raises(StoreDamagedError, match="shard 2 of train"):
                store.column("train", "theta_E")
            with pytest.raises(StoreDamagedError, match="shard 2 of train"):
                store.check_shard(Span("train", 2, 16, 8))


@contextlib.contextmanager
def _flipped(path: Root) -> Iterator[None]:
    """One bit in the middle of a file or an object, for a while: others read the store, too."""
    sound = path.read_bytes()
    middle = len(sound) // 2
    write_whole(path, sound[:middle] + bytes((sound[middle] ^ 4,)) + sound[middle + 1 :])
    try:
        yield
    finally:
        write_whole(path, sound)


def test_a_flip_in_the_metadata_is_refused_at_opening(store: Order, flip: Flip) -> None:
    for record in open_store(store.root).manifest.metadata:
        before = (store.root / record.path).read_bytes()
        flip(store.root / record.path)
        with pytest.raises(StoreDamagedError, match=record.path):
            open_store(store.root, check=True)
        (store.root / record.path).write_bytes(before)
    open_store(store.root, check=True)


def test_the_catalogue_is_checked_with_its_shard(
    sound_product_store: Order, tmp_path: Path, flip: Flip
) -> None:
    root = tmp_path / "products.zarr"
    copytree(sound_product_store.root, root)
    flip(root / "train/image/c/0/0/0/0")
    sample = int(open_store(root).read("train", "sample_id", slice(0, 1))[0])
    with pytest.raises(StoreDamagedError, match="shard 0 of train"):
        open_store(root, check=True).subhalos(sample)


def test_all_faults_of_a_shard_are_told(store: Order) -> None:
    (store.root / "val/label/c/0").unlink()
    (store.root / commit.receipt_path(Span("val", 0, 0, 6))).write_text("{}")
    opened = replace(open_books(store.root), checks=ShardChecks())
    with pytest.raises(StoreDamagedError, match=r"val/label/c/0: No such file.*not the receipt"):
        opened.read("val", "image")


def test_a_shard_of_other_rows_is_not_the_one_that_was_sealed(sound_store: Order) -> None:
    with pytest.raises(StoreDamagedError, match="does not list it"):
        open_store(sound_store.root).check_shard(Span("train", 0, 0, 4))


def test_each_shard_is_looked_at_once_by_all_threads() -> None:
    looked: list[int] = []
    together = threading.Barrier(8)
    checks = ShardChecks()

    def ask(_: int) -> None:
        together.wait()
        for shard in range(20):
            checks.once(Span("train", shard, shard, 1), lambda span: looked.append(span.shard))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert sorted(looked) == list(range(20))


def test_what_failed_is_looked_at_again_and_what_passed_survives_pickling() -> None:
    checks, span = ShardChecks(), Span("train", 0, 0, 1)

    def fail(_: Span) -> None:
        raise StoreDamagedError("bad")

    for _ in range(2):
        with pytest.raises(StoreDamagedError):
            checks.once(span, fail)
    checks.once(span, lambda _: None)
    pickle.loads(pickle.dumps(checks)).once(span, fail)  # noqa: S301
