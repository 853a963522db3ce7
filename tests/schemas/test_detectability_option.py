"""Asking for detectability: the option, its column, and checks that know of splits."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from flows.catalogue import load_recipe
from schemas.columns import column_faults, columns_of, row_model
from schemas.dataset import SPLITS
from schemas.errors import RecipeError
from storage.layout import locate

PLAIN = load_recipe("model_ii_noisy")
ASKED = load_recipe("model_ii_noisy", ["detectability=[test]"])
LABELS = (0, 1, 2)
LAST = len(columns_of(ASKED)) - 1


def test_the_column_is_part_of_the_identity_and_its_absence_is_not() -> None:
    assert ASKED.digest != PLAIN.digest
    assert load_recipe("model_ii_noisy", ["detectability=null"]).digest == PLAIN.digest
    assert "detectability" not in PLAIN.physics_json


def test_the_order_of_splits_does_not_matter() -> None:
    one, other = (
        load_recipe("model_ii_noisy", [f"detectability={given}"])
        for given in ("[val, test]", "[test, val, test]")
    )
    assert one.detectability == other.detectability == ("val", "test")
    assert one.digest == other.digest


def test_the_column_says_where_it_is_filled_in() -> None:
    column = columns_of(ASKED)[LAST]
    assert (column.name, column.unit, column.ge) == ("detectability", "1", 0)
    assert (column.labels, column.splits) == (LABELS, ("test",))
    assert column.derived
    assert all(other.splits is None for other in columns_of(ASKED)[:LAST])


@pytest.mark.parametrize(
    ("recipe", "override", "said"),
    [
        ("model_ii", "detectability=[test]", "noise is none"),
        ("model_ii_noisy", "detectability=[tset]", "test"),
        ("model_ii_noisy", "detectability=[]", "at least 1"),
        ("model_ii_noisy", "detectability=test", "valid array"),
    ],
)
def test_what_makes_no_sense_is_refused(recipe: str, override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(recipe, [override])


def test_a_split_without_samples_is_refused() -> None:
    with pytest.raises(RecipeError, match="detectability names val"):
        load_recipe("model_ii_noisy", ["splits={train: 0.8, test: 0.2}", "detectability=[val, test]"])


def test_the_split_of_a_sample_is_that_of_the_store() -> None:
    ids = np.arange(400)
    found = [SPLITS[position] for position in ASKED.split_positions(ids)]
    assert found == [locate(ASKED, int(one))[0] for one in ids]
    assert set(found) == set(SPLITS)


def _rows(value: float) -> np.ndarray:
    sound = [column.ge if column.ge is not None else (column.gt or 0) + 1e-3 for column in columns_of(ASKED)]
    row = [s if 1 in c.labels else math.nan for s, c in zip(sound, columns_of(ASKED), strict=True)]
    return np.array([[*row[:LAST], value]])


@pytest.mark.parametrize(
    ("value", "split", "fault"),
    [
        (3.0, "test", ""),
        (math.nan, "train", ""),
        (3.0, None, ""),
        (math.nan, None, ""),
        (math.nan, "test", "not finite"),
        (-1.0, "test", "not >= 0"),
        (-1.0, None, "not >= 0"),
        (math.inf, None, "not finite"),
        (3.0, "train", "class and split"),
    ],
)
def test_checks_know_of_splits(value: float, split: str | None, fault: str) -> None:
    faults = column_faults(columns_of(ASKED), _rows(value), np.array([1], np.int32), split)
    assert [fault in one for one in faults] == ([True] if fault else [])


@pytest.mark.parametrize(
    ("value", "sound"), [(3.0, True), (math.nan, True), (-1.0, False), (math.inf, False)]
)
def test_rows_as_models_allow_what_is_not_filled_in(value: float, sound: bool) -> None:
    names = [column.name for column in columns_of(ASKED)]
    row = {"sample_id": 0, "label": 1, **dict(zip(names, _rows(value)[0].tolist(), strict=True))}
    model = row_model(columns_of(ASKED), LABELS)
    if sound:
        model.model_validate(row)
        return
    with pytest.raises(ValidationError, match="detectability"):
        model.model_validate(row)
