"""Every number of a report is in one row, under a name of its own."""

from typing import Any

import pytest

from schemas.metrics import Interval
from schemas.numbers import Number, numbers
from tests.reports import CLASSES, KINDS, full_report, plain_report


def _found(rows: tuple[Number, ...], section: str, name: str, of: str = "") -> Number:
    (one,) = [row for row in rows if (row.section, row.name, row.of) == (section, name, of)]
    return one


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_unique(kind: str) -> None:
    rows = numbers(full_report(kind))
    assert len({(one.section, one.name, one.of) for one in rows}) == len(rows) > 30


def _values(value: Any) -> list[float]:
    """All numbers in a metric, however deep."""
    if isinstance(value, Interval):
        return [value.value]
    if isinstance(value, dict):
        return [one for each in value.values() for one in _values(each)]
    if isinstance(value, tuple | list):
        return [one for each in value for one in _values(each)]
    if hasattr(value, "model_fields_set"):
        return [one for _, each in value for one in _values(each)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_was_measured_is_left_out(kind: str) -> None:
    report = plain_report(kind)
    told = [one.value for one in numbers(report)]
    wanted = _values(report.metrics)
    assert len(wanted) > 5
    assert all(one in told for one in wanted)


def test_a_classification_in_rows() -> None:
    report = full_report("classification")
    rows = numbers(report)
    accuracy = _found(rows, "metrics", "accuracy")
    assert (accuracy.value, accuracy.low, accuracy.high, accuracy.unit) == (0.914, 0.904, 0.924, "1")
    assert _found(rows, "constant", "accuracy").value == pytest.approx(1 / 3)
    assert _found(rows, "metrics", "auc", "vortex").low == pytest.approx(0.9963)
    assert _found(rows, "constant", "precision", "vortex").value == 0.3335
    assert _found(rows, "constant", "auc", "vortex").value == 0.5
    assert [_found(rows, "confusion", "taken for cdm", one).value for one in CLASSES] == [35, 355, 11]
    simple = next(one for one in report.baselines if one.kind == "components")
    assert _found(rows, "baseline components", "auc_macro").value == simple.scores[0].value.value
    assert _found(rows, "gain over components", "auc_macro").low == simple.gain["auc_macro"].low
    assert _found(rows, "bound", "auc_ideal", "vortex against no_sub").value == 0.995
    assert _found(rows, "reliability", "calibration_error").value == 0.012
    speeds = [one for one in rows if one.section == "speed"]
    assert [(one.words, one.value) for one in speeds] == [
        ("time per image in a batch of one [ms]", 4.2),
        ("time per image in batches of 256 [ms]", 0.031),
    ]
    (speed,) = (one for one in numbers(plain_report("classification")) if one.section == "speed")
    assert (speed.words, speed.value) == ("time per image [ms]", 0.31)
    assert _found(rows, "constant", "precision_macro").value == pytest.approx(1 / 3, abs=1e-3)
    assert _found(rows, "constant", "precision_micro").value == pytest.approx(1 / 3)
    assert _found(rows, "metrics", "auc_macro").words == "AUC macro"


def test_targets_have_units() -> None:
    rows = numbers(full_report("regression"))
    units = {one.name: one.unit for one in rows if one.section == "metrics" and one.of == "theta_E"}
    assert units["mae"] == units["rmse"] == units["sigma"] == "arcsec"
    assert (units["r2"], units["percentage_error"], units["within_sigma"]) == ("1", "%", "1")
    assert _found(rows, "constant", "mae", "axion_mass_ev").unit == "dex"
    assert _found(rows, "gain over constant", "mae", "theta_E").unit == "arcsec"
    assert _found(rows, "reliability", "width_at_0.9", "axion_mass_ev").unit == "dex"
    assert _found(rows, "metrics", "mae", "theta_E").words == "MAE theta_E [arcsec]"
    # a score's name carries its target behind a dot
    assert _found(rows, "baseline components", "mae", "theta_E").unit == "arcsec"
