"""Main lens, shear, source and light of the lens: what a recipe says of the smooth part of a system.

Names are lenstronomy's. Every parameter is a prior; a bare number fixes it.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from schemas.bands import MAGNITUDE, Magnitude
from schemas.frozen import Frozen
from schemas.galaxy_image import GalaxyImage
from schemas.planes import EllipticityPlane, LensCenterPlane, LightCenterPlane, ShearPlane, WithPairs
from schemas.priors import AnyPrior, Fixed, Prior
from schemas.quantity import Quantity

ZERO = Fixed(value=0.0)
MOST_ELLIPTIC = 0.95
MOST_COMPONENTS = 16
CENTER_X = Quantity("arcsec", ge=-10, le=10, turns=True, law="x")
CENTER_Y = Quantity("arcsec", ge=-10, le=10, turns=True, law="y")
# an axis ratio of about .05: beyond it neither profile is more than a line
E1 = Quantity("1", ge=-0.9, le=0.9, turns=True, law="ellipse_1")
E2 = Quantity("1", ge=-0.9, le=0.9, turns=True, law="ellipse_2")


def _largest(e1: AnyPrior, e2: AnyPrior) -> float:
    return math.hypot(*(max(abs(end) for end in prior.support) for prior in (e1, e2)))


def _check_ellipticity(e1: AnyPrior, e2: AnyPrior) -> None:
    """lenstronomy silently rounds off what is flatter, and the columns would not be what was rendered."""
    longest = _largest(e1, e2)
    if longest > MOST_ELLIPTIC:
        raise ValueError(
            f"sqrt(e1^2 + e2^2) can reach {longest:.3g}, but must stay below {MOST_ELLIPTIC}: cut the priors"
        )


class Redshifts(Frozen):
    """Where lens and source are; the source must lie behind the lens."""

    z_lens: Annotated[Prior, Quantity("1", gt=0, le=5)] = Field(description="redshift of the lens")
    z_source: Annotated[Prior, Quantity("1", gt=0, le=20)] = Field(description="redshift of the source")

    @model_validator(mode="after")
    def _source_behind(self) -> "Redshifts":
        if self.z_source.support[0] <= self.z_lens.support[1]:
            raise ValueError(
                f"the nearest source (z {self.z_source.support[0]:g}) must lie behind"
                f" the farthest lens (z {self.z_lens.support[1]:g})"
            )
        return self


class _Ellipsoid(WithPairs):
    kind: str
    theta_E: Annotated[Prior, Quantity("arcsec", gt=0, le=20, headline=True, law="length")] = Field(
        description="Einstein radius of the lens"
    )
    e1: Annotated[Prior, E1] = Field(default=ZERO, description="ellipticity along the axes")
    e2: Annotated[Prior, E2] = Field(default=ZERO, description="ellipticity along the diagonals")
    center_x: Annotated[Prior, CENTER_X] = Field(default=ZERO, description="lens centre, to the right")
    center_y: Annotated[Prior, CENTER_Y] = Field(default=ZERO, description="lens centre, upwards")
    ellipticity: EllipticityPlane | None = Field(default=None, description="e1 and e2 drawn together")
    center: LensCenterPlane | None = Field(default=None, description="center_x and center_y drawn together")

    @model_validator(mode="after")
    def _not_too_flat(self) -> Self:
        _check_ellipticity(self.e1, self.e2)
        return self

    @property
    def largest_ellipticity(self) -> float:
        """The largest modulus that is drawn."""
        return _largest(self.e1, self.e2) if self.ellipticity is None else self.ellipticity.reach


class SIE(_Ellipsoid):
    """Singular isothermal ellipsoid."""

    kind: Literal["SIE"] = "SIE"


class EPL(_Ellipsoid):
    """Elliptical power law: an SIE with a slope of its own."""

    kind: Literal["EPL"] = "EPL"
    gamma: Annotated[Prior, Quantity("1", gt=1.2, lt=2.8, law="fixed")] = Field(
        description="slope of the density in three dimensions, r^-gamma; 2 is isothermal"
    )


class Multipole(Frozen):
    """A boxy, disky or skewed main lens: a multipole of its convergence, a_m / (2 r) cos(m (phi - phi_m)).

    It stands at the lens centre and leaves the mass as it is. Such lenses can mimic subhalos.
    """

    kind: Literal["MULTIPOLE"] = "MULTIPOLE"
    m: Literal[3, 4] = Field(description="order: 4 makes a lens boxy or disky, 3 skewed")
    a_m: Annotated[Prior, Quantity("arcsec", ge=-1, le=1, law="length")] = Field(
        description="strength; a fraction of theta_E is the fraction by which an SIE is deformed"
    )
    phi_m: Annotated[Prior, Quantity("rad", ge=-math.pi, le=math.pi, turns=True, law="angle")] = Field(
        default=ZERO, description="direction of a maximum, anticlockwise from the x axis"
    )


class Shear(WithPairs):
    """External shear."""

    kind: Literal["SHEAR"] = "SHEAR"
    gamma1: Annotated[Prior, Quantity("1", ge=-0.5, le=0.5, turns=True, law="ellipse_1")] = Field(
        default=ZERO, description="shear along the axes"
    )
    gamma2: Annotated[Prior, Quantity("1", ge=-0.5, le=0.5, turns=True, law="ellipse_2")] = Field(
        default=ZERO, description="shear along the diagonals"
    )
    gamma: ShearPlane | None = Field(default=None, description="gamma1 and gamma2 drawn together")


class SersicEllipse(WithPairs):
    """Sersic light of elliptical shape; its brightness is given as a magnitude or as lenstronomy's amp."""

    kind: Literal["SERSIC_ELLIPSE"] = "SERSIC_ELLIPSE"
    magnitude: Annotated[Magnitude, MAGNITUDE] | None = Field(
        default=None, description="apparent magnitude before lensing"
    )
    amp: Annotated[Prior, Quantity("e-/s/arcsec2", gt=0, le=1e9, law="fixed")] | None = Field(
        default=None, description="surface brightness at R_sersic, instead of a magnitude"
    )
    R_sersic: Annotated[Prior, Quantity("arcsec", gt=0, le=10, law="length")] = Field(
        description="half-light radius"
    )
    n_sersic: Annotated[Prior, Quantity("1", ge=0.3, le=8, law="fixed")] = Field(description="Sersic index")
    e1: Annotated[Prior, E1] = Field(default=ZERO, description="ellipticity along the axes")
    e2: Annotated[Prior, E2] = Field(default=ZERO, description="ellipticity along the diagonals")
    center_x: Annotated[Prior, CENTER_X] = Field(default=ZERO, description="centre, to the right")
    center_y: Annotated[Prior, CENTER_Y] = Field(default=ZERO, description="centre, upwards")
    ellipticity: EllipticityPlane | None = Field(default=None, description="e1 and e2 drawn together")
    center: LightCenterPlane | None = Field(default=None, description="center_x and center_y drawn together")

    @model_validator(mode="after")
    def _one_brightness_and_not_too_flat(self) -> "SersicEllipse":
        if (self.magnitude is None) == (self.amp is None):
            raise ValueError("give exactly one of magnitude and amp")
        _check_ellipticity(self.e1, self.e2)
        return self


