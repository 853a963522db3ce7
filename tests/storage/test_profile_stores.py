"""Stores of codes and archives in every file format: bounds, receipts, checks, repair, what others see."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray
import zarr
from zarr.storage import MemoryStore

from flows.generate import Order
from schemas.errors import ColumnError, StoreConflictError, StoreDamagedError
from schemas.products import MAPS
from simulate.render import render
from storage import commit, layout
from storage.formats import BACKENDS
from storage.info import info
from storage.reader import Store, open_store
from storage.verify import verify

FormatStore = Callable[[str, str], Order]
BytesOf = Callable[[Path], dict[str, bytes]]
ALL_MAPS = ("image", *MAPS)
CODED = [(backend, profile) for backend in sorted(BACKENDS) for profile in ("quantised", "archive")]
FORMATS = [*((backend, "float32") for backend in sorted(BACKENDS)), *CODED]


@pytest.fixture(params=CODED, ids="-".join)
def coded(request: pytest.FixtureRequest, format_store: FormatStore) -> Order:
    """A store of codes of each format. Not to be changed."""
    return format_store(*request.param)


@pytest.fixture(params=FORMATS, ids="-".join)
def damaged(request: pytest.FixtureRequest, format_store: FormatStore, tmp_path: Path) -> tuple[Order, Order]:
    """A sound store of each format and profile, and a copy to be damaged."""
    sound = format_store(*request.param)
    shutil.copytree(sound.root, tmp_path / "copy.store")
    return sound, replace(sound, root=tmp_path / "copy.store")


def test_maps_are_within_the_bound_and_all_else_is_exact(coded: Order) -> None:
    store = open_store(coded.root)
    for span in layout.spans(store.plan):
        rendered = render(coded.recipe, layout.sample_ids(coded.recipe, span)).arrays()
        rows = slice(span.first_row, span.first_row + span.rows)
        errors = {error.map: error for error in store.receipts[span.split, span.shard].errors}
        assert set(errors) == set(ALL_MAPS)
        for name, values in rendered.items():
            read = store.read(span.split, name, rows)
            assert read.dtype == values.dtype
            if name not in ALL_MAPS:
                assert read.tobytes() == values.tobytes()
                continue
            off = np.abs(read.astype(np.float64) - values)
            step = store.codes(span.split, f"{name}_scale", rows)[..., 0].astype(np.float64)
            largest = np.abs(values.astype(np.float64)).max(axis=(2, 3))
            allowed = step / 2 + 8 * 2.0**-24 * largest + 2.0**-149
            assert (off <= allowed[..., None, None]).all()
            assert errors[name].worst == pytest.approx(off.max(), rel=1e-6)
            assert errors[name].bound == pytest.approx(allowed.max(), rel=1e-6)


def test_codes_are_the_same_in_every_format_and_size_of_shard(
    format_store: FormatStore,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
) -> None:
    products = f"products=[{', '.join(format_store('zarr', 'quantised').recipe.products)}]"
    other = order_small(tmp_path / "other", "storage.profile=quantised", products, "storage.shard_images=32")
    make_store(other)
    stores = [open_store(other.root), *(open_store(format_store(*one).root) for one in CODED)]
    for split in ("train", "val", "test"):
        for name in ("image", "image_scale", "deflection", "deflection_scale"):
            arrays = [store.codes(split, name) for store in stores]
            assert {array.tobytes() for array in arrays} == {arrays[0].tobytes()}


def test_it_is_sound_and_within_its_estimate(coded: Order, bytes_of: BytesOf) -> None:
    found = verify(coded.root)
    assert found.faults == ()
    total = sum(map(len, bytes_of(coded.root).values()))
    assert found.bytes <= total <= layout.store_bytes(coded.plan, 11 / 3)


def test_float32_receipts_say_nothing_of_errors(sound_store: Order) -> None:
    text = (sound_store.root / "lensmill/receipts/train/000000.json").read_text()
    assert "errors" not in json.loads(text)
    assert "conversions" not in (sound_store.root / "lensmill/plan.json").read_text()


def test_info_tells_the_loss_beside_the_noise(coded: Order, sound_store: Order) -> None:
    found = {loss.map: loss for loss in info(coded.root).losses}
    assert set(found) == set(ALL_MAPS)
    image = found["image"]
    assert image.noise is not None
    assert image.typical is not None
    # tiny has noise of the depth of Euclid; a code of 16 bits is far finer
    assert image.typical < image.worst <= image.bound < 0.05 * image.noise
    assert found["convergence"].noise is None
    assert info(sound_store.root).losses == ()


def test_a_map_that_cannot_be_quantised_is_refused_and_nothing_written(
    coded: Order, tmp_path: Path, bytes_of: BytesOf
) -> None:
    order = replace(coded, root=tmp_path / "begun")
    commit.begin(order.root, order.recipe, order.plan)
    before = bytes_of(order.root)
    span = next(layout.spans(order.plan))
    samples = render(order.recipe, layout.sample_ids(order.recipe, span))
    for value, words in ((np.nan, "not finite"), (np.finfo(np.float32).max, "cannot be quantised")):
        arrays = samples.arrays()
        arrays["image"] = arrays["image"].copy()
        arrays["image"][5, 0, 3, 3:5] = value, -value
        with pytest.raises(ColumnError, match=words):
            commit.write_shard(order.root, order.recipe, order.plan, span, arrays, samples.subhalos)
    assert bytes_of(order.root) == before


# -- damage and repair


def test_a_flipped_bit_in_any_file_is_found(damaged: tuple[Order, Order]) -> None:
    _, copy = damaged
    receipt = open_store(copy.root).receipts["val", 0]
    for record in receipt.files:
        path = copy.root / record.path
        sound = path.read_bytes()
        for part in (0.1, 0.6, 0.97):
            broken = bytearray(sound)
            broken[int(part * len(sound))] ^= 2
            path.write_bytes(broken)
            (fault,) = verify(copy.root).faults
            assert record.path in fault
        path.write_bytes(sound)
    assert verify(copy.root).sound


def test_a_rerun_mends_what_is_lost_or_changed(
    damaged: tuple[Order, Order], simulate_here: Any, bytes_of: BytesOf
) -> None:
    sound, copy = damaged
    receipts = open_store(copy.root).receipts
    lost = copy.root / receipts["train", 1].files[0].path
    changed = copy.root / receipts["test", 0].files[0].path
    lost.unlink()
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="shard 1 of train"):
        open_store(copy.root)
    assert simulate_here(copy).made == 2
    mended, expected = bytes_of(copy.root), bytes_of(sound.root)
    assert [path for path in expected if mended.get(path) != expected[path]] == []
    assert mended.keys() == expected.keys()


def test_a_shard_can_be_read_before_the_store_is_sealed(damaged: tuple[Order, Order]) -> None:
    sound, copy = damaged
    commit.unseal(copy.root)
    for path in copy.root.rglob("zarr.json"):
        path.unlink()
    store, backend = open_store(sound.root), BACKENDS[copy.plan.backend]
    for span in layout.spans(copy.plan):
        rows = slice(span.first_row, span.first_row + span.rows)
        for spec in copy.plan.arrays:
            read = backend.read_shard(copy.root, copy.plan, span, spec.name)
            assert read.tobytes() == store.codes(span.split, spec.name, rows).tobytes()
            part = backend.read_shard(copy.root, copy.plan, span, spec.name, slice(1, span.rows - 1))
            assert part.tobytes() == read[1:-1].tobytes()


def test_another_profile_or_format_is_another_layout(
    sound_store: Order, order_small: Callable[..., Order]
) -> None:
    with pytest.raises(StoreConflictError, match=r"begun with storage\.profile float32"):
        order_small(sound_store.root, "storage.profile=quantised")
    with pytest.raises(StoreConflictError, match=r"begun with storage\.backend zarr"):
        order_small(sound_store.root, "storage.backend=hdf5")


# -- archives of zarr


def test_zarr_makes_the_same_archive(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path
) -> None:
    # 64 x 64 codes have chunks of 64 images: one shard full, one whose second chunk is in part
    order = order_small(
        tmp_path / "wide.zarr",
        "instrument.num_pix=64",
        "storage.shard_images=128",
        "samples_per_class=70",
        "splits={train: 1}",
        "storage.profile=archive",
    )
    make_store(order)
    array = zarr.open_group(order.root, mode="r")["train/image"]
    assert isinstance(array, zarr.Array)
    (sharding,) = json.loads((order.root / "train/image/zarr.json").read_text())["codecs"]
    assert [codec["name"] for codec in sharding["configuration"]["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert array.chunks == (64, 1, 64, 64)
    codes = open_store(order.root).codes("train", "image")
    assert np.array_equal(np.asarray(array[:]), codes)
    memory = MemoryStore()
    again = zarr.create_array(
        memory,
        name="again",
        shape=array.shape,
        dtype=array.dtype,
        shards=array.shards,
        chunks=array.chunks,
        compressors=array.compressors,
        filters=None,
        fill_value=65535,
        config={"write_empty_chunks": True},
    )
    again[:] = codes
    for shard in (0, 1):
        content = memory._store_dict[f"again/c/{shard}/0/0/0"].to_bytes()
        assert content == (order.root / f"train/image/c/{shard}/0/0/0").read_bytes()


@pytest.mark.parametrize("position", [3, 400, -3])
def test_a_changed_archive_is_an_error(format_store: FormatStore, tmp_path: Path, position: int) -> None:
    shutil.copytree(format_store("zarr", "archive").root, tmp_path / "store")
    path = tmp_path / "store/train/image/c/1/0/0/0"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    store = open_store(tmp_path / "store")
    with pytest.raises(StoreDamagedError, match="checksum"):
        store.read("train", "image", slice(9, 10))
    assert len(store.read("train", "image", slice(0, 8))) == 8


def test_a_lost_or_short_archive_is_an_error(format_store: FormatStore, tmp_path: Path) -> None:
    shutil.copytree(format_store("zarr", "archive").root, tmp_path / "store")
    store = open_store(tmp_path / "store")
    path = tmp_path / "store/train/image/c/1/0/0/0"
    path.write_bytes(path.read_bytes()[-20:])
    with pytest.raises(StoreDamagedError, match="c/1/0/0/0"):
        store.read("train", "image", slice(9, 10))
    path.unlink()
    with pytest.raises(StoreDamagedError, match="c/1/0/0/0"):
        store.read("train", "image", slice(9, 10))


# -- what others see


def test_the_formula_of_the_documents_holds_outside(format_store: FormatStore) -> None:
    expected = open_store(format_store("zarr", "archive").root).read("train", "image")
    train = xarray.open_zarr(format_store("zarr", "archive").root, group="train", chunks=None)
    scale, offset = train.image_scale[..., 0], train.image_scale[..., 1]
    image = train.image.astype("float32") * scale + offset
    assert image.transpose("sample", "channel", "y", "x").to_numpy().tobytes() == expected.tobytes()
    with h5py.File(format_store("hdf5", "archive").root / "data.h5", "r") as file:
        codes, pairs = file["train/image"][:], file["train/image_scale"][:]
        assert "image_scale" in file["train/image"].attrs["codes"]
    decoded = codes.astype(np.float32) * pairs[..., 0, None, None] + pairs[..., 1, None, None]
    assert decoded.tobytes() == expected.tobytes()


def test_a_lost_shard_of_codes_reads_as_nan_where_zarr_fills(
    format_store: FormatStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = format_store("zarr", "quantised")
    store = open_store(order.root)
    lost = np.full((8, 1, 16, 16), 65535, np.uint16)
    real = type(store).codes

    def codes(self: Store, split: str, array: str, rows: slice) -> Any:
        return lost if array == "image" else real(self, split, array, rows)

    monkeypatch.setattr(type(store), "codes", codes)
    assert np.isnan(store.read("train", "image", slice(0, 8))).all()
