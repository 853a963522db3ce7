"""Exact shares of a whole: of splits, and of what becomes of a source."""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from schemas.frozen import Frozen
from schemas.quantity import Quantity

SourceState = Literal["absent", "unlensed", "lensed"]
# what the column holds is the position here
SOURCE_STATES: tuple[SourceState, ...] = get_args(SourceState)


def _exact_fraction(value: Any) -> Any:
    """Fractions as people write them: 0.8, "27/35". Through text, since 0.8 is no exact float."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:.9f}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}|/0*[1-9]\d{0,8})?", value):
        raise ValueError(f"{value!r} is no share; write 0.8 or 4/5")
    return Fraction(value)


Share = Annotated[
    Fraction,
    BeforeValidator(_exact_fraction, json_schema_input_type=float | str),
    PlainSerializer(str, return_type=str),
]


class SourceShares(Frozen):
    """How often the source of a class is not there, there but not lensed, or lensed; together exactly one."""

    absent: Share = Field(default=Fraction(0), ge=0, le=1, description="share without a source")
    unlensed: Share = Field(default=Fraction(0), ge=0, le=1, description="share as seen without the lens")
    lensed: Share = Field(default=Fraction(0), ge=0, le=1, description="share as seen through the lens")

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.absent + self.unlensed + self.lensed
        if total != 1:
            raise ValueError(f"the shares of the source sum to {float(total):g}, but must sum to exactly 1")
        return self


def _word_to_shares(value: Any) -> Any:
    """A bare word is the whole share."""
    if isinstance(value, str):
        if value not in SOURCE_STATES:
            raise ValueError(
                f"{value!r} is none of {', '.join(SOURCE_STATES)}; shares are {{unlensed: 0.5, ...}}"
            )
        return {value: 1}
    return value


SourceShown = Annotated[
    SourceShares, BeforeValidator(_word_to_shares, json_schema_input_type=SourceState | SourceShares)
]


class SourceColumns(Frozen):
    """What is kept where not every source is lensed."""

    source_state: Annotated[float, Quantity("1", ge=0, le=2, derived=True)] = Field(
        description="what became of the source: 0 absent, 1 unlensed, 2 lensed"
    )
