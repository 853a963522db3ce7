"""Which rows of a store are meant, in a form that a run record can keep."""

from typing import Self

from pydantic import Field, model_validator

from schemas.request import Request
from schemas.store import Split


class ColumnRange(Request):
    """Rows whose value in a column lies between two bounds, both included; at least one is given.

    Where a column does not apply it is NaN and in no range. `keep_others` keeps the classes that the column
    does not apply to, so that a range of the vortices' mass leaves the other classes alone.
    """

    column: str
    low: float | None = None
    high: float | None = None
    keep_others: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError(f"the range of {self.column} has neither low nor high")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(
                f"the range of {self.column} ends below its beginning: {self.low:g} to {self.high:g}"
            )
        return self

    def __str__(self) -> str:
        low = "" if self.low is None else f"{self.low:g} <= "
        high = "" if self.high is None else f" <= {self.high:g}"
        return f"{low}{self.column}{high}"


class Selection(Request):
    """Conditions on the rows of a split. All must hold; they apply in the order in which they stand here."""

    split: Split = "train"
    classes: tuple[str, ...] | None = Field(default=None, min_length=1, description="names; all if not given")
    ranges: tuple[ColumnRange, ...] = Field(default=(), description="ranges of columns, all of them")
    sample_ids: tuple[int, ...] | None = Field(default=None, min_length=1, description="these samples alone")
    every: int = Field(
        default=1, ge=1, description="of each class, the first of what is left and every so-manyth after it"
    )
    per_class: int | None = Field(
        default=None, ge=1, description="at most so many of each class, from the front"
    )
    random: int | None = Field(default=None, ge=1, description="at most so many, drawn by `random_seed`")
    random_seed: int = Field(default=0, ge=0, lt=2**53)
    first: int | None = Field(
        default=None, ge=1, description="at most so many, from the front, where classes take turns"
    )
