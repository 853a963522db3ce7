"""Rows by conditions: each alone, together, and refused when they say what cannot be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from flows.generate import Order
from schemas.errors import DataError, UnknownNameError
from schemas.selection import ColumnRange, Selection
from storage.reader import Store, open_store
from storage.reading.selection import select

Asked = Callable[..., Any]


@pytest.fixture
def small(sound_store: Order) -> Store:
    return open_store(sound_store.root)


def test_without_conditions_all_rows_of_the_split_are_selected(small: Store) -> None:
    found = select(small)
    assert found.rows.tolist() == list(range(42))
    assert found.classes == {"no_sub": 14, "cdm": 14, "vortex": 14}
    assert len(select(small, Selection(split="test"))) == 12


def test_classes_by_name(small: Store) -> None:
    found = select(small, Selection(classes=("vortex", "no_sub")))
    label = small.read("train", "label")
    assert found.rows.tolist() == np.flatnonzero(label != 1).tolist()
    assert found.classes == {"no_sub": 14, "vortex": 14}


def test_ranges_include_their_bounds_and_hold_together(small: Store) -> None:
    theta, source = (small.column("train", name) for name in ("theta_E", "source_magnitude"))
    low, high = np.sort(theta)[[10, 30]]
    middle = float(np.median(source))
    found = select(
        small,
        Selection(
            ranges=(
                ColumnRange(column="theta_E", low=low, high=high),
                ColumnRange(column="source_magnitude", high=middle),
            )
        ),
    )
    expected = np.flatnonzero((theta >= low) & (theta <= high) & (source <= middle))
    assert found.rows.tolist() == expected.tolist()
    assert np.count_nonzero((theta >= low) & (theta <= high)) == 21


def test_what_does_not_apply_is_in_no_range_unless_kept(small: Store) -> None:
    label, mass = small.read("train", "label"), small.column("train", "axion_mass_ev")
    middle = float(np.nanmedian(mass))
    for low, high in ((None, middle), (middle, None)):
        alone = select(small, Selection(ranges=(ColumnRange(column="axion_mass_ev", low=low, high=high),)))
        assert set(alone.classes) == {"vortex"}
        assert len(alone) == 7
        limits = ColumnRange(column="axion_mass_ev", low=low, high=high, keep_others=True)
        kept = select(small, Selection(ranges=(limits,)))
        assert sorted(set(kept.rows) - set(alone.rows)) == np.flatnonzero(label != 2).tolist()


def test_parts_of_what_is_left_apply_in_their_order(small: Store) -> None:
    label = small.read("train", "label")
    cdm = np.flatnonzero(label == 1)
    assert select(small, Selection(classes=("cdm",), every=3)).rows.tolist() == cdm[::3].tolist()
    assert select(small, Selection(classes=("cdm",), every=3, first=2)).rows.tolist() == cdm[[0, 3]].tolist()
    few = select(small, Selection(per_class=4))
    assert few.classes == {"no_sub": 4, "cdm": 4, "vortex": 4}
    assert [few.rows[label[few.rows] == one].tolist() for one in (0, 1, 2)] == [
        np.flatnonzero(label == one)[:4].tolist() for one in (0, 1, 2)
    ]


def test_a_step_is_counted_within_each_class(small: Store) -> None:
    label = small.read("train", "label")
    for step in (2, 3, 6):
        found = select(small, Selection(classes=("cdm", "vortex"), every=step))
        own = {name: np.flatnonzero(label == one)[::step] for name, one in (("cdm", 1), ("vortex", 2))}
        assert found.classes == {name: len(rows) for name, rows in own.items()}
        assert found.rows.tolist() == sorted(np.concatenate([*own.values()]).tolist())
    assert select(small, Selection(every=3)).classes == {"no_sub": 5, "cdm": 5, "vortex": 5}
    # rows from the front have every class, also after a step
    few = select(small, Selection(every=3, first=6))
    assert few.classes == {"no_sub": 2, "cdm": 2, "vortex": 2}


def test_random_subsets_follow_their_seed(small: Store) -> None:
    one, again, other = (
        select(small, Selection(random=20, random_seed=seed)).rows.tolist() for seed in (5, 5, 6)
    )
    assert one == again == sorted(set(one))
    assert len(one) == len(other) == 20
    assert one != other
    assert len(select(small, Selection(random=1000))) == 42


def test_samples_by_number(small: Store) -> None:
    sample_id = small.read("train", "sample_id")
    wanted = (int(sample_id[30]), int(sample_id[3]))
    assert select(small, Selection(sample_ids=wanted)).rows.tolist() == [3, 30]
    absent = int(small.read("test", "sample_id")[0])
    with pytest.raises(
        DataError, match=rf"1 of 2 samples are not in the train split .such as sample {absent}"
    ):
        select(small, Selection(sample_ids=(wanted[0], absent)))


def test_unknown_names_are_told_together(small: Store) -> None:
    with pytest.raises(UnknownNameError, match="unknown class 'vortx'") as caught:
        select(small, Selection(classes=("vortx",)))
    assert "did you mean 'vortex'" in str(caught.value)
    with pytest.raises(UnknownNameError) as caught:
        select(small, Selection(classes=("vortx", "wdm"), ranges=(ColumnRange(column="thetaE", low=1.0),)))
    said = str(caught.value)
    assert all(name in said for name in ("'vortx'", "'wdm'", "'thetaE'", "no_sub", "theta_E"))


def test_an_empty_selection_says_what_removed_everything(small: Store) -> None:
    selection = Selection(classes=("cdm",), ranges=(ColumnRange(column="theta_E", low=9.0, high=10.0),))
    with pytest.raises(DataError, match="class cdm leaves 14, 9 <= theta_E <= 10 leaves 0"):
        select(small, selection)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ranges": ({"column": "theta_E"},)}, "neither low nor high"),
        ({"ranges": ({"column": "theta_E", "low": 2.0, "high": 1.0},)}, "ends below its beginning"),
        ({"every": 0}, "greater than or equal to 1"),
        ({"classes": ()}, "at least 1 item"),
        ({"split": "training"}, "train"),
        ({"kind": "cdm"}, "Extra inputs"),
    ],
)
def test_impossible_conditions_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Selection.model_validate(fields)


def test_a_selection_survives_a_record() -> None:
    one = Selection(classes=("cdm",), ranges=(ColumnRange(column="theta_E", low=1.0),), sample_ids=(1, 2))
    assert Selection.model_validate_json(one.to_json()) == one
