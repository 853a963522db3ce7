"""Units and bounds of fields, for numbers and for the supports of priors."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.priors import Choice, Fixed, LogUniform, Normal, PowerLaw, Uniform
from schemas.quantity import Quantity, quantities_of
from schemas.substructure import Subhalos
from schemas.system import SIE, SersicEllipse

UNIT = Quantity("arcsec", ge=0, le=1)
OPEN = Quantity("arcsec", gt=0, lt=1)


@pytest.mark.parametrize(
    "prior",
    [
        Fixed(value=0.0),
        Uniform(low=0.0, high=1.0),
        LogUniform(low=1e-9, high=1.0),
        PowerLaw(low=0.1, high=1.0, slope=-2.0),
        Normal(mean=5.0, sigma=1.0, low=0.0, high=1.0),
        Choice(values=(0.0, 1.0, 0.5)),
    ],
)
def test_a_support_inside_the_bounds_is_accepted(prior: Any) -> None:
    assert UNIT.check(prior) is prior


@pytest.mark.parametrize(
    "prior",
    [
        Fixed(value=1.5),
        Fixed(value=-0.1),
        Uniform(low=-0.1, high=1.0),
        Uniform(low=0.0, high=1.1),
        LogUniform(low=0.1, high=1.1),
        PowerLaw(low=0.1, high=1.1, slope=-2.0),
        Normal(mean=0.5, sigma=0.01),
        Normal(mean=0.5, sigma=0.01, low=0.0),
        Normal(mean=0.5, sigma=0.01, high=1.0),
        Choice(values=(0.5, 1.5)),
    ],
)
def test_a_support_beyond_the_bounds_is_refused_with_both(prior: Any) -> None:
    with pytest.raises(ValueError, match=r"arcsec, but must be >= 0, <= 1"):
        UNIT.check(prior)


@pytest.mark.parametrize("prior", [Fixed(value=0.0), Fixed(value=1.0), Uniform(low=0.0, high=0.5)])
def test_open_bounds_refuse_their_ends(prior: Any) -> None:
    with pytest.raises(ValueError, match="but must be > 0, < 1"):
        OPEN.check(prior)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_bare_numbers_are_bounded_too(value: float) -> None:
    assert UNIT.check(value) == value
    with pytest.raises(ValueError, match="arcsec, but must be"):
        UNIT.check(value + 1.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "uniform", "low": 1.0, "high": 1.0},
        {"kind": "uniform", "low": 2.0, "high": 1.0},
        {"kind": "log_uniform", "low": 0.0, "high": 1.0},
        {"kind": "power_law", "low": -1.0, "high": 1.0, "slope": 0.0},
        {"kind": "normal", "mean": 1.0, "sigma": 0.0},
        {"kind": "normal", "mean": 1.0, "sigma": 0.1, "low": 1.0, "high": 0.9},
        {"kind": "normal", "mean": 1.0, "sigma": 0.01, "low": 1.5, "high": 2.0},
        {"kind": "choice", "values": []},
        {"kind": "choice", "values": [1.0], "weights": [0.0]},
        {"kind": "choice", "values": [1.0], "weights": [1.0, 1.0]},
        {"kind": "fixed", "value": float("nan")},
        {"kind": "fixed", "value": 1.0, "low": 0.0},
        True,
        "1.0",
        None,
    ],
)
def test_a_prior_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        SIE(theta_E=wrong)


def test_optional_fields_keep_their_unit() -> None:
    found = quantities_of(SersicEllipse)
    assert found["magnitude"][0].unit == "mag"
    assert found["amp"][0].gt == 0


def test_fields_come_in_the_order_they_are_written() -> None:
    assert list(quantities_of(SIE)) == ["theta_E", "e1", "e2", "center_x", "center_y"]
    assert "count" not in quantities_of(Subhalos)


@pytest.mark.parametrize("model", [SIE, SersicEllipse, Subhalos])
def test_every_quantity_says_its_unit_and_meaning(model: Any) -> None:
    for quantity, field in quantities_of(model).values():
        assert quantity.unit
        assert field.description


def test_models_are_immutable() -> None:
    lens = SIE(theta_E=Fixed(value=1.0))
    with pytest.raises(ValidationError, match="frozen"):
        lens.theta_E = Fixed(value=2.0)  # type: ignore[misc]
