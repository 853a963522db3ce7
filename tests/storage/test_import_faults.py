"""All that is wrong with a source is told at once, by name; what is odd is a warning; nothing is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.importing import import_data
from schemas.errors import DataError
from schemas.imported import ImportOptions
from tests.sources import (
    CLASSES,
    SIDE,
    folders,
    images,
    imported,
    refused,
    save_objects,
    warned,
    with_mass,
    write_csv,
)

COUNT = 30
STACK = images(COUNT, 9)
LABELS = np.arange(COUNT) % 3


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Folders of classes, to be changed."""
    return folders(tmp_path / "mine")


def test_all_faults_are_told_at_once(mine: Path) -> None:
    (mine / "empty").mkdir()
    cut = mine / "cdm/003.npy"
    cut.write_bytes(cut.read_bytes()[:-9])
    (mine / "cdm/004.npy").write_bytes(b"")
    broken = images(1)[0]
    broken[2, 3] = np.nan
    np.save(mine / "cdm/005.npy", broken)
    np.save(mine / "cdm/006.npy", images(1, side=SIDE + 1)[0])
    np.save(mine / "cdm/007.npy", broken[:5])
    np.save(mine / "cdm/008.npy", np.full((SIDE, SIDE), 1e200))
    np.save(mine / "cdm/009.npy", np.full((SIDE, SIDE), 2**24 + 1))
    np.save(mine / "cdm/010.npy", np.zeros((SIDE, SIDE), bool))
    np.save(mine / "cdm/011.npy", np.full((SIDE, SIDE), 1e-200))
    save_objects(mine / "axion/000.npy", with_mass(images(1)[0], float("inf")), 4)
    np.save(mine / "axion/001.npy", images(1)[0])
    lines = refused(mine)
    for name, words in {
        "empty": "no .npy or FITS file",
        "cdm/003.npy": "cut off",
        "cdm/004.npy": "it is empty",
        "cdm/005.npy": "1 pixel is NaN",
        "cdm/006.npy": "1 x 13 x 13, most images are 1 x 12 x 12",
        "cdm/007.npy": "5 x 12 pixels, expected square images",
        "cdm/008.npy": "too large for float32",
        "cdm/009.npy": "not exact in float32",
        "cdm/010.npy": "it holds bool, not real numbers",
        "cdm/011.npy": "too small for float32",
        "axion/000.npy": "its mass is inf",
        "axion/001.npy": "axion_mass_ev is nan",
    }.items():
        assert [line for line in lines if line.startswith(f"  - {name}: ") and words in line], name
    assert lines[0].endswith("12 faults")


def test_a_malicious_file_is_named_and_not_run(mine: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "made",)

    save_objects(mine / "axion/000.npy", with_mass(Evil(), 1.0), 4)
    assert any("axion/000.npy: its pickle asks for " in line for line in refused(mine))
    assert not (tmp_path / "made").exists()


def test_what_is_odd_is_a_warning(mine: Path) -> None:
    np.save(mine / "cdm/001.npy", images(1, 50)[0].astype(np.float32))
    for copy in ("cdm/002.npy", "cdm/003.npy", "no_sub/000.npy"):
        (mine / copy).write_bytes((mine / "cdm/000.npy").read_bytes())
    (mine / "cdm/readme.txt").write_text("hello")
    told = "\n".join(warned(mine))
    assert "several types: 49 float64, 1 float32" in told
    assert "3 images are copies of others: cdm/000.npy = cdm/002.npy" in told
    assert "1 different image is in more than one class" in told
    assert "1 entry is no .npy or FITS file and was left out: cdm/readme.txt" in told


def test_copies_across_splits_are_told(tmp_path: Path) -> None:
    for split in ("train", "test"):
        # the same seed: the same images
        folders(tmp_path / "s" / split, {"cdm": 3, "no_sub": 3})
    assert "6 different images are in more than one split" in "\n".join(warned(tmp_path / "s"))


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([[1.0]] * (COUNT - 1), "params.csv has 29 rows, but images.npy has 30 images"),
        ([["wide"]] + [[1.0]] * (COUNT - 1), "'wide' is no number"),
        ([[""]] + [[1.0]] * (COUNT - 1), "x is nan, but others of its class have a value"),
        ([[""]] * COUNT, "x: no value in the whole column"),
    ],
    ids=["missing row", "text", "missing value", "empty"],
)
def test_a_table_that_does_not_fit(tmp_path: Path, rows: Any, fault: str) -> None:
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s/images.npy", STACK)
    write_csv(tmp_path / "s/params.csv", ["x", "y"], [[*row, 1.0] for row in rows])
    assert any(fault in line for line in refused(tmp_path / "s"))


def test_files_without_a_row_are_named(mine: Path, tmp_path: Path) -> None:
    names = [f"{name}/{at:03d}.npy" for name, count in CLASSES.items() for at in range(count)]
    table = write_csv(tmp_path / "t.csv", ["file", "x"], [[name, 1.0] for name in names[:-2]])
    with pytest.raises(DataError, match=r"no_sub/018\.npy: t\.csv has no row for it") as caught:
        import_data(mine, tmp_path / "o.zarr", ImportOptions(table=str(table)), quiet=True)
    assert "no_sub/019.npy" in str(caught.value)


def test_what_is_ambiguous_is_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", a=STACK, b=STACK + 1, one=LABELS, two=LABELS)
    assert "(a, b)" in refused(tmp_path / "s.npz")[0]
    assert "one, two" in refused(tmp_path / "s.npz", images="b")[0]
    assert "no array 'c'" in refused(tmp_path / "s.npz", images="c")[0]
    store = imported(tmp_path / "s.npz", tmp_path / "o.zarr", images="b", labels="two")
    assert len(store.plan.classes) == 3


def test_a_source_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    assert "there is nothing" in refused(tmp_path / "nowhere")[0]
    assert "nothing that can be told to be images" in refused(tmp_path / "s")[0]
    (tmp_path / "s/a.txt").write_text("")
    assert "a.txt" in refused(tmp_path / "s")[0]
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    assert "cannot be read as HDF5" in refused(tmp_path / "x.h5")[0]
    (tmp_path / "x.npz").write_bytes(b"no zip")
    assert "cannot be read" in refused(tmp_path / "x.npz")[0]
