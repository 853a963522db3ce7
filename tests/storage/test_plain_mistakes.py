"""What anybody gets wrong at first in Python is refused with what is there instead, or simply works."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.auditing import audit
from flows.generate import Order
from flows.importing import import_data
from flows.repair import repair
from schemas.errors import DataError, LensmillError, StoreMissingError, UnknownNameError, WriteError
from storage.conversion import convert
from storage.info import info
from storage.page import write_page
from storage.pictures.gallery import show
from storage.reader import Store, open_books, open_store
from storage.reading.epochs import Batching
from storage.reading.resident import open_rows
from storage.upkeep.diagnosis import diagnose
from storage.upkeep.verification import last_record, record
from storage.verify import verify
from storage.views import xarray_view
from tests.sources import images


@pytest.fixture
def small(sound_store: Order) -> Store:
    return open_store(sound_store.root)


# -- where a store is


READERS: dict[str, Callable[[str], Any]] = {
    "open_store": lambda where: open_store(where).plan.recipe_name,
    "checked": lambda where: open_store(where, check=True).plan.recipe_name,
    "open_books": lambda where: open_books(where).plan.recipe_name,
    "verify": lambda where: verify(where).recipe,
    "info": lambda where: info(where).recipe,
    "diagnose": lambda where: diagnose(where).store.plan.recipe_name,
    "audit": lambda where: audit(where, split="train", quiet=True).about.recipe,
    "repair": lambda where: repair(where, quiet=True).recipe,
}


@pytest.mark.filterwarnings("ignore:.*converge")
@pytest.mark.parametrize("reader", READERS)
def test_a_store_is_named_by_a_text(store: Order, reader: str) -> None:
    assert READERS[reader](str(store.root)) == "tiny"


@pytest.mark.parametrize("reader", READERS)
def test_a_text_that_names_no_store_is_refused_as_a_path_is(tmp_path: Path, reader: str) -> None:
    where = str(tmp_path / "gone.zarr")
    with pytest.raises(StoreMissingError, match=re.escape(f"there is no lensmill store at {where}")):
        READERS[reader](where)
    with pytest.raises(StoreMissingError, match="cannot be at a ftp address"):
        READERS[reader]("ftp://somewhere/tiny.zarr")


def test_what_is_written_beside_a_store_is_named_by_a_text_too(store: Order, tmp_path: Path) -> None:
    root = str(store.root)
    assert show(root, str(tmp_path / "gallery.png"), columns=1).is_file()
    assert write_page(root, str(tmp_path / "page.html")).is_file()
    assert convert(root, str(tmp_path / "half.zarr"), profile="quantised").profile == "quantised"
    assert record(root, verify(root)) == ""
    assert last_record(store.root) is not None
    with pytest.raises(WriteError, match="a URL is given where a path on a disk is needed"):
        write_page(root, "s3://bucket/page.html")


# -- what is read


def test_an_unknown_array_is_told_with_those_that_are_there(small: Store) -> None:
    with pytest.raises(UnknownNameError, match="unknown array 'imag'") as caught:
        small.read("train", "imag")
    assert "one of image, label, params, sample_id" in str(caught.value)
    assert "did you mean 'image'?" in str(caught.value)
    with pytest.raises(UnknownNameError, match="unknown array 'imag'"):
        small.plan.array("imag")
    with pytest.raises(UnknownNameError, match=r"it is a column of params: store\.column\(split, name\)"):
        small.read("train", "theta_E")
    with pytest.raises(UnknownNameError, match="unknown split 0"):
        small.read(0, "image")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([0, 5], "list"), (np.array([0, 5]), "ndarray"), (np.arange(42) % 2 == 0, "ndarray"), (3, "int"),
        ((0, 5), "tuple"), (None, "NoneType"), (slice(0, 1.5), r"slice\(0, 1\.5"), (slice(0, 4, 0), "slice"),
    ],
)  # fmt: skip
def test_rows_that_are_no_slice_are_refused_with_what_takes_them(small: Store, rows: Any, named: str) -> None:
    advice = r"open_rows\(store, Selection\(split='val'\), names=\('label',\)\)\.take\(rows\)"
    for read in (small.read, small.codes):
        with pytest.raises(DataError, match=f"(?s)rows are .*{named}.*slice.*{advice}"):
            read("val", "label", rows)


def test_slices_of_every_kind_are_read(small: Store) -> None:
    label = small.read("train", "label")
    for rows in (slice(np.int64(2), np.int64(9)), slice(None, None, 5), slice(-3, None), slice(9, 2, -2)):
        assert small.read("train", "label", rows).tolist() == label[rows].tolist()


def test_a_mask_is_told_how_it_becomes_rows(small: Store) -> None:
    for mode in ("resident", "streamed"):
        source = open_rows(small, mode=mode)
        with pytest.raises(DataError, match=r"rows are bool of shape \(42,\)(?s:.)*np\.flatnonzero\(mask\)"):
            source.take(np.arange(42) % 2 == 0)


# -- batches


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"mode": "gpu"},
            UnknownNameError,
            "unknown mode 'gpu'\n  expected: one of auto, resident, streamed",
        ),
        ({"mode": "stream"}, UnknownNameError, "(?s)unknown mode 'stream'.*did you mean 'streamed'"),
        ({"way": "mmap"}, UnknownNameError, "unknown way 'mmap'\n  expected: one of mapped, read"),
        ({"names": ()}, DataError, r"are \(\)\n  expected: at least one name"),
        ({"names": "image"}, DataError, r"(?s)are 'image'\n  expected.*write \('image',\)"),
    ],
)
def test_sources_that_cannot_be(
    small: Store, options: dict[str, Any], error: type[LensmillError], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_rows(small, **options)


@pytest.mark.parametrize("mode", ["resident", "streamed"])
def test_batches_that_an_epoch_does_not_have(small: Store, mode: Any) -> None:
    source, batching = open_rows(small, mode=mode), Batching(batch=8)
    for start in (-1, 7, 10**9, 1.5):
        with pytest.raises(
            DataError, match=rf"no batch {start} to start from\n  expected: 0 to 6, the end.*6 batches"
        ):
            source.epoch(batching, 0, start=start)
    assert len(list(source.epoch(batching, 0, start=5))) == 1
    # a checkpoint may be made where an epoch has ended
    assert list(source.epoch(batching, 0, start=6)) == []


def test_epochs_are_counted_from_0(small: Store) -> None:
    source = open_rows(small, mode="streamed")
    for number in (-1, 2**63, 0.5):
        with pytest.raises(DataError, match=rf"no epoch {number}\n  expected: a whole number from 0 on"):
            source.epoch(Batching(batch=8), number)
    last, same = (source.epoch(Batching(batch=8), one) for one in (2**63 - 1, np.uint64(2**63 - 1)))
    assert next(last).rows.tolist() == next(same).rows.tolist()


def test_imported_data_have_a_view_of_xarray(tmp_path: Path) -> None:
    for number, name in enumerate(("axion", "no_sub")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for at, image in enumerate(images(10, number, side=16)):
            np.save(tmp_path / "mine" / name / f"{at}.npy", image)
    import_data(tmp_path / "mine", tmp_path / "mine.zarr", quiet=True)
    view = xarray_view(open_store(tmp_path / "mine.zarr"), "train")
    assert set(view.class_name.values.tolist()) == {"axion", "no_sub"}
