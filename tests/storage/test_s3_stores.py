"""Stores on a real S3 server: killed, damaged, opened by others, and what requests they cost."""

import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from obstore.store import S3Store
from zarr.storage import ObjectStore

from flows.generate import Order
from flows.shards import make_shard
from schemas.errors import StoreDamagedError, StoreMissingError, StoreUnfinishedError
from storage import commit, layout
from storage.files.durable import write_whole
from storage.files.object_path import ObjectPath
from storage.formats import BACKENDS
from storage.page import write_page
from storage.reader import open_store
from storage.shards import sharded_array
from storage.shards.sharded_array import ShardedArray
from storage.upkeep import verification
from storage.verify import verify
from tests.s3 import BUCKET, KEY, S3, SECRET

BytesOf = Callable[[Any], dict[str, bytes]]

REPOSITORY = Path(__file__).resolve().parents[2]
# driver and worker in one process that starts quickly
WRITER = [sys.executable, "-m", "benchmarks.fault_writer"]


def _upload(order: Order, root: ObjectPath, bytes_of: BytesOf) -> Order:
    for path, content in bytes_of(order.root).items():
        (root / path).put(content)
    return replace(order, root=root)


@pytest.fixture(scope="module")
def sound(s3: S3, sound_store: Order, bytes_of: BytesOf) -> Order:
    """A copy of the finished store. Not to be changed."""
    return _upload(sound_store, s3.new_root("sound.zarr"), bytes_of)


@pytest.fixture
def far(s3: S3, sound_store: Order, bytes_of: BytesOf) -> Order:
    """A copy to be damaged."""
    return _upload(sound_store, s3.new_root("far.zarr"), bytes_of)


def test_a_store_made_there_has_the_files_of_one_on_a_disk(
    s3: S3, sound_store: Order, make_store: Callable[[Order], None], bytes_of: BytesOf
) -> None:
    order = replace(sound_store, root=s3.new_root("made.zarr"))
    make_store(order)
    there = bytes_of(order.root)
    assert there == bytes_of(sound_store.root)
    lock = (order.root / commit.LOCK).read_bytes()
    assert not [
        path for path, content in there.items() if SECRET.encode() in content or KEY.encode() in content
    ]
    assert SECRET.encode() not in lock
    assert KEY.encode() not in lock


def test_products_are_read_from_there(s3: S3, sound_product_store: Order, bytes_of: BytesOf) -> None:
    order = _upload(sound_product_store, s3.new_root("products.zarr"), bytes_of)
    assert verify(order.root).sound
    near, far = open_store(sound_product_store.root), open_store(order.root)
    for name, values in near.subhalos(7).items():
        assert len(values)
        np.testing.assert_array_equal(far.subhalos(7)[name], values)
    (order.root / "train/subhalos/000000.parquet").unlink()
    with pytest.raises(StoreDamagedError, match="catalogue s3://"):
        far.subhalos(0)


def test_a_killed_writer_is_resumed_with_the_same_files(
    s3: S3, sound_store: Order, bytes_of: BytesOf, simulate_here: Any
) -> None:
    order = replace(sound_store, root=s3.new_root("killed.zarr"))
    rng, found = random.Random(5), []
    for _ in range(3):
        command = [*WRITER, str(order.root), str(sound_store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.0, 0.6))
            process.send_signal(signal.SIGKILL)
        present = [
            span for span in layout.spans(order.plan) if (order.root / commit.receipt_path(span)).exists()
        ]
        assert all(commit.valid_receipt(order.root, order.plan, span) for span in present)
        found.append(len(present))
    assert found == sorted(found), "a shard was lost"
    simulate_here(order)
    assert bytes_of(order.root) == bytes_of(sound_store.root)


def test_an_unfinished_store_and_none_are_told_apart(far: Order, s3: S3) -> None:
    commit.unseal(far.root)
    with pytest.raises(StoreUnfinishedError, match="9 of 9 shards"):
        open_store(far.root)
    with pytest.raises(StoreMissingError, match="there is no lensmill store at s3://"):
        open_store(s3.new_root("none.zarr"))


@pytest.mark.parametrize(
    "path",
    [
        "train/image/c/2/0/0/0",
        "train/label/c/5",
        "val/sample_id/c/0",
        "test/params/c/1/0",
        "train/image/zarr.json",
        "zarr.json",
        "lensmill/receipts/test/000001.json",
    ],
)
def test_a_flipped_bit_in_an_object_is_found(far: Order, path: str) -> None:
    content = bytearray((far.root / path).read_bytes())
    rng = random.Random(path)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    write_whole(far.root / path, bytes(content))
    (fault,) = verify(far.root).faults
    assert path in fault


@pytest.mark.parametrize("size", [0, 10, 40])
def test_a_shard_cut_short_is_damage(far: Order, size: int) -> None:
    path = far.root / "train/image/c/1/0/0/0"
    store = open_store(far.root)
    write_whole(path, path.read_bytes()[:size])
    with pytest.raises(StoreDamagedError, match=r"train/image/c/1/0/0/0"):
        store.read("train", "image", slice(9, 10))
    with pytest.raises(StoreDamagedError, match=r"has \d+ bytes instead of"):
        open_store(far.root)
    path.unlink()
    with pytest.raises(StoreDamagedError, match="is missing"):
        open_store(far.root)
    with pytest.raises(StoreDamagedError, match="there is no such object"):
        store.read("train", "image", slice(9, 10))


def test_resume_makes_only_what_is_damaged(
    far: Order, bytes_of: BytesOf, simulate_here: Any, sound: Order
) -> None:
    path = far.root / "test/params/c/1/0"
    write_whole(path, path.read_bytes()[:-1] + b"x")
    simulate_here(far)
    assert [(span.split, span.shard) for span in simulate_here.made] == [("test", 1)]
    assert bytes_of(far.root) == bytes_of(sound.root)


