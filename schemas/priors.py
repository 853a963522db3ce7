"""Distributions that parameters are drawn from.

A prior says what is drawn; how a uniform number becomes a value is `simulate.quantiles`. Each prior
knows its support, so that a field's bounds are checked before anything is simulated.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from schemas.frozen import Frozen

Support = tuple[float, float]


class Fixed(Frozen):
    """Always the same value. A bare number in a recipe means this."""

    kind: Literal["fixed"] = "fixed"
    value: float = Field(description="the value, in the unit of the field")

    @property
    def support(self) -> Support:
        return self.value, self.value


class _Interval(Frozen):
    low: float = Field(description="lower end, in the unit of the field")
    high: float = Field(description="upper end, in the unit of the field")

    @model_validator(mode="after")
    def _ends_in_order(self) -> "_Interval":
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        return self

    @property
    def support(self) -> Support:
        return self.low, self.high


class _PositiveInterval(_Interval):
    low: float = Field(gt=0, description="lower end, above zero, in the unit of the field")


class Uniform(_Interval):
    """Constant density between low and high."""

    kind: Literal["uniform"] = "uniform"


class LogUniform(_PositiveInterval):
    """The logarithm is uniform: dN/dx ~ 1/x."""

    kind: Literal["log_uniform"] = "log_uniform"


class PowerLaw(_PositiveInterval):
    """dN/dx ~ x^slope between low and high."""

    kind: Literal["power_law"] = "power_law"
    slope: float = Field(ge=-10, le=10, description="exponent of the density, no unit")


class Normal(Frozen):
    """Gaussian, cut off at low and high where they are given."""

    kind: Literal["normal"] = "normal"
    mean: float = Field(description="mean before the cut, in the unit of the field")
    sigma: float = Field(gt=0, description="standard deviation before the cut, in the unit of the field")
    low: float | None = Field(default=None, description="lower cut, in the unit of the field")
    high: float | None = Field(default=None, description="upper cut, in the unit of the field")

    @model_validator(mode="after")
    def _cut_leaves_something(self) -> "Normal":
        low, high = self.support
        if not low < high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if low > self.mean + 8 * self.sigma or high < self.mean - 8 * self.sigma:
            raise ValueError("the cut leaves only values more than 8 sigma from the mean")
        return self

    @property
    def support(self) -> Support:
        low = float("-inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        return low, high


class Choice(Frozen):
    """One of a few values."""

    kind: Literal["choice"] = "choice"
    # not strict: after the validator that wraps bare numbers, pydantic sees JSON's lists as Python's
    values: tuple[float, ...] = Field(
        min_length=1, strict=False, description="what may come, in the unit of the field"
    )
    weights: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, strict=False, description="relative frequency of each value; equal when left out"
    )

    @model_validator(mode="after")
    def _a_weight_each(self) -> "Choice":
        if self.weights is not None and len(self.weights) != len(self.values):
            raise ValueError(f"{len(self.weights)} weights for {len(self.values)} values")
        return self

    @property
    def support(self) -> Support:
        return min(self.values), max(self.values)


AnyPrior = Fixed | Uniform | LogUniform | PowerLaw | Normal | Choice
_Tagged = Annotated[AnyPrior, Field(discriminator="kind")]


def number_to_fixed(value: Any) -> Any:
    """A bare number as the prior it stands for."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # adding zero makes -0.0 the 0.0 that it means
    return {"kind": "fixed", "value": float(value) + 0.0} if is_number else value


Prior = Annotated[_Tagged, BeforeValidator(number_to_fixed, json_schema_input_type=float | _Tagged)]
