"""What a substructure kind receives and returns, and the registry of kinds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.cosmology import Cosmology, MassConversion
from schemas.registry import Registry
from simulate.batch import Deflectors
from simulate.cosmology import nfw_deflection, unit_einstein_radius, unit_halo_radius
from simulate.streams import Streams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """What a kind may know of the systems it is drawn into, one value per system."""

    z_lens: Array
    z_source: Array
    center_x: Array
    center_y: Array
    cosmology: Cosmology
    mass_conversion: MassConversion

    def einstein_radius(self, mass_msun: Array, owner: NDArray[np.int64]) -> Array:
        """Einstein radius of point masses in the plane of their lens, arcsec."""
        unit = unit_einstein_radius(self.cosmology, self.mass_conversion, self.z_lens, self.z_source)
        return np.asarray(np.sqrt(mass_msun) * unit[owner])

    def nfw(self, mass_msun: Array, concentration: Array, owner: NDArray[np.int64]) -> tuple[Array, Array]:
        """lenstronomy's Rs and alpha_Rs of NFW halos of this m200, arcsec."""
        r200 = np.cbrt(mass_msun) * unit_halo_radius(self.cosmology, self.z_lens)[owner]
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
