"""The same batches from memory, from maps, from whole reads and from the format's own library."""

import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from flows.generate import Order
from schemas.errors import DataError, ResourceError, StoreDamagedError, UnknownNameError
from schemas.selection import Selection
from storage.formats import BACKENDS
from storage.reader import Store, open_store
from storage.reading.batches import Batch
from storage.reading.epochs import Batching, Epoch
from storage.reading.resident import Resident, open_rows
from storage.reading.selection import select
from storage.reading.shard_loading import ShardLoader
from storage.reading.streaming import Streamed

NAMES = ("image", "label", "sample_id", "params", "theta_E")
MIXING = Batching(batch=5, seed=3, mixed=2)
WAYS: dict[str, dict[str, Any]] = {
    "resident": {"mode": "resident"},
    "mapped": {"mode": "streamed", "way": "mapped"},
    "read": {"mode": "streamed", "way": "read"},
    "checked": {"mode": "streamed", "way": "read", "checked": True},
    "mapped, checked": {"mode": "streamed", "way": "mapped", "checked": True},
}


@pytest.fixture(scope="session", params=["float32", "quantised", "archive"])
def profile_store(
    request: pytest.FixtureRequest,
    backend: str,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Store:
    """A finished small store of each format and profile. Not to be changed."""
    root = tmp_path_factory.mktemp("profile") / "small.store"
    order = order_small(root, f"storage.backend={backend}", f"storage.profile={request.param}")
    make_store(order)
    return open_store(root)


@pytest.fixture
def small(sound_store: Order) -> Store:
    return open_store(sound_store.root)


def _same(one: Batch, store: Store, rows: list[int]) -> None:
    """A batch holds these rows as plain reading gives them."""
    split = "train"
    assert one.rows.tolist() == rows
    for name in NAMES:
        values = store.column(split, name) if name == "theta_E" else store.read(split, name, slice(0, 42))
        assert one[name].dtype == values.dtype
        assert one[name].tobytes() == values[rows].tobytes(), name


@pytest.mark.parametrize("way", WAYS)
def test_an_epoch_is_what_its_plan_says(profile_store: Store, way: str) -> None:
    source = open_rows(profile_store, names=NAMES, **WAYS[way])
    for number in range(2):
        expected = [
            row for group in Epoch(MIXING, np.arange(42), 8, number).groups() for row in group.rows.tolist()
        ]
        batches = source.epoch(MIXING, number)
        assert len(batches) == 9
        for place, batch in enumerate(batches):
            assert batch.number == place
            _same(batch, profile_store, expected[5 * place : 5 * place + 5])
        assert (place, len(batch), len(batches)) == (8, 2, 0)


@pytest.mark.parametrize("way", WAYS)
def test_only_selected_rows_come_and_any_batch_can_be_the_first(small: Store, way: str) -> None:
    selection = Selection(classes=("cdm", "vortex"), every=2)
    source = open_rows(small, selection, NAMES, **WAYS[way])
    rows = select(small, selection).rows.tolist()
    whole = [batch.rows.tolist() for batch in source.epoch(MIXING, 4)]
    assert sorted(row for batch in whole for row in batch) == rows
    for start in (0, 1, 2, 3):
        rest = list(source.epoch(MIXING, 4, start))
        assert [batch.rows.tolist() for batch in rest] == whole[start:]
        for batch in rest:
            _same(batch, small, batch.rows.tolist())


@pytest.mark.parametrize("way", WAYS)
def test_rows_in_any_order_and_more_than_once(profile_store: Store, way: str) -> None:
    source = open_rows(profile_store, names=NAMES, **WAYS[way])
    rows = np.random.default_rng(1).integers(0, 42, 100)
    _same(source.take(rows), profile_store, rows.tolist())
    for some in ([], [41], [3, 4, 5], list(range(6, 20)), [40, 2]):
        _same(source.take(np.array(some, np.int64)), profile_store, some)
    for wrong in ([42], [-1], [[1]], [0.5]):
        with pytest.raises(DataError, match="row"):
            source.take(np.array(wrong))


def test_both_gathers_of_mapped_rows_agree(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(2).integers(0, 42, 300)
    for long_row, few in ((1, 1), (1 << 30, 0)):
        monkeypatch.setattr("storage.reading.shard_rows.LONG_ROW_BYTES", long_row)
        monkeypatch.setattr("storage.reading.shard_rows.FEW_ROWS", few)
        _same(open_rows(small, names=NAMES, mode="streamed").take(rows), small, rows.tolist())


def test_codes_come_as_they_are_stored(profile_store: Store) -> None:
    quantised = profile_store.plan.is_quantised("image")
    for way in WAYS.values():
        source = open_rows(profile_store, names=("image", "label"), codes=True, **way)
        names = ["image", "image_scale", "label"] if quantised else ["image", "label"]
        for batch in source.epoch(Batching(batch=16), 0):
            assert list(batch.arrays) == names
            for name in names:
                stored = profile_store.codes("train", name)
                assert batch[name].dtype == stored.dtype
                assert batch[name].tobytes() == stored[batch.rows].tobytes()


@pytest.mark.parametrize("way", ["mapped", "read"])
def test_without_maps_the_library_gives_the_same(
    small: Store, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = type(BACKENDS[small.plan.backend])
    shard = backend.shard

    def odd(*asked: Any) -> Any:
        return shard(*asked) if asked[3].shard % 2 else None

    for replaced in (lambda *_: None, odd):
        monkeypatch.setattr(backend, "shard", replaced)
        source = open_rows(small, names=NAMES, mode="streamed", way=way)
        for batch in source.epoch(MIXING, 0):
            _same(batch, small, batch.rows.tolist())
        rows = np.random.default_rng(4).integers(0, 42, 60)
        _same(source.take(rows), small, rows.tolist())


def test_batches_are_written_into_the_callers_memory(small: Store) -> None:
    for way in WAYS.values():
        source = open_rows(small, names=("image", "label"), **way)
        given = [
            {"image": np.empty((5, 1, 16, 16), np.float32), "label": np.empty(5, np.int32)} for _ in range(2)
        ]
        for batch in source.epoch(MIXING, 0, into=given):
            memory = given[batch.number % 2]
            assert np.shares_memory(batch["image"], memory["image"])
            assert batch["image"].tobytes() == small.read("train", "image")[batch.rows].tobytes()
            assert memory["label"][: len(batch)].tolist() == batch["label"].tolist()


def test_memory_that_does_not_fit_is_refused(small: Store) -> None:
    source = open_rows(small, names=("image", "label"), mode="streamed")
    wrong = {"image": np.empty((4, 1, 16, 16), np.float32)}
    with pytest.raises(DataError, match=r"that for image .*; there is none for label: int32"):
        source.epoch(MIXING, 0, into=[wrong])
    gaps = {"image": np.empty((5, 1, 16, 32), np.float32)[..., ::2], "label": np.empty(5, np.int32)}
    with pytest.raises(DataError, match="image is read-only or has gaps"):
        source.epoch(MIXING, 0, into=[gaps])


def test_unknown_fields_are_refused(small: Store) -> None:
    with pytest.raises(UnknownNameError, match="array or column 'thetaE'"):
        open_rows(small, names=("image", "thetaE"))


def test_ranks_share_an_epoch(small: Store) -> None:
    source = open_rows(small, mode="streamed")
    shares = [
        [batch.rows.tolist() for batch in source.epoch(Batching(batch=4, rank=rank, world=4), 1)]
        for rank in range(4)
    ]
    rows = [row for share in shares for batch in share for row in batch]
    assert len(set(rows)) == len(rows) == 40
    assert {tuple(map(len, share)) for share in shares} == {(4, 4, 2)}


def test_an_iterator_that_was_pickled_goes_on_where_it_was(small: Store) -> None:
    for way in WAYS.values():
        batches = open_rows(small, **way).epoch(MIXING, 2)
        next(batches)
        copy = pickle.loads(pickle.dumps(batches))  # noqa: S301
        assert [batch.rows.tolist() for batch in copy] == [batch.rows.tolist() for batch in batches]


def test_threads_and_two_iterators_share_a_source(small: Store) -> None:
    source = open_rows(small, names=NAMES, mode="streamed", way="read")
    for one, other in zip(source.epoch(MIXING, 0), source.epoch(MIXING, 1), strict=True):
        for batch in (one, other):
            _same(batch, small, batch.rows.tolist())

    def run(number: int) -> int:
        for batch in source.epoch(MIXING, number):
            _same(batch, small, batch.rows.tolist())
        rows = np.random.default_rng(number).integers(0, 42, 30)
        _same(source.take(rows), small, rows.tolist())
        return number

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, range(12))) == list(range(12))


def test_an_epoch_may_be_left_before_its_end(small: Store) -> None:
    batches = open_rows(small, mode="streamed", way="read").epoch(MIXING, 0)
    next(batches)
    del batches


def test_an_epoch_that_is_left_waits_for_nothing(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on, load = threading.Event(), ShardLoader.load

    def slow(loader: ShardLoader, shards: Any, *more: Any) -> Any:
        if len(loads):
            going_on.wait(120)
        loads.append(shards)
        return load(loader, shards, *more)

    loads: list[Any] = []
    monkeypatch.setattr(ShardLoader, "load", slow)
    source = open_rows(small, mode="streamed")
    held = source.held(Epoch(MIXING, np.arange(42), 8, 0), 0)
    next(held)
    # as the garbage collector closes it, in whichever thread it happens to run
    closing = threading.Thread(target=held.close)
    closing.start()
    closing.join(60)
    waited = closing.is_alive()
    going_on.set()
    closing.join()
    assert not waited


@pytest.mark.parametrize("way", ["mapped", "read"])
def test_a_flipped_bit_is_found_when_asked(store: Order, way: Any) -> None:
    path = store.root / "train/image/c/2/0/0/0"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    opened = open_store(store.root)
    assert len(list(open_rows(opened, mode="streamed", way=way).epoch(MIXING, 0))) == 9
    for source in (
        Streamed(opened, select(opened), way=way, checked=True),
        Streamed(open_store(store.root, check=True), select(opened), way=way),
    ):
        with pytest.raises(StoreDamagedError, match=r"checksum"):
            list(source.epoch(MIXING, 0))
    with pytest.raises(StoreDamagedError, match=r"checksum"):
        Streamed(opened, select(opened), checked=True).take(np.array([17]))
    with pytest.raises(StoreDamagedError, match=r"checksum"):
        Resident(opened, select(opened), checked=True)


def test_labels_are_checked_even_when_not_asked(store: Order) -> None:
    opened = open_store(store.root)
    selected = select(opened)
    path = store.root / "train/label/c/2"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    for way in ("mapped", "read"):
        with pytest.raises(StoreDamagedError, match="checksum"):
            list(Streamed(opened, selected, way=way).epoch(MIXING, 0))  # type: ignore[arg-type]


def test_a_shard_cut_short_is_refused(store: Order) -> None:
    opened = open_store(store.root)
    selected = select(opened)
    (store.root / "train/image/c/1/0/0/0").write_bytes(b"short")
    for way in ("mapped", "read"):
        with pytest.raises(StoreDamagedError, match="is damaged"):
            list(Streamed(opened, selected, way=way).epoch(MIXING, 0))  # type: ignore[arg-type]


def test_reads_that_give_less_than_asked_go_on(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.preadv

    def little(descriptor: int, parts: list[Any], at: int) -> int:
        return whole(descriptor, [memoryview(parts[0])[:1000]], at)

    monkeypatch.setattr(os, "preadv", little)
    for batch in open_rows(small, names=NAMES, mode="streamed", way="read", checked=True).epoch(MIXING, 0):
        _same(batch, small, batch.rows.tolist())


def test_rows_that_do_not_fit_are_streamed_or_refused(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_rows(small), Resident)
    memory = SimpleNamespace(available=42 * 1028)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert isinstance(open_rows(small), Streamed)
    assert isinstance(open_rows(small, Selection(classes=("cdm",))), Resident)
    with pytest.raises(ResourceError, match=r"42 rows need 0.00 GB of memory.*\n.*60%"):
        open_rows(small, mode="resident")


def test_loading_tells_its_progress(small: Store) -> None:
    told: list[int] = []
    source = open_rows(small, mode="resident", progress=told.append)
    assert told == [1, 2, 3, 4, 5, 6]
    assert source.memory_bytes(MIXING) == 42 * (1024 + 4)
    assert Streamed(small, select(small)).memory_bytes(MIXING) == 2 * 2 * 8 * (1024 + 4)


def test_a_row_that_is_not_in_memory_is_refused(small: Store) -> None:
    source = open_rows(small, Selection(classes=("cdm",)), mode="resident")
    assert source.take(np.array([1, 4]))["label"].tolist() == [1, 1]
    with pytest.raises(DataError, match="row 2 is not in memory"):
        source.take(np.array([1, 2]))


def test_what_random_rows_keep_is_bounded(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.reading.streaming.KEPT_VIEWS", 3)
    source = open_rows(small, names=NAMES, mode="streamed")
    assert isinstance(source, Streamed)
    rows = np.arange(42)[::-1].copy()
    _same(source.take(rows), small, rows.tolist())
    assert len(source._kept._views) == 3
    monkeypatch.setattr("storage.reading.streaming.KEPT_BYTES", 0)
    monkeypatch.setattr(type(BACKENDS[small.plan.backend]), "shard", lambda *_: None)
    copied = Streamed(small, select(small), NAMES)
    _same(copied.take(rows), small, rows.tolist())
    assert len(copied._kept._views) == 1


def test_a_store_that_is_asked_to_check_does_so_once(
    sound_store: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(sound_store.root, check=True)
    looked: list[Any] = []
    monkeypatch.setattr(Store, "check_shard", lambda _, span: looked.append((span.split, span.shard)))
    for way in WAYS.values():
        list(open_rows(store, **way).epoch(MIXING, 0))
    assert sorted(looked) == [("train", shard) for shard in range(6)]
