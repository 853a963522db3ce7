"""Equal faults are one line, and there are few lines whatever their number."""

from pathlib import Path

import numpy as np
import pytest

from storage.importing.faults import MOST_LINES, Fault, counted, lines_of
from tests.sources import folders, images, refused


@pytest.mark.parametrize(
    ("number", "plural", "says"),
    [(1, "", "1 file"), (2, "", "2 files"), (0, "", "0 files"), (1234, "entries", "1,234 entries")],
)
def test_plurals(number: int, plural: str, says: str) -> None:
    assert counted(number, "file", plural) == says


def test_equal_faults_are_together() -> None:
    faults = [Fault(f"a/{k}.npy", "32 x 30 pixels") for k in range(1, 21)]
    assert lines_of(faults) == ["20 files: 32 x 30 pixels: a/1.npy, a/2.npy, a/3.npy and 17 more"]
    assert lines_of(faults[:3]) == [f"a/{k}.npy: 32 x 30 pixels" for k in (1, 2, 3)]


def test_faults_that_differ_in_figures_are_of_one_kind() -> None:
    faults = [Fault(f"{k}", f"{k} pixels are NaN", "pixels are NaN", "image") for k in range(9)]
    assert lines_of(faults) == ["9 images: pixels are NaN: 0, 1, 2 and 6 more"]
    # what reads the same is told with its figures
    same = [Fault(f"s{k}", "144 pixels are NaN", "pixels are NaN", "image") for k in range(4)]
    assert lines_of([*same, *faults[:2]]) == [
        "4 images: 144 pixels are NaN: s0, s1, s2 and 1 more",
        "0: 0 pixels are NaN",
        "1: 1 pixels are NaN",
    ]


@pytest.mark.parametrize("kinds", [1, MOST_LINES - 1, MOST_LINES, MOST_LINES + 1, 10_000])
def test_the_number_of_lines_is_bounded(kinds: int) -> None:
    faults = [Fault(f"{k}.npy", f"fault {k}") for k in range(kinds)] + [Fault("x", "other")] * 7
    lines = lines_of(faults)
    assert len(lines) <= MOST_LINES + 1
    untold = (
        kinds + 7 - sum(7 if line.startswith("7 files") else 1 for line in lines if "other fault" not in line)
    )
    assert (lines[-1] == f"and {counted(untold, 'other fault')}") == (untold > 0)


def test_a_source_of_many_faults(tmp_path: Path) -> None:
    source = folders(tmp_path / "s", {"a": 20, "b": 9, "c": 6, "d": 5})
    for at, image in enumerate(images(20)):
        np.save(source / f"a/{at:03d}.npy", image[:, :10])
    for at, image in enumerate(images(9)):
        image[0, : at + 1] = np.nan
        np.save(source / f"b/{at:03d}.npy", image)
    for at in range(6):
        (source / f"c/{at:03d}.npy").write_text(f"no array, {at}")
    assert refused(source)[:4] == [
        f"{source} cannot be imported: 35 faults",
        "  - 20 files: 12 x 10 pixels, expected square images: a/000.npy, a/001.npy, a/002.npy and 17 more",
        "  - 9 files: pixels are NaN or infinite: b/000.npy, b/001.npy, b/002.npy and 6 more",
        "  - 6 files: it is no .npy file: c/000.npy, c/001.npy, c/002.npy and 3 more",
    ]


def test_cells_of_a_table_are_together(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images(30))
    (tmp_path / "params.csv").write_text("x\n" + "".join(f"wide{k}\n" for k in range(30)))
    places = ", ".join(f"x in row {row} of params.csv" for row in (1, 2, 3))
    assert f"  - 30 cells: is no number: {places} and 27 more" in refused(tmp_path / "images.npy")
