"""Subhalos of warm dark matter: a cold population, thinned and less concentrated.

Number: n / n_cold = (1 + (4.2 m_hm / m)^2.5)^-0.2, the fit of Lovell 2020 (ApJ 897, 147) to subhalos. Each
cold subhalo stays with that probability, which keeps numbers Poisson. f_sub is that of the cold population.

Concentration: c / c_cold = (1 + 60 m_hm / m)^-0.17 (1 + z)^(0.026 z - 0.04), the fit of Bose et al. 2016
(MNRAS 455, 318) to halos.
"""

import numpy as np

from schemas.substructure import WarmPopulation
from simulate.batch import Array
from simulate.quantiles import quantile
from simulate.streams import Streams
from simulate.substructure.halos import profile_parameters
from simulate.substructure.kinds import KINDS, Draw, Surroundings
from simulate.substructure.population import draw_population


@KINDS.register("warm")
def draw_warm(kind: WarmPopulation, around: Surroundings, streams: Streams) -> Draw:
    """A cold population for each system, of which light subhalos are missing."""
    cold = draw_population(kind, around, streams)
    half_mode_mass = quantile(kind.half_mode_mass_msun, cold.own_uniform)
    halos = cold.kept(cold.survival < abundance(half_mode_mass[cold.owner] / cold.mass))
    relative_mass = half_mode_mass[halos.owner] / halos.mass
    lowered = relative_concentration(relative_mass, around.z_lens[halos.owner])
    parameters = profile_parameters(kind.profile, around, halos.mass, halos.owner, halos.shape, lowered)
    return halos.draw(kind.profile.kind, parameters, around, half_mode_mass_msun=half_mode_mass)


def abundance(relative_mass: Array) -> Array:
    """Number of warm subhalos over cold ones, by half-mode mass over mass."""
    return np.asarray((1 + (4.2 * relative_mass) ** 2.5) ** -0.2)


def relative_concentration(relative_mass: Array, redshift: Array) -> Array:
    """Concentration of warm halos over cold ones, by half-mode mass over mass."""
    return np.asarray((1 + 60 * relative_mass) ** -0.17 * (1 + redshift) ** (0.026 * redshift - 0.04))
