"""Products in a store: beside the images, in the same receipts, checked, and changing nothing else."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import xarray as xr
import zarr

from flows.generate import Order
from flows.shards import make_shard
from schemas.errors import ColumnError, DataError, StoreConflictError, StoreDamagedError
from schemas.products import CATALOGUE, MAPS, PRODUCTS
from simulate.render import render
from storage import catalogue, commit, layout
from storage.info import info
from storage.layout import Span
from storage.reader import open_store
from storage.verify import verify

BytesOf = Callable[[Path], dict[str, bytes]]
COLUMNS = [column.name for column in CATALOGUE]
FIRST = "train/subhalos/000000.parquet"


@pytest.fixture
def product_store(sound_product_store: Order, tmp_path: Path) -> Order:
    """One to be damaged."""
    root = tmp_path / "small.zarr"
    shutil.copytree(sound_product_store.root, root)
    return replace(sound_product_store, root=root)


def _rendered(order: Order, span: Span) -> tuple[dict[str, Any], dict[str, Any]]:
    samples = render(order.recipe, layout.sample_ids(order.recipe, span))
    assert samples.subhalos is not None
    return samples.arrays(), samples.subhalos


# -- what is there


def test_maps_are_read_bit_for_bit(sound_product_store: Order) -> None:
    store = open_store(sound_product_store.root)
    for span in layout.spans(store.plan):
        arrays, _ = _rendered(sound_product_store, span)
        rows = slice(span.first_row, span.first_row + span.rows)
        for name in MAPS:
            assert store.read(span.split, name, rows).tobytes() == arrays[name].tobytes()


def test_other_files_are_those_of_a_store_without_products(
    sound_store: Order, sound_product_store: Order, bytes_of: BytesOf
) -> None:
    plain, asked = bytes_of(sound_store.root), bytes_of(sound_product_store.root)
    shards = {path for path in plain if "/c/" in path}
    assert shards
    assert {path: asked[path] for path in shards} == {path: plain[path] for path in shards}
    added = {path for path in asked.keys() - plain.keys() if not path.endswith("zarr.json")}
    assert {path.split("/")[1] for path in added} == set(PRODUCTS)


def test_receipts_list_every_file(sound_product_store: Order, bytes_of: BytesOf) -> None:
    order = sound_product_store
    receipts = open_store(order.root).manifest.receipts
    listed = {record.path for receipt in receipts for record in receipt.files}
    assert listed == {p for p in bytes_of(order.root) if "/c/" in p or p.endswith(".parquet")}
    assert {len(receipt.files) for receipt in receipts} == {4 + len(PRODUCTS)}


def test_the_estimate_holds(sound_product_store: Order, bytes_of: BytesOf) -> None:
    total = sum(map(len, bytes_of(sound_product_store.root).values()))
    assert verify(sound_product_store.root).sound
    assert total <= layout.store_bytes(sound_product_store.plan, 11 / 3) <= 2 * total


def test_zarr_and_xarray_read_maps(sound_product_store: Order) -> None:
    group = zarr.open_group(sound_product_store.root, mode="r")
    for name, about in MAPS.items():
        array = group[f"train/{name}"]
        assert dict(array.attrs) == {"unit": about.unit, "description": about.description}
    train = xr.open_zarr(sound_product_store.root, group="train")
    assert dict(train.sizes) | {"column": 0} == {
        "sample": 42, "channel": 1, "lens_plane": 1, "component": 2, "y": 16, "x": 16, "column": 0,
    }  # fmt: skip


def test_info_lists_products(sound_product_store: Order, sound_store: Order) -> None:
    assert info(sound_product_store.root).products == PRODUCTS
    assert info(sound_store.root).products == ()


# -- the catalogue


def test_pandas_reads_a_file_and_a_folder(sound_product_store: Order) -> None:
    folder = sound_product_store.root / "train/subhalos"
    table = pd.read_parquet(folder)
    assert list(table.columns) == COLUMNS
    first = pd.read_parquet(folder / "000000.parquet")
    ids = open_store(sound_product_store.root).read("train", "sample_id", slice(0, 8))
    pd.testing.assert_frame_equal(first, table[table.sample_id <= ids[-1]], check_exact=True)
    assert set(first.sample_id) == set(ids[ids % 3 > 0])
    assert table.sample_id.is_monotonic_increasing
    assert set(table.profile) == {"POINT_MASS", "LINE"}


def test_the_catalogue_adds_up_to_the_columns(sound_product_store: Order) -> None:
    store = open_store(sound_product_store.root)
    for split in ("train", "val", "test"):
        table = pd.read_parquet(sound_product_store.root / split / "subhalos")
        ids, label = store.read(split, "sample_id"), store.read(split, "label")
        mass = table.groupby("sample_id").mass_msun.sum().reindex(ids, fill_value=0)
        for name, one in (("subhalo_mass_msun", 1), ("vortex_mass_msun", 2)):
            np.testing.assert_allclose(
                mass[label == one], store.column(split, name)[label == one], rtol=1e-12
            )
        assert not mass[label == 0].any()
        counts = table.groupby("sample_id").size().reindex(ids, fill_value=0)
        assert set(counts[label == 1]) == {10}
        assert set(counts[label == 2]) == {1}


def test_columns_have_units_and_meanings(sound_product_store: Order) -> None:
    schema = pyarrow.parquet.read_schema(sound_product_store.root / FIRST)
    for column in CATALOGUE:
        about = schema.field(column.name).metadata
        assert about == {b"unit": column.unit.encode(), b"description": column.description.encode()}


def test_the_rows_of_one_sample(sound_product_store: Order) -> None:
    store = open_store(sound_product_store.root)
    whole = pd.concat(
        pd.read_parquet(sound_product_store.root / split / "subhalos") for split in ("train", "val", "test")
    )
    for sample in range(store.recipe.sample_count):
        rows = pd.DataFrame(store.subhalos(sample))
        expected = whole[whole.sample_id == sample].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, expected, check_dtype=False, check_exact=True)
    with pytest.raises(DataError, match="no sample 60"):
        store.subhalos(60)
    with pytest.raises(DataError, match="no sample -1"):
        store.subhalos(-1)


def test_a_store_without_catalogue_says_so(sound_store: Order) -> None:
    with pytest.raises(DataError, match="no catalogue"):
        open_store(sound_store.root).subhalos(1)


def test_rows_do_not_depend_on_the_shards(
    sound_product_store: Order,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
) -> None:
    other = order_small(tmp_path / "other.zarr", "products=[subhalos]", "storage.shard_images=32")
    make_store(other)
    one, two = (pd.read_parquet(root / "train/subhalos") for root in (sound_product_store.root, other.root))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_the_same_rows_have_the_same_bytes(sound_product_store: Order) -> None:
    span = Span("test", 1, 8, 4)
    _, subhalos = _rendered(sound_product_store, span)
    for path, content in catalogue.shard_files(sound_product_store.plan, span, subhalos).items():
        assert content == (sound_product_store.root / path).read_bytes()


def test_a_catalogue_may_be_empty(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path
) -> None:
    classes = "classes=[{name: no_sub, label: 0, substructure: {kind: none}}]"
    order = order_small(tmp_path / "smooth.zarr", "products=[convergence, subhalos]", classes)
    make_store(order)
    assert verify(order.root).sound
    assert pd.read_parquet(order.root / "train/subhalos").shape == (0, len(COLUMNS))
    assert len(open_store(order.root).subhalos(3)["sample_id"]) == 0


# -- faults


def _change(subhalos: dict[str, Any], **changes: Any) -> dict[str, Any]:
    changed = {name: values.copy() for name, values in subhalos.items()}
    for name, value in changes.items():
        changed[name][2] = value
    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sample_id": 59}, "1 rows of samples of other shards (sample 59)"),
        ({"sample_id": 4}, "rows are not in the order of samples (row 3)"),
        ({"label": 2}, "1 rows with another label"),
        ({"mass_msun": np.nan}, "mass_msun: 1 of"),
        ({"theta_E": np.inf}, "theta_E: 1 of"),
        ({"profile": ""}, "profile: 1 of"),
    ],
)
def test_a_wrong_row_is_told(sound_product_store: Order, change: dict[str, Any], said: str) -> None:
    order, span = sound_product_store, next(layout.spans(sound_product_store.plan))
    arrays, subhalos = _rendered(order, span)
    assert commit.shard_faults(order.recipe, order.plan, span, arrays, subhalos) == []
    faults = commit.shard_faults(order.recipe, order.plan, span, arrays, _change(subhalos, **change))
    assert any(said in fault for fault in faults), faults


def test_a_missing_row_is_told(sound_product_store: Order) -> None:
    order, span = sound_product_store, next(layout.spans(sound_product_store.plan))
    arrays, subhalos = _rendered(order, span)
    short = {name: values[1:] for name, values in subhalos.items()}
    (fault,) = commit.shard_faults(order.recipe, order.plan, span, arrays, short)
    assert fault == (
        "subhalos: 1 samples have another number of rows than subhalo_count says (sample 1: 9 instead of 10)"
    )


@pytest.mark.parametrize("column", ["sample_id", "label", "angle"])
def test_wrong_numbers_formats_and_columns_are_told(sound_product_store: Order, column: str) -> None:
    order, span = sound_product_store, next(layout.spans(sound_product_store.plan))
    arrays, subhalos = _rendered(order, span)

    def faults(table: Any) -> list[str]:
        return commit.shard_faults(order.recipe, order.plan, span, arrays, table)

    (fault,) = faults({**subhalos, column: subhalos[column].astype(np.float32)})
    assert fault.startswith(f"subhalos: {column} is float32")
    for table in (
        None,
        {k: v for k, v in subhalos.items() if k != column},
        {**subhalos, column: np.empty(0)},
    ):
        assert any("not a table of the columns" in fault for fault in faults(table))


@pytest.mark.parametrize("name", sorted(MAPS))
def test_a_map_that_is_not_finite_or_missing_is_told(sound_product_store: Order, name: str) -> None:
    order, span = sound_product_store, next(layout.spans(sound_product_store.plan))
    arrays, subhalos = _rendered(order, span)
    without = {key: value for key, value in arrays.items() if key != name}
    (fault,) = commit.shard_faults(order.recipe, order.plan, span, without, subhalos)
    assert fault.startswith(f"{name} is ")
    arrays[name][5, 0, 3, 3] = np.nan
    assert commit.shard_faults(order.recipe, order.plan, span, arrays, subhalos) == [
        f"{name}: 1 of 8 images not finite (row 5)"
    ]


def test_a_shard_without_its_catalogue_is_not_written(product_store: Order, bytes_of: BytesOf) -> None:
    order, span = product_store, next(layout.spans(product_store.plan))
    before = bytes_of(order.root)
    arrays, _ = _rendered(order, span)
    with pytest.raises(ColumnError, match="not a table"):
        commit.write_shard(order.root, order.recipe, order.plan, span, arrays)
    assert bytes_of(order.root) == before


# -- damage and repair


@pytest.mark.parametrize("at", [0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_flipped_bit_in_a_catalogue_is_found(product_store: Order, at: float) -> None:
    path = product_store.root / FIRST
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)
    (fault,) = verify(product_store.root).faults
    assert FIRST in fault
    assert "the bytes changed" in fault


def test_a_reader_refuses_changed_pages(product_store: Order) -> None:
    """Checksums of pages, for those who did not run verify."""
    path = product_store.root / FIRST
    content = bytearray(path.read_bytes())
    content[len(content) // 5] ^= 4
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="catalogue"):
        open_store(product_store.root).subhalos(1)


@pytest.mark.parametrize("path", [FIRST, "test/deflection/c/1/0/0/0"])
def test_lost_and_cut_files_are_refused(product_store: Order, path: str) -> None:
    file = product_store.root / path
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreDamagedError, match=path):
        open_store(product_store.root)
    file.unlink()
    with pytest.raises(StoreDamagedError, match=path):
        open_store(product_store.root)
    assert path in verify(product_store.root).faults[0]


@pytest.mark.parametrize("path", [FIRST, "train/convergence/c/2/0/0/0"])
def test_a_rerun_mends_what_is_damaged(
    product_store: Order, sound_product_store: Order, simulate_here: Any, bytes_of: BytesOf, path: str
) -> None:
    (product_store.root / path).unlink()
    assert simulate_here(product_store).made == 1
    assert bytes_of(product_store.root) == bytes_of(sound_product_store.root)


def test_a_rerun_completes_what_was_killed(
    sound_product_store: Order, simulate_here: Any, tmp_path: Path, bytes_of: BytesOf
) -> None:
    order = replace(sound_product_store, root=tmp_path / "killed.zarr")
    commit.begin(order.root, order.recipe, order.plan)
    spans = list(layout.spans(order.plan))
    for span in spans[:4]:
        make_shard(order.root, order.recipe, order.plan, span)
    # killed between the catalogue and the receipt of the fifth
    make_shard(order.root, order.recipe, order.plan, spans[4])
    (order.root / commit.receipt_path(spans[4])).unlink()
    assert simulate_here(order).made == len(spans) - 4
    assert bytes_of(order.root) == bytes_of(sound_product_store.root)


def test_other_products_are_another_layout(
    sound_product_store: Order, sound_store: Order, order_small: Callable[..., Order]
) -> None:
    with pytest.raises(StoreConflictError, match="begun with arrays image") as raised:
        order_small(sound_product_store.root, "products=[noise_free]")
    assert len(str(raised.value)) < 1500
    with pytest.raises(StoreConflictError, match="catalogue none"):
        order_small(sound_store.root, "products=[subhalos]")
