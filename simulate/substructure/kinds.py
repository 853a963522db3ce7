"""What a substructure kind receives and returns, and the registry of kinds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.cosmology import Cosmology, MassConversion
from schemas.registry import Registry
from simulate.batch import Deflectors
from simulate.cosmology import comoving_distance, nfw_deflection, unit_einstein_radius, unit_halo_radius
from simulate.masses import power_law_inside
from simulate.streams import Streams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """What a kind may know of the systems it is drawn into, one value per system.

    `slope` is that of the main lens (2 is isothermal), `ellipticity` its modulus.
    """

    z_lens: Array
    z_source: Array
    center_x: Array
    center_y: Array
    theta_E: Array
    slope: Array
    ellipticity: Array
    cosmology: Cosmology
    mass_conversion: MassConversion

    @cached_property
    def unit_einstein_radius(self) -> Array:
        """Einstein radius of one solar mass, arcsec: 1 / (pi its square) is the critical density."""
        return unit_einstein_radius(self.cosmology, self.mass_conversion, self.z_lens, self.z_source)

    @cached_property
    def unit_halo_radius(self) -> Array:
        """r200 of a halo of one solar mass, arcsec."""
        return unit_halo_radius(self.cosmology, self.z_lens)

    @cached_property
    def lens_distance_mpc(self) -> Array:
        """Angular-diameter distance of the lens."""
        return np.asarray(comoving_distance(self.cosmology, self.z_lens) / (1 + self.z_lens))

    @cached_property
    def distance_ratio(self) -> Array:
        """D_ls / D_s."""
        lens, source = (comoving_distance(self.cosmology, z) for z in (self.z_lens, self.z_source))
        return np.asarray(1 - lens / source)

    def lens_mass(self, radius_arcsec: Array) -> Array:
        """Projected mass of the main lens inside a circle around its centre, solar masses."""
        inside = power_law_inside(self.theta_E, self.slope, self.ellipticity, radius_arcsec)
        return np.asarray(inside / self.unit_einstein_radius**2)

    def einstein_radius(self, mass_msun: Array, owner: NDArray[np.int64]) -> Array:
        """Einstein radius of point masses in the plane of their lens, arcsec."""
        return np.asarray(np.sqrt(mass_msun) * self.unit_einstein_radius[owner])

    def nfw(self, mass_msun: Array, concentration: Array, owner: NDArray[np.int64]) -> tuple[Array, Array]:
        """lenstronomy's Rs and alpha_Rs of NFW halos of this m200, arcsec."""
        r200 = np.cbrt(mass_msun) * self.unit_halo_radius[owner]
        Rs = r200 / concentration
        return Rs, nfw_deflection(self.einstein_radius(mass_msun, owner), Rs, concentration)


@dataclass(frozen=True)
class Draw:
    """What a kind adds to its systems: deflectors, and its columns with one value per system."""

    deflectors: tuple[Deflectors, ...]
    columns: dict[str, Array]


# kind's recipe, surroundings, the systems' streams -> draw
Kind = Callable[[Any, Surroundings, Streams], Draw]
KINDS: Registry[Kind] = Registry("substructure kind")
