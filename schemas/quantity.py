"""A field's unit and bounds, said once: recipes, column specifications and JSON Schema read them here."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from schemas.priors import AnyPrior

# How a number follows when its image is turned, mirrored, shifted or scaled; `train.target_motion` does it.
# Components of a pair go together: places, offsets from another place, and what has the symmetry of an
# ellipse. An axis is a direction without a front, a handed angle loses its meaning in a mirror.
Law = Literal[
    "fixed", "x", "y", "source_x", "source_y", "offset_x", "offset_y", "ellipse_1", "ellipse_2",
    "angle", "axis", "handed_angle", "length", "magnitude",
]  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """Annotates a number or a prior with its unit and the values that make sense.

    `gt`, `ge`, `lt` and `le` bound a number itself and the support of a prior.
    `headline` marks what a gallery shows beside an image, `turns` what changes when the image is turned
    or mirrored, `derived` what follows from other columns and would betray the class.
    `law` is how it follows when the image is moved; without one, scaling an image leaves it unknown.
    """

    unit: str
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    headline: bool = False
    turns: bool = False
    derived: bool = False
    law: Law | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        # the bounds hold for numbers and priors alike, so they are stated as an annotation
        return {**handler(schema), "x-unit": self.unit, "x-bounds": self.bounds}

    @property
    def bounds(self) -> str:
        """For people and JSON Schema, such as `> 0, <= 20`; empty when anything goes."""
        pairs = [(">", self.gt), (">=", self.ge), ("<", self.lt), ("<=", self.le)]
        return ", ".join(f"{sign} {bound:g}" for sign, bound in pairs if bound is not None)

    def check(self, value: Any) -> Any:
        """The value itself, or a ValueError that names the bounds."""
        if not isinstance(value, AnyPrior | float | int):
            # a relation to other parameters has no support of its own
            return value
        low, high = value.support if isinstance(value, AnyPrior) else (value, value)
        inside = (
            (self.gt is None or low > self.gt)
            and (self.ge is None or low >= self.ge)
            and (self.lt is None or high < self.lt)
            and (self.le is None or high <= self.le)
        )
        if not inside:
            reach = f"{low:g}" if low == high else f"values from {low:g} to {high:g}"
            unit = "" if self.unit == "1" else f" {self.unit}"
            raise ValueError(f"{reach}{unit}, but must be {self.bounds}")
        return value


def quantities_of(model: type[BaseModel] | BaseModel) -> dict[str, tuple[Quantity, FieldInfo]]:
    """The fields of a model that carry a unit, in their order."""
    fields = (model if isinstance(model, type) else type(model)).model_fields
    found = {}
    for name, field in fields.items():
        # an optional field keeps its annotation one level down
        metadata = [
            *field.metadata,
            *(m for arg in _arguments(field) for m in getattr(arg, "__metadata__", ())),
        ]
        quantity = next((m for m in metadata if isinstance(m, Quantity)), None)
        if quantity is not None:
            found[name] = (quantity, field)
    return found


def _arguments(field: FieldInfo) -> tuple[Any, ...]:
    return getattr(field.annotation, "__args__", ())
