"""Distances, from masses to Einstein radii, and the convention of reduced deflections."""

from functools import lru_cache

import numpy as np
from astropy import constants, units
from astropy.cosmology import FlatLambdaCDM
from numpy.typing import NDArray

from schemas.cosmology import Cosmology, DeflectionConvention, MassConversion

Array = NDArray[np.float64]
ARCSEC_PER_RADIAN = 180.0 * 3600.0 / np.pi
# DeepLenseSim rounds it; part of the published data
ROUNDED_ARCSEC_PER_RADIAN = 206265.0
# 4 G Msun / c^2 in Mpc: the Einstein radius squared of one solar mass is this times D_ls / (D_l D_s)
FOUR_G_MSUN_MPC = (4 * constants.G * constants.M_sun / constants.c**2).to_value(units.Mpc)


@lru_cache(maxsize=16)
def _universe(cosmology: Cosmology) -> FlatLambdaCDM:
    return FlatLambdaCDM(H0=cosmology.H0, Om0=cosmology.Om0, Tcmb0=0)


def einstein_radius(
    mass_msun: Array, cosmology: Cosmology, conversion: MassConversion, z_lens: Array, z_source: Array
) -> Array:
    """Einstein radius of point masses, arcsec; redshifts broadcast against the masses."""
    return np.sqrt(mass_msun) * _unit_radius(cosmology, conversion, z_lens, z_source)


def _unit_radius(cosmology: Cosmology, conversion: MassConversion, z_lens: Array, z_source: Array) -> Array:
    """Einstein radius of one solar mass, arcsec: distances once per distinct pair of redshifts."""
    pairs, inverse = _distinct(z_lens, z_source)
    lens, source = pairs.T
    comoving_lens, comoving_source = _comoving(cosmology, lens), _comoving(cosmology, source)
    if conversion.kind == "luminosity_shortcut":
        d_lens, d_source = comoving_lens * (1 + lens), comoving_source * (1 + source)
        d_between, arcsec = d_source - d_lens, ROUNDED_ARCSEC_PER_RADIAN
    else:
        d_lens, d_source = comoving_lens / (1 + lens), comoving_source / (1 + source)
        d_between, arcsec = (comoving_source - comoving_lens) / (1 + source), ARCSEC_PER_RADIAN
    radius = arcsec * np.sqrt(FOUR_G_MSUN_MPC * d_between / (d_lens * d_source))
    return np.asarray(radius[inverse])


def deflection_scale(convention: DeflectionConvention | None, z_lens: Array, z_source: Array) -> Array:
    """What every deflection is multiplied by: 1, or the ratio of D_ls / D_s under a convention."""
    if convention is None:
        return np.ones(z_lens.shape)
    pairs, inverse = _distinct(z_lens, z_source)
    lens, source = (_comoving(convention.cosmology, z) for z in pairs.T)
    reference = _comoving(convention.cosmology, np.array([convention.z_source_convention]))
    # D_ls / D_s is 1 - (comoving distance of the lens / of the source) in a flat universe
    scale = (1 - lens / source) / (1 - lens / reference)
    return np.asarray(scale[inverse])


def _comoving(cosmology: Cosmology, redshift: Array) -> Array:
    """Comoving distances in Mpc, from which a flat universe has all others."""
    return np.asarray(_universe(cosmology).comoving_distance(redshift).to_value(units.Mpc))


def _distinct(z_lens: Array, z_source: Array) -> tuple[Array, NDArray[np.int64]]:
    pairs, inverse = np.unique(np.stack([z_lens, z_source], axis=1), axis=0, return_inverse=True)
    return pairs, inverse.reshape(-1)
