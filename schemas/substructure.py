"""What the classes differ in: a tagged union of substructure kinds, and the columns each kind fills.

A kind is a recipe model here, a `Columns` model that documents what a store keeps of it, and one file in
`simulate/substructure/` under the same name.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.frozen import Frozen
from schemas.priors import Prior
from schemas.quantity import Quantity

Mass = Quantity("Msun", gt=0, le=1e15)


class NoColumns(Frozen):
    """A smooth lens has nothing to tell."""


class SubhaloColumns(Frozen):
    """What is kept of a subhalo population."""

    subhalo_count: Annotated[float, Quantity("1", ge=0)] = Field(description="number of subhalos")
    subhalo_mass_msun: Annotated[float, Quantity("Msun", ge=0, headline=True)] = Field(
        description="total mass of the subhalos"
    )
    subhalo_mass_max_msun: Annotated[float, Quantity("Msun", ge=0)] = Field(
        description="mass of the heaviest subhalo"
    )


class VortexColumns(Frozen):
    """What is kept of a vortex."""

    axion_mass_ev: Annotated[float, Quantity("eV", gt=0, headline=True)] = Field(
        description="mass of the axion"
    )
    vortex_mass_msun: Annotated[float, Quantity("Msun", ge=0)] = Field(description="mass of the whole vortex")
    vortex_half_length_arcsec: Annotated[float, Quantity("arcsec", gt=0)] = Field(
        description="half the length of the vortex"
    )
    vortex_angle_rad: Annotated[float, Quantity("rad", ge=0, lt=6.283185307179587, turns=True)] = Field(
        description="direction of the vortex, anticlockwise from the x axis"
    )


class NoSubstructure(Frozen):
    """The smooth lens alone."""

    Columns: ClassVar[type[Frozen]] = NoColumns
    kind: Literal["none"] = "none"


class Subhalos(Frozen):
    """Point masses around the lens centre, as DeepLenseSim's `make_old_cdm` draws them.

    Radii are uniform in r, not in area: the published data sets crowd subhalos towards the centre.
    """

    Columns: ClassVar[type[Frozen]] = SubhaloColumns
    kind: Literal["subhalos"] = "subhalos"
    profile: Literal["POINT_MASS"] = Field(default="POINT_MASS", description="mass profile of one subhalo")
    count: int = Field(ge=1, le=100_000, description="subhalos per lens")
    mass_msun: Annotated[Prior, Mass] = Field(description="mass of one subhalo")
    radius_arcsec: Annotated[Prior, Quantity("arcsec", ge=0, le=20)] = Field(
        description="distance of a subhalo from the lens centre"
    )


class Vortex(Frozen):
    """A straight line of mass through the lens centre, as `points` equal point masses.

    The half-length is `half_length_at_1e22_arcsec` times (1e-22 eV / axion mass).
    """

    Columns: ClassVar[type[Frozen]] = VortexColumns
    kind: Literal["vortex"] = "vortex"
    points: int = Field(ge=2, le=100_000, description="point masses along the line, ends included")
    mass_msun: Annotated[Prior, Quantity("Msun", ge=0, le=1e15)] = Field(description="mass of the whole line")
    axion_mass_ev: Annotated[Prior, Quantity("eV", gt=0, le=1)] = Field(description="mass of the axion")
    half_length_at_1e22_arcsec: float = Field(
        gt=0, le=10, description="half-length at an axion mass of 1e-22 eV, arcsec"
    )


Substructure = Annotated[NoSubstructure | Subhalos | Vortex, Field(discriminator="kind")]