def _isothermal_by_default(value: Any) -> Any:
    return {"kind": "SIE", **value} if isinstance(value, dict) and "kind" not in value else value


_Tagged = Annotated[SIE | EPL, Field(discriminator="kind")]
MainLens = Annotated[_Tagged, BeforeValidator(_isothermal_by_default, json_schema_input_type=_Tagged)]


def _number(value: Any) -> str:
    return "(several)" if isinstance(value, list | tuple) else "(one)"


def _not_a_list_of_one(value: Any) -> Any:
    """Spelling is no part of a digest."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _some(components: tuple[SersicEllipse, ...]) -> tuple[SersicEllipse, ...]:
    # said here, since pydantic would count only the components that are right
    if not 1 <= len(components) <= MOST_COMPONENTS:
        raise ValueError(f"there are {len(components)} components, but must be 1 to {MOST_COMPONENTS}")
    return components


# of the second component and all later ones the centre counts from that of the first
_Several = Annotated[tuple[SersicEllipse, ...], Field(strict=False), AfterValidator(_some), Tag("(several)")]
_Light = Annotated[Annotated[SersicEllipse, Tag("(one)")] | _Several, Discriminator(_number)]
LensLight = Annotated[_Light, BeforeValidator(_not_a_list_of_one, json_schema_input_type=_Light)]


def _sersic_by_default(value: Any) -> Any:
    return {"kind": "SERSIC_ELLIPSE", **value} if isinstance(value, dict) and "kind" not in value else value


_OfAKind = Annotated[SersicEllipse | GalaxyImage, Field(discriminator="kind")]
_One = Annotated[_OfAKind, BeforeValidator(_sersic_by_default, json_schema_input_type=_OfAKind), Tag("(one)")]
_Source = Annotated[_One | _Several, Discriminator(_number)]
Source = Annotated[_Source, BeforeValidator(_not_a_list_of_one, json_schema_input_type=_Source)]
