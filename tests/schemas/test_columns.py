"""The column table of a recipe, and its two readings: one row as a model, many rows as arrays."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.catalogue import load_recipe, shipped
from schemas.columns import ColumnSpec, column_faults, columns_of, row_model
from tests.galaxies import load_shipped

TINY = load_recipe("tiny")
COLUMNS = columns_of(TINY)
LABELS = tuple(one.label for one in TINY.classes)
ROW = row_model(COLUMNS, LABELS)
NAMES = [column.name for column in COLUMNS]


def sound(column: ColumnSpec) -> float:
    """A value inside a column's bounds."""
    if column.quantity.ge is not None:
        return column.quantity.ge
    return min(1.0, (column.quantity.gt or 0.0) + 1e-3)


def sound_row(label: int) -> list[float]:
    return [sound(column) if label in column.labels else math.nan for column in COLUMNS]


def faults_of(label: int, values: list[float]) -> list[str]:
    return column_faults(COLUMNS, np.array([values]), np.array([label], np.int32))


def row_is_valid(label: int, values: list[float]) -> bool:
    row = {"sample_id": 0, "label": label, **dict(zip(NAMES, values, strict=True))}
    try:
        ROW.model_validate(row)
    except ValidationError:
        return False
    return True


def near_bounds() -> st.SearchStrategy[float]:
    bounds = [
        b
        for c in COLUMNS
        for b in (c.quantity.gt, c.quantity.ge, c.quantity.lt, c.quantity.le)
        if b is not None
    ]
    around = st.sampled_from(sorted(set(bounds))).flatmap(
        lambda b: st.sampled_from([b, math.nextafter(b, -math.inf), math.nextafter(b, math.inf)])
    )
    return around | st.floats() | st.sampled_from([math.nan, math.inf, -math.inf])


@given(
    label=st.sampled_from(LABELS),
    changes=st.dictionaries(st.integers(0, len(COLUMNS) - 1), near_bounds(), max_size=3),
)
@settings(max_examples=400, deadline=None)
def test_row_model_and_column_checks_agree(label: int, changes: dict[int, float]) -> None:
    values = [changes.get(position, value) for position, value in enumerate(sound_row(label))]
    assert row_is_valid(label, values) == (not faults_of(label, values))


@given(label=st.sampled_from(LABELS), values=st.lists(near_bounds(), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_every_faulty_column_is_reported(label: int, values: list[float]) -> None:
    row = sound_row(label)
    row[:3] = values
    reported = {fault.split(":")[0] for fault in faults_of(label, row)}
    alone = set()
    for position in range(3):
        single = sound_row(label)
        single[position] = values[position]
        if not row_is_valid(label, single):
            alone.add(NAMES[position])
    assert reported == alone


@pytest.mark.parametrize("column", COLUMNS, ids=NAMES)
def test_both_readings_agree_at_every_bound(column: ColumnSpec) -> None:
    q, label = column.quantity, column.labels[0]
    for bound, is_inside in ((q.gt, False), (q.ge, True), (q.lt, False), (q.le, True)):
        if bound is not None:
            row = sound_row(label)
            row[NAMES.index(column.name)] = bound
            assert row_is_valid(label, row) == is_inside
            assert (not faults_of(label, row)) == is_inside


@pytest.mark.parametrize("label", LABELS)
def test_sound_rows_pass_both(label: int) -> None:
    assert row_is_valid(label, sound_row(label))
    assert faults_of(label, sound_row(label)) == []


def test_a_column_of_another_class_must_be_nan() -> None:
    row = sound_row(0)
    row[NAMES.index("axion_mass_ev")] = 1e-22
    assert "does not apply to its class" in faults_of(0, row)[0]
    assert not row_is_valid(0, row)


def test_faults_count_rows_and_name_the_first() -> None:
    rows = np.array([sound_row(0)] * 4)
    rows[2:, NAMES.index("theta_E")] = -1.0
    (fault,) = column_faults(COLUMNS, rows, np.zeros(4, np.int32))
    assert fault == "theta_E: 2 of 4 values not > 0, <= 20 (row 2: -1, label 0)"


def test_a_table_of_another_shape_is_one_fault() -> None:
    (fault,) = column_faults(COLUMNS, np.zeros((2, 3)), np.zeros(2, np.int32))
    assert fault == f"params has shape (2, 3), expected (2, {len(COLUMNS)})"


@pytest.mark.parametrize(
    "wrong",
    [{"label": 9}, {"sample_id": -1}, {"sample_id": 0.5}, {"theta_E": "1.0"}, {"unknown": 1.0}],
)
def test_a_row_is_strict(wrong: dict[str, object]) -> None:
    row = {"sample_id": 0, "label": 0, **dict(zip(NAMES, sound_row(0), strict=True))}
    ROW.model_validate(row)
    with pytest.raises(ValidationError):
        ROW.model_validate(row | wrong)


@pytest.mark.parametrize("name", shipped())
def test_columns_have_unique_names_units_and_meanings(name: str) -> None:
    columns = columns_of(load_shipped(name))
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.unit and column.description for column in columns)


def test_shared_columns_apply_to_all_and_the_rest_to_their_class() -> None:
    labels = {column.name: column.labels for column in COLUMNS}
    assert labels["theta_E"] == labels["source_magnitude"] == (0, 1, 2)
    assert labels["subhalo_count"] == (1,)
    assert labels["vortex_angle_rad"] == (2,)


def test_two_classes_of_one_kind_share_their_columns() -> None:
    twice = load_recipe(
        "tiny",
        [
            "classes.vortex={name: wdm, label: 3, substructure: {kind: subhalos, count: 2, mass_msun: 1e9,"
            " radius_arcsec: 1}}"
        ],
    )
    labels = {column.name: column.labels for column in columns_of(twice)}
    assert labels["subhalo_count"] == (1, 3)


def test_a_parameter_that_a_recipe_leaves_out_has_no_column() -> None:
    assert "source_amp" not in NAMES
    assert "source_magnitude" not in {column.name for column in columns_of(load_recipe("model_i"))}
