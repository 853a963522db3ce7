"""Main lens, shear and source: what a recipe says of the smooth part of a system.

Names are lenstronomy's. Every parameter is a prior; a bare number fixes it.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.frozen import Frozen
from schemas.priors import Fixed, Prior
from schemas.quantity import Quantity

ZERO = Fixed(value=0.0)
ANGLE = Quantity("arcsec", ge=-10, le=10)
# an axis ratio of about .05: beyond it neither profile is more than a line
ELLIPTICITY = Quantity("1", ge=-0.9, le=0.9)


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


class SIE(Frozen):
    """Singular isothermal ellipsoid."""

    kind: Literal["SIE"] = "SIE"
    theta_E: Annotated[Prior, Quantity("arcsec", gt=0, le=20, headline=True)] = Field(
        description="Einstein radius of the lens"
    )
    e1: Annotated[Prior, ELLIPTICITY] = Field(default=ZERO, description="ellipticity along the axes")
    e2: Annotated[Prior, ELLIPTICITY] = Field(default=ZERO, description="ellipticity along the diagonals")
    center_x: Annotated[Prior, ANGLE] = Field(default=ZERO, description="lens centre, to the right")
    center_y: Annotated[Prior, ANGLE] = Field(default=ZERO, description="lens centre, upwards")


class Shear(Frozen):
    """External shear."""

    kind: Literal["SHEAR"] = "SHEAR"
    gamma1: Annotated[Prior, Quantity("1", ge=-0.5, le=0.5)] = Field(
        default=ZERO, description="shear along the axes"
    )
    gamma2: Annotated[Prior, Quantity("1", ge=-0.5, le=0.5)] = Field(
        default=ZERO, description="shear along the diagonals"
    )


class SersicEllipse(Frozen):
    """Sersic light of elliptical shape; its brightness is given as a magnitude or as lenstronomy's amp."""

    kind: Literal["SERSIC_ELLIPSE"] = "SERSIC_ELLIPSE"
    magnitude: Annotated[Prior, Quantity("mag", ge=5, le=40, headline=True)] | None = Field(
        default=None, description="apparent magnitude before lensing"
    )
    amp: Annotated[Prior, Quantity("e-/s/arcsec2", gt=0)] | None = Field(
        default=None, description="surface brightness at R_sersic, instead of a magnitude"
    )
    R_sersic: Annotated[Prior, Quantity("arcsec", gt=0, le=10)] = Field(description="half-light radius")
    n_sersic: Annotated[Prior, Quantity("1", ge=0.3, le=8)] = Field(description="Sersic index")
    e1: Annotated[Prior, ELLIPTICITY] = Field(default=ZERO, description="ellipticity along the axes")
    e2: Annotated[Prior, ELLIPTICITY] = Field(default=ZERO, description="ellipticity along the diagonals")
    center_x: Annotated[Prior, ANGLE] = Field(default=ZERO, description="centre, to the right")
    center_y: Annotated[Prior, ANGLE] = Field(default=ZERO, description="centre, upwards")

    @model_validator(mode="after")
    def _one_brightness(self) -> "SersicEllipse":
        if (self.magnitude is None) == (self.amp is None):
            raise ValueError("give exactly one of magnitude and amp")
        return self


MainLens = SIE
Source = SersicEllipse
