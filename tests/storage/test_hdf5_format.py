"""What others see of an HDF5 store: h5py opens a shard alone, and all of them as one array."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from flows.generate import Order
from schemas.errors import StoreDamagedError
from storage import commit, hdf5_backend, layout, profiles
from storage.formats import BACKENDS
from storage.layout import Span
from storage.reader import open_store
from storage.verify import verify

FormatStore = Callable[[str, str], Order]
PROFILES = ("float32", "quantised", "archive")


@pytest.fixture
def hdf5_store(format_store: FormatStore, tmp_path: Path) -> Order:
    """One to be damaged."""
    sound = format_store("hdf5", "float32")
    shutil.copytree(sound.root, tmp_path / "small.h5store")
    return replace(sound, root=tmp_path / "small.h5store")


@pytest.mark.parametrize("profile", PROFILES)
def test_h5py_sees_every_array_as_one(format_store: FormatStore, profile: str) -> None:
    order = format_store("hdf5", profile)
    store = open_store(order.root)
    with h5py.File(order.root / "data.h5", "r") as file:
        assert sorted(file) == ["test", "train", "val"]
        assert file.attrs["recipe_digest"] == order.recipe.digest
        assert json.loads(file.attrs["classes"]) == {"0": "no_sub", "1": "cdm", "2": "vortex"}
        for split in store.plan.splits:
            assert sorted(file[split.name]) == sorted(spec.name for spec in store.plan.arrays)
            for spec in store.plan.arrays:
                array = file[split.name][spec.name]
                assert array.is_virtual
                assert [dimension.label for dimension in array.dims] == list(spec.dimensions)
                assert array[:].tobytes() == store.codes(split.name, spec.name).tobytes()


def test_columns_say_what_they_are(format_store: FormatStore) -> None:
    order = format_store("hdf5", "float32")
    for path, name in (("data.h5", "train/params"), ("train/000000.h5", "params")):
        with h5py.File(order.root / path, "r") as file:
            about = file[name].attrs
            assert list(about["columns"]) == [column.name for column in order.plan.columns]
            assert list(about["units"]) == [column.unit for column in order.plan.columns]
            assert json.loads(about["labels"])[0] == [0, 1, 2]
    with h5py.File(order.root / "data.h5", "r") as file:
        assert file["val/deflection"].attrs["unit"] == "arcsec"


def test_a_shard_is_a_file_of_its_own(format_store: FormatStore) -> None:
    order = format_store("hdf5", "float32")
    store = open_store(order.root)
    with h5py.File(order.root / "train/000005.h5", "r") as file:
        assert file["image"].shape == (2, 1, 16, 16)
        assert file["image"].chunks is None
        assert np.isnan(file["image"].fillvalue)
        assert file["sample_id"].fillvalue == -1
        assert np.array_equal(file["image"][:], store.read("train", "image", slice(40, 42)))


def test_the_folder_can_be_moved_and_read_from_anywhere(
    hdf5_store: Order, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = open_store(hdf5_store.root).read("train", "image")
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    hdf5_store.root.rename(moved)
    monkeypatch.chdir("/")
    with h5py.File(moved / "data.h5", "r") as file:
        assert np.array_equal(file["train/image"][:], expected)
    monkeypatch.chdir(moved.parent)
    with h5py.File("renamed/data.h5", "r") as file:
        assert np.array_equal(file["train/image"][:], expected)


@pytest.mark.parametrize(
    ("name", "profile", "fill"),
    [
        ("image", "float32", np.nan),
        ("label", "float32", -1),
        ("sample_id", "float32", -1),
        ("params", "float32", np.nan),
        ("image", "quantised", 65535),
        ("image_scale", "archive", np.nan),
    ],
)
def test_a_lost_shard_never_reads_as_data(
    format_store: FormatStore, tmp_path: Path, name: str, profile: str, fill: float
) -> None:
    shutil.copytree(format_store("hdf5", profile).root, tmp_path / "store")
    (tmp_path / "store/train/000001.h5").unlink()
    with h5py.File(tmp_path / "store/data.h5", "r") as file:
        array = file["train"][name][:]
    np.testing.assert_array_equal(array[8:16], np.full_like(array[8:16], fill))
    assert not np.array_equal(array[:8], np.full_like(array[:8], fill), equal_nan=True)


@pytest.mark.parametrize("profile", ["float32", "quantised"])
def test_contiguous_shards_are_mapped(format_store: FormatStore, profile: str) -> None:
    order = format_store("hdf5", profile)
    backend = BACKENDS["hdf5"]
    for span in layout.spans(order.plan):
        with h5py.File(order.root / backend.shard_paths(order.plan, span)[0], "r") as file:
            for spec in order.plan.arrays:
                shard = backend.shard(order.root, order.plan, span, spec.name)
                assert shard is not None
                assert shard.layout.chunk_rows == span.rows
                assert shard.chunks[0].tobytes() == file[spec.name][:].tobytes()


def test_archives_are_left_to_h5py(format_store: FormatStore) -> None:
    order = format_store("hdf5", "archive")
    span = next(layout.spans(order.plan))
    assert BACKENDS["hdf5"].shard(order.root, order.plan, span, "image") is None
    assert BACKENDS["hdf5"].shard(order.root, order.plan, span, "params") is not None
    with h5py.File(order.root / "train/000000.h5", "r") as file:
        image = file["image"]
        assert (image.compression, image.shuffle, image.fletcher32) == ("gzip", True, True)


@pytest.mark.parametrize("where", [0, 600, -1])
def test_a_file_that_is_no_shard_is_an_error(hdf5_store: Order, where: int) -> None:
    path = hdf5_store.root / "train/000001.h5"
    content = path.read_bytes()
    path.write_bytes(b"\0" * 64 + content[64:] if where == 0 else content[: where % len(content)])
    with pytest.raises(StoreDamagedError, match=r"000001\.h5"):
        BACKENDS["hdf5"].read(hdf5_store.root, hdf5_store.plan, "train", "image", slice(8, 9))


def test_another_shape_or_type_is_an_error(hdf5_store: Order) -> None:
    with h5py.File(hdf5_store.root / "train/000001.h5", "r+") as file:
        del file["label"]
        file["label"] = np.zeros(8, np.int64)
        del file["image"]
        file["image"] = np.zeros((7, 1, 16, 16), np.float32)
        del file["params"]
    for name in ("label", "image", "params"):
        with pytest.raises(StoreDamagedError, match=f"{name} in it is"):
            BACKENDS["hdf5"].read(hdf5_store.root, hdf5_store.plan, "train", name, slice(8, 9))


def test_a_flipped_bit_is_found_by_verify_and_by_a_careful_reader(hdf5_store: Order) -> None:
    path = hdf5_store.root / "val/000000.h5"
    sound = path.read_bytes()
    for position in range(1, len(sound), len(sound) // 12):
        broken = bytearray(sound)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        (fault,) = verify(hdf5_store.root).faults
        assert "val/000000.h5" in fault
        with pytest.raises(StoreDamagedError, match="val"):
            open_store(hdf5_store.root, check=True).read("val", "label")


def test_reading_takes_steps_as_numpy_does(format_store: FormatStore) -> None:
    store = open_store(format_store("hdf5", "float32").root)
    whole = store.read("train", "image")
    for rows in (slice(None, None, 3), slice(30, 2, -4), slice(5, 5), slice(-3, None), slice(40, 99)):
        assert store.read("train", "image", rows).tobytes() == whole[rows].tobytes()


def test_no_data_file_before_the_store_is_sealed(format_store: FormatStore, tmp_path: Path) -> None:
    order = replace(format_store("hdf5", "float32"), root=tmp_path / "begun.h5store")
    commit.begin(order.root, order.recipe, order.plan)
    assert not (order.root / "data.h5").exists()
    shutil.copytree(format_store("hdf5", "float32").root, tmp_path / "done")
    commit.unseal(tmp_path / "done")
    assert not (tmp_path / "done/data.h5").exists()


def test_xarray_takes_an_array_of_the_file(format_store: FormatStore) -> None:
    with h5py.File(format_store("hdf5", "float32").root / "data.h5", "r") as file:
        image = file["train/image"]
        array = xarray.DataArray(image, dims=[dimension.label for dimension in image.dims])
        assert dict(array.sizes) == {"sample": 42, "channel": 1, "y": 16, "x": 16}
        assert np.isfinite(array.isel(sample=slice(0, 4)).to_numpy()).all()


@pytest.mark.parametrize("profile", PROFILES)
def test_files_do_not_tell_when_they_were_made(format_store: FormatStore, profile: str) -> None:
    order = format_store("hdf5", profile)
    span = Span("test", 1, 8, 4)
    arrays, _ = profiles.encode(
        order.plan,
        {
            spec.name: open_store(order.root).read("test", spec.name, slice(8, 12))
            for spec in order.plan.decoded
        },
    )

    def files() -> list[bytes]:
        hdf5_backend._frame.cache_clear()
        shard = hdf5_backend.Hdf5Backend().shard_files(order.plan, span, arrays)
        parts = [part if isinstance(part, bytes) else b"".join(map(bytes, part)) for part in shard.values()]
        stored = commit.stored_recipe(order.recipe)
        return [*parts, *hdf5_backend.Hdf5Backend().metadata_files(order.plan, stored).values()]

    first = files()
    # HDF5 counts seconds
    time.sleep(1.1)
    assert files() == first
