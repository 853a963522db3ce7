"""Which imported sample is in which row: all of them once, classes alike, the same for ever."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.imported import ImportedData, shares
from storage import imported_rows


def data(
    *groups: tuple[str, int, str | None, int], seed: int = 0, splits: str | None = "0.7,0.1,0.2"
) -> ImportedData:
    told = [dict(zip(("class_name", "label", "split", "count"), one, strict=True)) for one in groups]
    values: dict[str, Any] = {
        "name": "some",
        "form": "npy_folders",
        "source": "there",
        "files": 3,
        "contents_sha256": "0" * 64,
        "groups": told,
        "image_shape": (1, 8, 8),
        "columns": (),
        "splits": shares(splits) if splits else None,
        "shuffle_seed": seed,
    }
    return ImportedData.model_validate(values, strict=False)


COUNTS = st.lists(st.integers(1, 60), min_size=1, max_size=4)


@given(COUNTS, st.integers(0, 2**53 - 1))
def test_every_sample_is_in_one_row(counts: list[int], seed: int) -> None:
    one = data(*((f"c{k}", k, None, count) for k, count in enumerate(counts)), seed=seed)
    rows = imported_rows.rows_of(one)
    together = np.concatenate(list(rows.values()))
    assert sorted(together.tolist()) == list(range(one.sample_count))
    sample = one.sample_count - 1
    split, row = imported_rows.locate(one, sample)
    assert rows[split][row] == sample
    labels = imported_rows.labels_of(one, np.arange(one.sample_count))
    assert np.bincount(labels).tolist() == counts


def test_any_stretch_of_rows_has_classes_in_proportion() -> None:
    one = data(("a", 0, None, 1000), ("b", 1, None, 300))
    for split, ids in imported_rows.rows_of(one).items():
        labels = imported_rows.labels_of(one, ids)
        assert len(ids) == {"train": 910, "val": 130, "test": 260}[split]
        for first in range(0, len(ids) - 26, 13):
            assert (labels[first : first + 26] == 1).sum() in (5, 6, 7)


def test_another_seed_is_another_order_of_the_same_samples() -> None:
    one, other = (data(("a", 0, None, 50), ("b", 1, None, 50), seed=seed) for seed in (0, 1))
    assert not np.array_equal(imported_rows.rows_of(one)["test"], imported_rows.rows_of(other)["test"])
    assert one.digest != other.digest
    # a sample is known by seed and number: those of the source, whatever the shuffle
    assert one.seed == other.seed


def test_the_splits_of_the_source_are_kept() -> None:
    one = data(("a", 0, "train", 8), ("a", 0, "test", 4), ("b", 1, "train", 6), splits=None)
    rows = imported_rows.rows_of(one)
    assert sorted(rows["train"].tolist()) == [*range(8), *range(12, 18)]
    assert sorted(rows["test"].tolist()) == [8, 9, 10, 11]
    assert len(rows["val"]) == 0


def test_splits_are_told_once() -> None:
    with pytest.raises(ValueError, match="either every group"):
        data(("a", 0, "train", 8), splits="1")
    with pytest.raises(ValueError, match="either every group"):
        data(("a", 0, None, 8), splits=None)


def test_the_order_is_frozen() -> None:
    """Stores hold it: with another order all of them would be refused."""
    rows = imported_rows.rows_of(data(("a", 0, None, 40), ("b", 1, None, 25), seed=7))
    text = str({split: ids.tolist() for split, ids in rows.items()})
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "ce18feeaedf07722"