@pytest.fixture(scope="module")
def large(s3: S3, order_small: Callable[..., Order], tmp_path_factory: pytest.TempPathFactory) -> Order:
    """A shard of several chunks on S3, too large to be fetched whole for a few rows, and its last one."""
    overrides = (
        "samples_per_class=192",
        "instrument.num_pix=64",
        "storage.shard_images=512",
        "splits={train: 1}",
    )
    order = order_small(s3.new_root("large.zarr"), *overrides)
    commit.begin(order.root, order.recipe, order.plan)
    for span in layout.spans(order.plan):
        make_shard(order.root, order.recipe, order.plan, span)
    for path, content in (
        BACKENDS["zarr"].metadata_files(order.plan, commit.stored_recipe(order.recipe)).items()
    ):
        write_whole(order.root / path, content)
    return order


SLICES = [
    slice(0, 1),
    slice(31, 33),
    slice(100, 200),
    slice(500, 560),
    slice(575, 576),
    slice(0, 576),
    slice(3, 3),
]


@pytest.mark.parametrize("rows", SLICES)
def test_a_part_of_a_shard_is_what_zarr_reads(large: Order, rows: slice) -> None:
    group = zarr.open_group(ObjectStore(_client(large.root), read_only=True), mode="r")
    read = BACKENDS["zarr"].read(large.root, large.plan, "train", "image", rows)
    expected = np.asarray(group["train/image"][rows])  # type: ignore[index]
    assert read.tobytes() == expected.tobytes()


def test_a_flipped_byte_is_found_where_only_a_part_is_fetched(large: Order) -> None:
    path = large.root / "train/image/c/0/0/0/0"
    content = path.read_bytes()
    stride = 32 * 64 * 64 * 4 + 4
    changed = bytearray(content)
    changed[5 * stride + 77] ^= 4
    write_whole(path, bytes(changed))
    try:
        with pytest.raises(StoreDamagedError, match="the checksum of chunk 5 differs"):
            BACKENDS["zarr"].read(large.root, large.plan, "train", "image", slice(165, 170))
        BACKENDS["zarr"].read(large.root, large.plan, "train", "image", slice(128, 160))
    finally:
        write_whole(path, content)


def test_other_layouts_are_left_to_zarr_python(
    far: Order, sound_store: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded_array, "_layout", lambda _: None)
    assert ShardedArray.open(far.root / "train/image") is None
    near, there = open_store(sound_store.root), open_store(far.root)
    rows = slice(3, 20)
    assert there.read("train", "image", rows).tobytes() == near.read("train", "image", rows).tobytes()


def _client(root: ObjectPath) -> S3Store:
    """As somebody without lensmill makes it, from the environment."""
    return S3Store(BUCKET, prefix=root.key, client_options={"allow_http": True})


def test_zarr_and_xarray_open_it_by_its_address(sound: Order, sound_store: Order) -> None:
    store = open_store(sound_store.root)
    there = ObjectStore(_client(sound.root), read_only=True)
    group = zarr.open_group(there, mode="r")
    images = np.asarray(group["train/image"][:])  # type: ignore[index]
    assert images.tobytes() == store.read("train", "image").tobytes()
    with warnings.catch_warnings():
        # xarray asks zarr for consolidated metadata, which zarr says are not in the specification
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        train = xarray.open_zarr(there, group="train", chunks=None)
    assert train.image.dims == ("sample", "channel", "y", "x")
    assert np.array_equal(train.label.values, store.read("train", "label"))


def test_what_requests_it_takes(s3: S3, far: Order, large: Order) -> None:
    s3.requests()
    store = open_store(far.root)
    # plan twice; marker, recipe, manifest and what is hashed of them; one listing for all sizes
    assert s3.requests() == {"HEAD": 3, "GET": 9}
    store.read("train", "image", slice(0, 8))
    # the array's metadata and a whole shard
    assert s3.requests() == {"GET": 2}
    BACKENDS["zarr"].read(large.root, large.plan, "train", "image", slice(64, 96))
    # metadata, index, chunk
    assert s3.requests() == {"GET": 3}
    span = next(layout.spans(far.plan))
    make_shard(far.root, far.recipe, far.plan, span)
    # the plan's digest; image, label, sample_id, params and the receipt
    assert s3.requests() == {"GET": 1, "PUT": 5}
    with commit.writing(far.root):
        # create, and the proof that conditions count
        assert s3.requests() == {"PUT": 2}
    # released
    assert s3.requests() == {"PUT": 1}
    with commit.writing(far.root):
        # create is refused; whose is it, and may it be taken; take over, proof
        assert s3.requests() == {"PUT": 3, "GET": 2}
    assert s3.requests() == {"PUT": 1}


def test_workers_get_the_address_and_no_secret(far: Order) -> None:
    from flows.shards import order_of

    ticket = far.ticket
    assert SECRET not in repr(ticket)
    assert KEY not in repr(ticket)
    assert order_of(ticket).root == far.root


def test_the_small_store_is_small(tmp_path: Path, far: Order) -> None:
    from storage import target

    assert target.bytes_present(far.root) == sum(far.root.sizes().values()) > 0
    target.check_space(far.root, 10**18)


def test_a_store_there_has_a_page_that_tells_what_verify_found(
    far: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert verification.record(far.root, verify(far.root)) == ""
    assert write_page(far.root) == Path("far.html")
    assert "verified sound on" in (tmp_path / "far.html").read_text()
    commit.unseal(far.root)
    assert verification.last_record(far.root) is None
