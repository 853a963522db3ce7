"""What others see: plain zarr and xarray open the store, and its chunks are checksummed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from flows.generate import Order
from simulate.render import render
from storage import commit, layout
from storage.formats import BACKENDS
from storage.reader import open_store

FILLS = {"image": np.nan, "label": -1, "sample_id": -1, "params": np.nan}


def _same(values: Any, fill: float) -> bool:
    return bool(np.isnan(values).all() if np.isnan(fill) else (values == fill).all())


def _metadata(order: Order, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((order.root / name / "zarr.json").read_text())
    return found


@pytest.mark.parametrize("consolidated", [None, True, False])
def test_plain_zarr_opens_it(sound_store: Order, consolidated: bool | None) -> None:
    group = zarr.open_group(sound_store.root, mode="r", use_consolidated=consolidated)
    if consolidated is not False:
        # listed by the metadata; a listing of the folder warns that `lensmill` is no part of the hierarchy
        assert sorted(dict(group.groups())) == ["test", "train", "val"]
    store = open_store(sound_store.root)
    for name in FILLS:
        read = np.asarray(group[f"train/{name}"][:])  # type: ignore[index]
        assert read.tobytes() == store.read("train", name).tobytes()


def test_the_group_says_what_it_is(sound_store: Order) -> None:
    group = zarr.open_group(sound_store.root, mode="r")
    about = dict(group.attrs)
    assert about["recipe_digest"] == sound_store.recipe.digest
    assert about["classes"] == {"0": "no_sub", "1": "cdm", "2": "vortex"}
    versions: Any = about["provenance"]["versions"]  # type: ignore[index,call-overload]
    assert set(versions) == {"lensmill", "lenstronomy", "numba", "numpy"}
    params = dict(group["train/params"].attrs)
    columns = sound_store.plan.columns
    assert params["columns"] == [column.name for column in columns]
    assert params["units"] == [column.unit for column in columns]
    assert all(params["descriptions"])  # type: ignore[arg-type]


@pytest.mark.parametrize("consolidated", [None, True, False])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_xarray_opens_it_without_complaint(sound_store: Order, split: str, consolidated: bool | None) -> None:
    with xarray.open_zarr(sound_store.root, group=split, consolidated=consolidated, chunks=None) as data:
        assert data["image"].dims == ("sample", "channel", "y", "x")
        assert data["label"].dims == data["sample_id"].dims == ("sample",)
        assert data["params"].dims == ("sample", "column")
        assert data.sizes["sample"] == sound_store.plan.rows_of(split)
        assert np.isfinite(data["image"].to_numpy()).all()
        # the classes are numbers: nothing was masked into floats
        assert np.array_equal(data["label"].to_numpy(), open_store(sound_store.root).read(split, "label"))


def test_number_formats(sound_store: Order) -> None:
    expected = {"image": "float32", "label": "int32", "sample_id": "int64", "params": "float64"}
    for split in ("train", "val", "test"):
        for name, dtype in expected.items():
            assert _metadata(sound_store, f"{split}/{name}")["data_type"] == dtype


def test_chunks_are_checksummed_and_not_compressed(sound_store: Order) -> None:
    plain = {"name": "bytes", "configuration": {"endian": "little"}}
    for split in ("train", "val", "test"):
        for name in FILLS:
            found = _metadata(sound_store, f"{split}/{name}")
            (sharding,) = found["codecs"]
            assert sharding["name"] == "sharding_indexed"
            inner = sharding["configuration"]["codecs"]
            assert [codec["name"] for codec in inner] == ["bytes", "crc32c"]
            assert inner[0].get("configuration", plain["configuration"]) == plain["configuration"]
            assert found["chunk_grid"]["configuration"]["chunk_shape"][0] == 8


@pytest.mark.parametrize("name", list(FILLS))
def test_beyond_the_data_is_fill(store: Order, name: str) -> None:
    # lengthen the array over the end of its partial last shard and into one that does not exist
    for folder in ("", "train", f"train/{name}"):
        path = store.root / folder / "zarr.json"
        found = json.loads(path.read_text())
        found.pop("consolidated_metadata", None)
        if folder.endswith(name):
            found["shape"][0] = 56
        path.write_text(json.dumps(found))
    array = zarr.open_group(store.root, mode="r")[f"train/{name}"]
    assert isinstance(array, zarr.Array)
    assert not _same(array[41:42], FILLS[name])
    assert _same(array[42:48], FILLS[name]), "the rest of the partial shard"
    assert _same(array[48:56], FILLS[name]), "a shard that was never written"


@pytest.mark.parametrize("name", list(FILLS))
def test_a_lost_shard_never_reads_as_data(store: Order, name: str) -> None:
    shutil.rmtree(store.root / f"train/{name}/c")
    array = zarr.open_group(store.root, mode="r")[f"train/{name}"]
    assert isinstance(array, zarr.Array)
    assert _same(array[:], FILLS[name])


@pytest.mark.parametrize("name", list(FILLS))
def test_plain_zarr_notices_any_flipped_byte(store: Order, name: str) -> None:
    path = next(path for path in sorted((store.root / f"val/{name}/c").rglob("*")) if path.is_file())
    sound = path.read_bytes()
    group = zarr.open_group(store.root, mode="r")
    for position in {*range(0, len(sound), max(1, len(sound) // 40)), len(sound) - 1}:
        broken = bytearray(sound)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="checksum"):
            group[f"val/{name}"][:]  # type: ignore[index]
    path.write_bytes(sound)
    group[f"val/{name}"][:]  # type: ignore[index]


def test_a_store_without_metadata_is_no_group(sound_store: Order, tmp_path: Path) -> None:
    order = Order(tmp_path / "unfinished.zarr", sound_store.recipe, sound_store.plan)
    commit.begin(order.root, order.recipe, order.plan)
    for span in layout.spans(order.plan):
        arrays = render(order.recipe, layout.sample_ids(order.recipe, span)).arrays()
        commit.write_shard(order.root, order.recipe, order.plan, span, arrays)
        with pytest.raises(FileNotFoundError):
            zarr.open_group(order.root, mode="r")


def test_the_root_is_the_last_of_the_metadata(sound_store: Order) -> None:
    files = BACKENDS["zarr"].metadata_files(sound_store.plan, commit.stored_recipe(sound_store.recipe))
    names = list(files)
    assert names[-1] == "zarr.json"
    assert all(name.endswith("/zarr.json") for name in names[:-1])
    assert len(names) == 1 + 3 + 3 * 4


def test_shards_of_several_chunks(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
) -> None:
    # 64 x 64 pixels have chunks of 32 images: one shard full, one with a single chunk in part
    order = order_small(
        tmp_path / "wide.zarr",
        "instrument.num_pix=64",
        "storage.shard_images=64",
        "samples_per_class=25",
        "splits={train: 1}",
    )
    make_store(order)
    found = _metadata(order, "train/image")
    assert found["codecs"][0]["configuration"]["chunk_shape"] == [32, 1, 64, 64]
    assert found["chunk_grid"]["configuration"]["chunk_shape"] == [64, 1, 64, 64]
    expected = render(order.recipe, np.arange(75)).arrays()
    for name, array in expected.items():
        assert open_store(order.root).read("train", name).tobytes() == array.tobytes()
    full = (order.root / "train/image/c/0/0/0/0").stat().st_size
    assert full == 64 * 64 * 64 * 4 + 2 * 4 + 2 * 16 + 4, "images, two checksums, the index and its own"
