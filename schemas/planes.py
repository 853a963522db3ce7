"""Distributions that two parameters are drawn from together: ellipticities, shears, positions.

A recipe gives one in place of the two priors of a pair. What is rendered and stored are still the pair's own
two parameters, and they are made of the two uniforms that these would have taken (`simulate.planes`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from schemas.frozen import Extended, Frozen
from schemas.priors import Prior


class IsotropicNormal(Frozen):
    """Both parameters Gaussian around zero, cut together where their modulus is too large."""

    kind: Literal["isotropic_normal"] = "isotropic_normal"
    sigma: float = Field(
        gt=0, description="standard deviation of each parameter before the cut, in the unit of the pair"
    )
    max_modulus: float = Field(gt=0, description="largest modulus, in the unit of the pair")

    @property
    def reach(self) -> float:
        """The largest modulus that is drawn."""
        return self.max_modulus


class Polar(Frozen):
    """A modulus and a direction on the sky, each with a prior of its own."""

    kind: Literal["polar"] = "polar"
    modulus: Prior = Field(description="length or strength, not negative, in the unit of the pair")
    angle: Prior | None = Field(
        default=None,
        description="direction, anticlockwise from the x axis, rad; all directions alike when left out",
    )

    @model_validator(mode="after")
    def _no_negative_length(self) -> Self:
        if self.modulus.support[0] < 0:
            raise ValueError(f"the modulus can be {self.modulus.support[0]:g}, but must not be negative")
        return self

    @property
    def reach(self) -> float:
        """The largest modulus that is drawn."""
        return self.modulus.support[1]


class Disc(Frozen):
    """Uniform in area within a radius of zero."""

    kind: Literal["disc"] = "disc"
    radius: float = Field(gt=0, description="radius of the disc, in the unit of the pair")

    @property
    def reach(self) -> float:
        """The largest modulus that is drawn."""
        return self.radius


class AroundLens(Frozen):
    """Uniform in area in a disc around the centre of the main lens, as large as its Einstein radius says.

    Both are those of the same system; the Einstein radius is the drawn `theta_E`. Radius 0 is the centre.
    """

    kind: Literal["around_lens"] = "around_lens"
    radius_theta_E: float = Field(ge=0, le=10, description="radius of the disc over theta_E of the lens")

    @property
    def reach(self) -> float:
        """Known to the recipe alone, which has the lens (`DatasetRecipe`)."""
        return 0.0


AnyPlane = IsotropicNormal | Polar | Disc | AroundLens


@dataclass(frozen=True)
class Pair:
    """Annotates a plane prior with the two parameters that it fills and the largest modulus they may have.

    `phases` is 2 where half a turn changes nothing, as of ellipticities and shears: cos and sin of twice the
    direction. It is 1 for positions.
    """

    first: str
    second: str
    unit: str
    most: float
    phases: Literal[1, 2]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "x-unit": self.unit, "x-bounds": f"modulus <= {self.most:g}"}

    def check(self, plane: Any) -> Any:
        """The prior itself, or a ValueError that names the bound."""
        if isinstance(plane, AnyPlane) and plane.reach > self.most:
            unit = "" if self.unit == "1" else f" {self.unit}"
            raise ValueError(
                f"sqrt({self.first}^2 + {self.second}^2) can reach {plane.reach:.3g}{unit}, but must be"
                f" <= {self.most:g}"
            )
        return plane


def pairs_of(model: type[BaseModel]) -> dict[str, Pair]:
    """The fields of a model that fill a pair of its parameters."""
    found = {}
    for name, field in model.model_fields.items():
        arguments = getattr(field.annotation, "__args__", ())
        metadata = (m for argument in arguments for m in getattr(argument, "__metadata__", ()))
        pair = next((m for m in metadata if isinstance(m, Pair)), None)
        if pair is not None:
            found[name] = pair
    return found


class WithPairs(Extended):
    """A component that may be given plane priors, each in place of the two priors of its pair."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.LATER = tuple(pairs_of(cls))

    @model_validator(mode="after")
    def _a_pair_once(self) -> Self:
        for name, pair in pairs_of(type(self)).items():
            said = [
                one
                for one in (pair.first, pair.second)
                if getattr(self, one) != type(self).model_fields[one].default
            ]
            if getattr(self, name) is not None and said:
                raise ValueError(
                    f"{name} draws {pair.first} and {pair.second}: leave out {' and '.join(said)}"
                )
        return self


_SHAPE = Annotated[IsotropicNormal | Polar, Field(discriminator="kind")]
_PLACE = Annotated[IsotropicNormal | Polar | Disc, Field(discriminator="kind")]
_PLACE_NEAR_LENS = Annotated[AnyPlane, Field(discriminator="kind")]
_CENTER = Pair("center_x", "center_y", "arcsec", 10.0, 1)

EllipticityPlane = Annotated[_SHAPE, Pair("e1", "e2", "1", 0.9, 2)]
ShearPlane = Annotated[_SHAPE, Pair("gamma1", "gamma2", "1", 0.5, 2)]
LensCenterPlane = Annotated[_PLACE, _CENTER]
LightCenterPlane = Annotated[_PLACE_NEAR_LENS, _CENTER]
