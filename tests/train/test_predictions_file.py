"""The table of predictions: where it may go is known before any work is done."""

from pathlib import Path

import pyarrow as pa
import pytest

from schemas.errors import PlaceError
from train.records.predictions_file import check_place, write_table


@pytest.mark.parametrize("place", ["none/out.csv", "a.txt/out.csv", "folder.csv", "/proc/out.csv"])
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(PlaceError, match="cannot write") as caught:
        check_place(tmp_path / place)
    assert caught.value.expected
    assert caught.value.advice
    assert "partial" not in str(caught.value)
    assert ("make the folder" in caught.value.advice) == (place == "none/out.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "folder.csv"}


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_trial_leaves_nothing_and_the_table_takes_its_place(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    check_place(out)
    assert not list(tmp_path.iterdir())
    write_table(pa.table({"image": [0, 1]}), out)
    assert list(tmp_path.iterdir()) == [out]
