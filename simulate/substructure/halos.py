"""From the mass of a subhalo to the parameters of its profile: concentration, truncation, core."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from schemas.substructure import MassConcentration, PointMass, TruncatedNFW
from simulate.batch import Array
from simulate.quantiles import SMALLEST, quantile
from simulate.substructure.kinds import Surroundings

SHAPE = 2  # uniforms of concentration and truncation
Rows = NDArray[np.int64]


def profile_parameters(
    profile: PointMass | TruncatedNFW,
    around: Surroundings,
    mass: Array,
    owner: Rows,
    shape: Array,
    lowered: Array | float = 1.0,
) -> dict[str, Array]:
    """What lenstronomy calls the parameters of a profile, but for its centre.

    `shape` are the uniforms of concentration and truncation; concentrations are multiplied by `lowered`.
    """
    if not isinstance(profile, TruncatedNFW):
        return {"theta_E": around.einstein_radius(mass, owner)}
    c200 = concentration(profile, around, mass, owner, shape[0]) * lowered
    Rs, alpha_Rs = around.nfw(mass, c200, owner)
    return {"Rs": Rs, "alpha_Rs": alpha_Rs, "r_trunc": Rs * quantile(profile.truncation, shape[1])}


def concentration(
    profile: TruncatedNFW, around: Surroundings, mass: Array, owner: Rows, uniform: Array
) -> Array:
    """c200 of halos, from their prior or by their mass."""
    said = profile.concentration
    if not isinstance(said, MassConcentration):
        return quantile(said, uniform)
    level, slope = _dutton_maccio(around.z_lens)
    # the pivot is 1e12 solar masses / h
    level = level + slope * np.log10(around.cosmology.H0 / 100 / 1e12)
    scatter = said.scatter_dex * ndtri(np.maximum(uniform, SMALLEST))
    exponent = np.log(10) * (level[owner] + scatter) + slope[owner] * np.log(mass)
    return np.asarray(np.exp(exponent))


def _dutton_maccio(redshift: Array) -> tuple[Array, Array]:
    """log10 c200 = level + slope log10(m200 h / 1e12 Msun): Dutton & Maccio 2014, eqs. 7, 10 and 11."""
    level = 0.520 + (0.905 - 0.520) * np.exp(-0.617 * redshift**1.21)
    return level, -0.101 + 0.026 * redshift
