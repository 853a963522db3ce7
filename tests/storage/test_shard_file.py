"""Our encoder and parser of shards against zarr-python: same bytes, same arrays, every flipped bit found."""

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec

from flows.generate import Order
from schemas.errors import StoreDamagedError
from storage.files.durable import write_whole
from storage.shards.shard_file import ShardFile, ShardLayout, encode
from storage.shards.sharded_array import ShardedArray

FILLS = {"float32": np.nan, "int32": -1, "int64": -1, "float64": np.nan, "uint16": 65535, "int8": -1}
CASES = st.tuples(
    st.sampled_from(sorted(FILLS)),
    st.integers(1, 5),
    st.integers(1, 6),
    st.lists(st.integers(1, 4), max_size=3),
    st.integers(1, 70),
    st.integers(0, 2**32 - 1),
)
# the folder of one test is used again: every example has a name of its own
shared_folder = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _values(dtype: str, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    random = np.frombuffer(np.random.default_rng(seed).bytes(size), dtype).reshape(shape)
    return np.nan_to_num(random) if random.dtype.kind == "f" else random


def _by_zarr(folder: Path, layout: ShardLayout, values: NDArray[Any], **options: Any) -> Path:
    array = zarr.create_array(
        store=folder,
        shape=values.shape,
        dtype=values.dtype,
        **{
            "shards": (layout.shard_rows, *layout.tail),
            "chunks": (layout.chunk_rows, *layout.tail),
            "compressors": [Crc32cCodec()],
            **options,
        },
        filters=None,
        fill_value=FILLS[str(values.dtype)],
        config={"write_empty_chunks": True},
    )
    array[:] = values
    return folder


def _opened(folder: Path) -> ShardedArray:
    array = ShardedArray.open(folder)
    assert array is not None
    return array


@given(case=CASES)
@shared_folder
def test_bytes_and_arrays_are_those_of_zarr(
    case: tuple[Any, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    dtype, chunk_rows, chunks, tail, rows, seed = case
    layout = ShardLayout(np.dtype(dtype), chunk_rows * chunks, chunk_rows, tuple(tail))
    values = _values(dtype, (rows, *tail), seed)
    folder = _by_zarr(tmp_path_factory.mktemp("case") / "array", layout, values)
    array = _opened(folder)
    assert (array.rows, array.layout) == (rows, layout)
    for number, first in enumerate(range(0, rows, layout.shard_rows)):
        part = values[first : first + layout.shard_rows]
        written = b"".join(map(bytes, encode(layout, FILLS[dtype], part)))
        path = folder.joinpath("c", str(number), *("0" for _ in tail))
        assert written == path.read_bytes()
        shard = array.shard(number)
        assert shard is not None
        assert shard.present == -(-len(part) // chunk_rows)
        mapped = shard.check().chunks.reshape(-1, *tail)[: len(part)]
        assert mapped.tobytes() == part.tobytes()
    start, stop = sorted(np.random.default_rng(seed).integers(-rows - 2, rows + 3, 2))
    for wanted in (slice(None), slice(start, stop), slice(rows - 1, None), slice(rows, None)):
        read = array.read(wanted)
        assert read is not None
        assert read.dtype == values.dtype
        assert read.shape == values[wanted].shape
        assert read.tobytes() == values[wanted].tobytes()


LAYOUT = ShardLayout(np.dtype("float32"), 24, 8, (1, 4, 4))
VALUES = _values("float32", (40, 1, 4, 4), 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards, the second in part: two of its three chunks."""
    return _by_zarr(tmp_path / "array", LAYOUT, VALUES)


@given(position=st.integers(0, 10**9), bit=st.integers(0, 7), number=st.integers(0, 1))
@shared_folder
def test_every_flipped_bit_is_found(
    position: int, bit: int, number: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = _by_zarr(tmp_path_factory.mktemp("flip") / "array", LAYOUT, VALUES)
    path = folder / f"c/{number}/0/0/0"
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="checksum of") as caught:
        _opened(folder).read()
    assert str(path) in caught.value.found


def test_only_what_is_touched_is_checked(folder: Path) -> None:
    path = folder / "c/0/0/0/0"
    content = bytearray(path.read_bytes())
    content[LAYOUT.stride + 3] ^= 1
    path.write_bytes(content)
    array = _opened(folder)
    for sound in (slice(0, 8), slice(16, 40)):
        read = array.read(sound)
        assert read is not None
        assert read.tobytes() == VALUES[sound].tobytes()
    with pytest.raises(StoreDamagedError, match="checksum of chunk 1 differs"):
        array.read(slice(15, 16))
    unchecked = array.read(checked=False)
    assert unchecked is not None
    assert np.flatnonzero((unchecked != VALUES).any(axis=(1, 2, 3))).tolist() == [8]


def test_the_view_lies_on_the_file_and_cannot_be_written(folder: Path) -> None:
    shard = _opened(folder).shard(0)
    assert shard is not None
    view = shard.chunks
    assert np.shares_memory(view, shard.content)
    assert view.shape == (3, 8, 1, 4, 4)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 0


@pytest.mark.parametrize("size", [0, 10, 60, 500])
def test_a_shard_cut_short_is_damaged(folder: Path, size: int) -> None:
    path = folder / "c/0/0/0/0"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StoreDamagedError, match="is damaged"):
        _opened(folder).read()


def test_a_lost_shard_is_damaged(folder: Path) -> None:
    (folder / "c/1/0/0/0").unlink()
    with pytest.raises(StoreDamagedError, match="cannot be read: No such file"):
        _opened(folder).read(slice(30, 31))


def test_rows_behind_the_written_chunks_are_damaged(folder: Path) -> None:
    shard = _opened(folder).shard(1)
    assert shard is not None
    with pytest.raises(StoreDamagedError, match="ends before row 24"):
        shard.copy(0, np.empty((24, 1, 4, 4), np.float32))


def test_chunks_in_another_order_are_left_to_zarr(folder: Path) -> None:
    path = folder / "c/0/0/0/0"
    content, stride = path.read_bytes(), LAYOUT.stride
    index = np.frombuffer(content[-52:-4], "<u8").reshape(3, 2).copy()
    index[[0, 1]] = index[[1, 0]]
    swapped = content[stride : 2 * stride] + content[:stride] + content[2 * stride : -52] + index.tobytes()

    write_whole(path, swapped + google_crc32c.value(index.tobytes()).to_bytes(4, "little"))
    assert _opened(folder).read() is None
    assert np.asarray(zarr.open_array(folder, mode="r")[:]).tobytes() == VALUES.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": [GzipCodec(), Crc32cCodec()]},
        {"compressors": None},
        {"shards": None},
        {"chunks": (8, 1, 4, 2)},
        {"serializer": BytesCodec(endian="big")},
        {"chunk_key_encoding": {"name": "default", "separator": "."}},
        {
            "shards": None,
            "chunks": (24, 1, 4, 4),
            "compressors": None,
            "serializer": ShardingCodec(
                chunk_shape=(8, 1, 4, 4), codecs=[BytesCodec(), Crc32cCodec()], index_location="start"
            ),
        },
    ],
    ids=["compressed", "no checksums", "no shards", "columns apart", "big endian", "keys", "index first"],
)
def test_other_layouts_are_left_to_zarr(tmp_path: Path, options: dict[str, Any]) -> None:
    assert ShardedArray.open(_by_zarr(tmp_path / "array", LAYOUT, VALUES, **options)) is None


def test_a_step_and_a_folder_without_metadata_are_left_to_zarr(folder: Path, tmp_path: Path) -> None:
    assert _opened(folder).read(slice(None, None, 2)) is None
    assert ShardedArray.open(tmp_path / "nothing") is None


def test_a_file_that_is_no_shard_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(StoreDamagedError, match="the checksum of its index differs"):
        ShardFile.open(tmp_path / "noise", LAYOUT)


def test_all_arrays_of_a_store_are_ours_to_read(sound_store: Order) -> None:
    for split in sound_store.plan.splits:
        for spec in sound_store.plan.arrays:
            array = _opened(sound_store.root / split.name / spec.name)
            assert array.rows == split.rows
            read, by_zarr = array.read(), zarr.open_array(sound_store.root / split.name / spec.name, mode="r")
            assert read is not None
            assert read.tobytes() == np.asarray(by_zarr[:]).tobytes()
