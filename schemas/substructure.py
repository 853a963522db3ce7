"""What the classes differ in: a tagged union of substructure kinds, and the columns each kind fills.

A kind is a recipe model here, a `Columns` model that documents what a store keeps of it, and one file in
`simulate/substructure/` under the same name.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_serializer, model_validator

from schemas.frozen import Frozen
from schemas.priors import AnyPrior, LogUniform, PowerLaw, Prior, number_to_fixed
from schemas.quantity import Quantity

Mass = Quantity("Msun", gt=0, le=1e15)
Points = Annotated[int, Field(ge=2, le=100_000)] | Literal["continuous"]


class NoColumns(Frozen):
    """A smooth lens has nothing to tell."""


class SubhaloColumns(Frozen):
    """What is kept of a subhalo population."""

    subhalo_count: Annotated[float, Quantity("1", ge=0, law="fixed")] = Field(
        description="number of subhalos"
    )
    subhalo_mass_msun: Annotated[float, Quantity("Msun", ge=0, headline=True)] = Field(
        description="total mass of the subhalos"
    )
    subhalo_mass_max_msun: Annotated[float, Quantity("Msun", ge=0)] = Field(
        description="mass of the heaviest subhalo"
    )


class PopulationColumns(SubhaloColumns):
    """What is kept of a population with a mass fraction of its own."""

    subhalo_bound_mass_msun: Annotated[float, Quantity("Msun", ge=0)] = Field(
        description="total mass of the subhalos after their truncation"
    )
    f_sub: Annotated[float, Quantity("1", ge=0, lt=1, headline=True)] = Field(
        description="expected mass of cold subhalos over that of the main lens, both within r_max"
    )
    f_sub_realised: Annotated[float, Quantity("1", ge=0)] = Field(
        description="mass of the subhalos that are there over that of the main lens within r_max"
    )


class WarmColumns(PopulationColumns):
    """What is kept of a population in warm dark matter."""

    half_mode_mass_msun: Annotated[float, Quantity("Msun", gt=0, headline=True)] = Field(
        description="half-mode mass of the dark matter"
    )


class SelfInteractingColumns(PopulationColumns):
    """What is kept of a population in self-interacting dark matter."""

    cross_section_cm2_g: Annotated[float, Quantity("cm2/g", gt=0, headline=True)] = Field(
        description="cross section of the dark matter with itself, per mass"
    )


class VortexColumns(Frozen):
    """What is kept of a vortex."""

    axion_mass_ev: Annotated[float, Quantity("eV", gt=0, headline=True)] = Field(
        description="mass of the axion"
    )
    vortex_mass_msun: Annotated[float, Quantity("Msun", ge=0)] = Field(description="mass of the whole vortex")
    vortex_half_length_arcsec: Annotated[float, Quantity("arcsec", gt=0, law="length")] = Field(
        description="half the length of the vortex"
    )
    vortex_angle_rad: Annotated[
        float, Quantity("rad", ge=0, lt=6.283185307179587, turns=True, law="axis")
    ] = Field(description="direction of the vortex, anticlockwise from the x axis")


class VorticesColumns(VortexColumns):
    """What is kept of one or several vortices; place and direction are those of the first."""

    vortex_count: Annotated[float, Quantity("1", ge=1, law="fixed")] = Field(description="number of vortices")
    vortex_density_msun_kpc: Annotated[float, Quantity("Msun/kpc", ge=0)] = Field(
        description="mass of a vortex over its length"
    )
    vortex_half_length_theta_E: Annotated[float, Quantity("1", gt=0, law="fixed")] = Field(
        description="half the length of a vortex over the Einstein radius of the lens"
    )
    vortex_center_x: Annotated[float, Quantity("arcsec", turns=True, law="x")] = Field(
        description="middle of the first vortex, to the right"
    )
    vortex_center_y: Annotated[float, Quantity("arcsec", turns=True, law="y")] = Field(
        description="middle of the first vortex, upwards"
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


class MassConcentration(Frozen):
    """Concentration by mass and redshift (Dutton & Maccio 2014, c200), with scatter of its logarithm."""

    kind: Literal["dutton_maccio"] = "dutton_maccio"
    scatter_dex: float = Field(
        default=0.13, ge=0, le=1, description="standard deviation of log10 of the concentration"
    )


_TaggedConcentration = Annotated[AnyPrior | MassConcentration, Field(discriminator="kind")]
Concentration = Annotated[
    _TaggedConcentration,
    BeforeValidator(number_to_fixed, json_schema_input_type=float | _TaggedConcentration),
]


class TruncatedNFW(Frozen):
    """A truncated NFW halo (Baltz, Marshall & Oguri 2009).

    `mass_msun` is m200 of the halo before its truncation, of the critical density at the lens.
    """

    kind: Literal["TNFW"] = "TNFW"
    concentration: Annotated[Concentration, Quantity("1", gt=0, le=1000)] = Field(
        default=MassConcentration(),
        description="c200, the radius of m200 over the scale radius: a prior, or a relation to the mass",
    )
    truncation: Annotated[Prior, Quantity("1", gt=0, le=1000)] = Field(
        default=LogUniform(low=2.0, high=20.0), description="truncation radius over the scale radius"
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


class _Population(Frozen):
    kind: str
    f_sub: Annotated[Prior, Quantity("1", ge=0, lt=1)] = Field(
        description="expected mass of cold subhalos over the projected mass of the main lens, within r_max"
    )
    mass_msun: Annotated[PowerLaw, Mass] = Field(
        default=PowerLaw(slope=-1.9, low=1e7, high=1e10), description="mass function of cold subhalos"
    )
    r_max_theta_E: float = Field(
        default=1.5, gt=0, le=10, description="radius of the disc of subhalos over theta_E of the lens"
    )


class ColdPopulation(_Population):
    """Subhalos of cold dark matter: a Poisson number, uniform in area within r_max of the lens centre."""

    Columns: ClassVar[type[Frozen]] = PopulationColumns
    kind: Literal["cold"] = "cold"
    profile: Profile = Field(default=TruncatedNFW(), description="mass profile of one subhalo")


class WarmPopulation(_Population):
    """Subhalos of warm dark matter: fewer light ones (Lovell 2020), less concentrated (Bose et al. 2016)."""

    Columns: ClassVar[type[Frozen]] = WarmColumns
    kind: Literal["warm"] = "warm"
    profile: Profile = Field(default=TruncatedNFW(), description="mass profile of one subhalo")
    half_mode_mass_msun: Annotated[Prior, Quantity("Msun", gt=0, le=1e13)] = Field(
        description="half-mode mass of the dark matter"
    )


class SelfInteractingPopulation(_Population):
    """Subhalos with cores by the cross section of the dark matter (Kaplinghat, Tulin & Yu 2016)."""

    Columns: ClassVar[type[Frozen]] = SelfInteractingColumns
    kind: Literal["self_interacting"] = "self_interacting"
    profile: TruncatedNFW = Field(
        default=TruncatedNFW(), description="the halo before its core: concentration and truncation"
    )
    cross_section_cm2_g: Annotated[Prior, Quantity("cm2/g", gt=0, le=1000)] = Field(
        description="cross section of the dark matter with itself, per mass"
    )
    age_gyr: float = Field(
        default=5.0, gt=0, le=14, description="how long the subhalos have been scattering, Gyr"
    )


class Vortex(Frozen):
    """A straight line of mass through the lens centre, as `points` equal point masses or continuous.

    The half-length is `half_length_at_1e22_arcsec` times (1e-22 eV / axion mass).
    """

    Columns: ClassVar[type[Frozen]] = VortexColumns
    kind: Literal["vortex"] = "vortex"
    points: Points = Field(description="point masses along the line, ends included; or continuous")
    mass_msun: Annotated[Prior, Quantity("Msun", ge=0, le=1e15)] = Field(description="mass of the whole line")
    axion_mass_ev: Annotated[Prior, Quantity("eV", gt=0, le=1)] = Field(description="mass of the axion")
    half_length_at_1e22_arcsec: float = Field(
        gt=0, le=10, description="half-length at an axion mass of 1e-22 eV, arcsec"
    )


class Vortices(Frozen):
    """Straight lines of mass near the lens, as long as the de Broglie wavelength of the axion there.

    Either the axion mass is drawn, and the length follows from it, or the other way round.
    """

    Columns: ClassVar[type[Frozen]] = VorticesColumns
    kind: Literal["vortices"] = "vortices"
    count: int = Field(default=1, ge=1, le=100, description="vortices per lens")
    points: Points = Field(
        default="continuous", description="point masses along a line, ends included; or continuous"
    )
    mass_msun: Annotated[Prior, Quantity("Msun", ge=0, le=1e15)] = Field(
        description="mass of all lines of a lens together"
    )
    axion_mass_ev: Annotated[Prior, Quantity("eV", gt=0, le=1)] | None = Field(
        default=None, description="mass of the axion"
    )
    half_length_theta_E: Annotated[Prior, Quantity("1", gt=0, le=10)] | None = Field(
        default=None, description="half the length of a line over theta_E, instead of the axion mass"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.axion_mass_ev is None) == (self.half_length_theta_E is None):
            raise ValueError("give exactly one of axion_mass_ev and half_length_theta_E")
        return self


Substructure = Annotated[
    NoSubstructure
    | Subhalos
    | Vortex
    | ColdPopulation
    | WarmPopulation
    | SelfInteractingPopulation
    | Vortices,
    Field(discriminator="kind"),
]
