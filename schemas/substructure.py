"""What the classes differ in: a tagged union of substructure kinds, and the columns each kind fills.

A kind is a recipe model here, a `Columns` model that documents what a store keeps of it, and one file in
`simulate/substructure/` under the same name.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_serializer

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


class PointMass(Frozen):
    """All mass in one point. A recipe writes the bare word `POINT_MASS`, and so does its canonical JSON."""

    kind: Literal["POINT_MASS"] = "POINT_MASS"

    @model_serializer
    def _bare(self) -> str:
        return self.kind


class TruncatedNFW(Frozen):
    """A truncated NFW halo (Baltz, Marshall & Oguri 2009).

    `mass_msun` is m200 of the halo before its truncation, of the critical density at the lens.
    """

    kind: Literal["TNFW"] = "TNFW"
    concentration: Annotated[Prior, Quantity("1", gt=0, le=1000)] = Field(
        description="c200, the radius of m200 over the scale radius"
    )
    truncation: Annotated[Prior, Quantity("1", gt=0, le=1000)] = Field(
        description="truncation radius over the scale radius"
    )


def _word_to_kind(value: Any) -> Any:
    if isinstance(value, str) and value != "POINT_MASS":
        raise ValueError(
            f"{value!r} alone is no profile; write POINT_MASS, or"
            " {kind: TNFW, concentration: ..., truncation: ...}"
        )
    return {"kind": value} if isinstance(value, str) else value


_TaggedProfile = Annotated[PointMass | TruncatedNFW, Field(discriminator="kind")]
Profile = Annotated[
    _TaggedProfile,
    BeforeValidator(_word_to_kind, json_schema_input_type=Literal["POINT_MASS"] | _TaggedProfile),
]


class Subhalos(Frozen):
    """Halos around the lens centre, as DeepLenseSim's `make_old_cdm` draws its point masses.

    Radii are uniform in r, not in area: the published data sets crowd subhalos towards the centre.
    """

    Columns: ClassVar[type[Frozen]] = SubhaloColumns
    kind: Literal["subhalos"] = "subhalos"
    profile: Profile = Field(default=PointMass(), description="mass profile of one subhalo")
    count: int = Field(ge=1, le=100_000, description="subhalos per lens")
    mass_msun: Annotated[Prior, Mass] = Field(description="mass of one subhalo")
    radius_arcsec: Annotated[Prior, Quantity("arcsec", ge=0, le=20)] = Field(
        description="distance of a subhalo from the lens centre"
    )


class Vortex(Frozen):
    """A straight line of mass through the lens centre, as `points` equal point masses or continuous.

    The half-length is `half_length_at_1e22_arcsec` times (1e-22 eV / axion mass).
    """

    Columns: ClassVar[type[Frozen]] = VortexColumns
    kind: Literal["vortex"] = "vortex"
    points: Annotated[int, Field(ge=2, le=100_000)] | Literal["continuous"] = Field(
        description="point masses along the line, ends included; or continuous"
    )
    mass_msun: Annotated[Prior, Quantity("Msun", ge=0, le=1e15)] = Field(description="mass of the whole line")
    axion_mass_ev: Annotated[Prior, Quantity("eV", gt=0, le=1)] = Field(description="mass of the axion")
    half_length_at_1e22_arcsec: float = Field(
        gt=0, le=10, description="half-length at an axion mass of 1e-22 eV, arcsec"
    )


Substructure = Annotated[NoSubstructure | Subhalos | Vortex, Field(discriminator="kind")]
