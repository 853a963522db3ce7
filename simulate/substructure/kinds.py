"""What a substructure kind receives and returns, and the registry of kinds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from schemas.cosmology import Cosmology, MassConversion
from schemas.registry import Registry
from simulate.batch import Deflectors
from simulate.cosmology import einstein_radius

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
        return einstein_radius(
            mass_msun, self.cosmology, self.mass_conversion, self.z_lens[owner], self.z_source[owner]
        )


@dataclass(frozen=True)
class Draw:
    """What a kind adds to its systems: deflectors, and its columns with one value per system."""

    deflectors: tuple[Deflectors, ...]
    columns: dict[str, Array]


# kind's recipe, surroundings, one stream per system -> draw
Kind = Callable[[Any, Surroundings, Sequence[Generator]], Draw]
KINDS: Registry[Kind] = Registry("substructure kind")
