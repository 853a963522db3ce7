"""Distances, from masses to Einstein radii and NFW profiles, and the convention of reduced deflections."""

import numpy as np
from numpy.typing import NDArray

from schemas.cosmology import Cosmology, DeflectionConvention, MassConversion

Array = NDArray[np.float64]
ARCSEC_PER_RADIAN = 180.0 * 3600.0 / np.pi
# DeepLenseSim rounds it; part of the published data
ROUNDED_ARCSEC_PER_RADIAN = 206265.0
# 4 G Msun / c^2 in Mpc: the Einstein radius squared of one solar mass is this times D_ls / (D_l D_s)
# (CODATA 2022 and IAU 2015 as astropy has them, which takes seconds to load)
FOUR_G_MSUN_MPC = 1.9141663366351368e-19
G_CGS = 6.6743e-8
KM_PER_MPC = 3.0856775814913673e19
SPEED_OF_LIGHT_KM_S = 299792.458
G_MSUN_KM3_S2 = FOUR_G_MSUN_MPC / 4 * SPEED_OF_LIGHT_KM_S**2 * KM_PER_MPC
OVERDENSITY = 200.0
# of the comoving distance: good to 1e-14 from Om0 0.1 on; below, the integrand is less smooth
NODES = 32
NODES_OF_EMPTY_UNIVERSES = 512
SMOOTH_ABOVE_OM0 = 0.1


def einstein_radius(
    mass_msun: Array, cosmology: Cosmology, conversion: MassConversion, z_lens: Array, z_source: Array
) -> Array:
    """Einstein radius of point masses, arcsec; redshifts broadcast against the masses."""
    return np.asarray(np.sqrt(mass_msun) * unit_einstein_radius(cosmology, conversion, z_lens, z_source))


def unit_einstein_radius(
    cosmology: Cosmology, conversion: MassConversion, z_lens: Array, z_source: Array
) -> Array:
    """Einstein radius of one solar mass, arcsec."""
    comoving_lens, comoving_source = (
        comoving_distance(cosmology, z_lens),
        comoving_distance(cosmology, z_source),
    )
    if conversion.kind == "luminosity_shortcut":
        d_lens, d_source = comoving_lens * (1 + z_lens), comoving_source * (1 + z_source)
        d_between, arcsec = d_source - d_lens, ROUNDED_ARCSEC_PER_RADIAN
    else:
        d_lens, d_source = comoving_lens / (1 + z_lens), comoving_source / (1 + z_source)
        d_between, arcsec = (comoving_source - comoving_lens) / (1 + z_source), ARCSEC_PER_RADIAN
    return np.asarray(arcsec * np.sqrt(FOUR_G_MSUN_MPC * d_between / (d_lens * d_source)))


def squared_expansion(cosmology: Cosmology, redshift: Array) -> Array:
    """(H / H0)^2."""
    return np.asarray(cosmology.Om0 * (1 + redshift) ** 3 + 1 - cosmology.Om0)


def hubble_rate(cosmology: Cosmology, redshift: Array) -> Array:
    """H, per second."""
    return np.asarray(cosmology.H0 / KM_PER_MPC * np.sqrt(squared_expansion(cosmology, redshift)))


def unit_halo_radius(cosmology: Cosmology, z_lens: Array) -> Array:
    """r200 of a halo of one solar mass, arcsec: 200 times the critical density at the lens.

    G M = 100 H^2 r200^3, so it grows with the cube root of the mass.
    """
    hubble_per_mpc = cosmology.H0 / SPEED_OF_LIGHT_KM_S
    expansion2 = squared_expansion(cosmology, z_lens)
    r200_mpc = np.cbrt(FOUR_G_MSUN_MPC / (2 * OVERDENSITY * hubble_per_mpc**2 * expansion2))
    return np.asarray(ARCSEC_PER_RADIAN * r200_mpc * (1 + z_lens) / comoving_distance(cosmology, z_lens))


def nfw_deflection(theta_E: Array, Rs: Array, concentration: Array) -> Array:
    """Deflection at the scale radius of an NFW halo whose m200 would have this Einstein radius as a point."""
    return np.asarray(theta_E**2 * (1 - np.log(2)) / (Rs * nfw_mass(concentration)))


def nfw_mass(x: Array) -> Array:
    """Mass of an NFW halo within x scale radii, in units of 4 pi rho_s Rs^3."""
    return np.asarray(np.log1p(x) - x / (1 + x))


def deflection_scale(convention: DeflectionConvention | None, z_lens: Array, z_source: Array) -> Array:
    """What every deflection is multiplied by: 1, or the ratio of D_ls / D_s under a convention."""
    if convention is None:
        return np.ones(z_lens.shape)
    lens, source, reference = (
        comoving_distance(convention.cosmology, z)
        for z in (z_lens, z_source, np.array([convention.z_source_convention]))
    )
    # D_ls / D_s is 1 - (comoving distance of the lens / of the source) in a flat universe
    return np.asarray((1 - lens / source) / (1 - lens / reference))


def comoving_distance(cosmology: Cosmology, redshift: Array) -> Array:
    """Comoving distances in Mpc, from which a flat universe has all others."""
    first = redshift[:1]
    # redshifts that no recipe draws are all the same
    distances = _integrated(cosmology, first if (redshift == first).all() else redshift)
    return np.broadcast_to(distances, redshift.shape)


def _integrated(cosmology: Cosmology, redshift: Array) -> Array:
    """With t = (1 + z)^-1/2 the integrand is (1 + (1 / Om0 - 1) t^6)^-1/2, smooth at any redshift."""
    x, weights = QUADRATURES[cosmology.Om0 >= SMOOTH_ABOVE_OM0]
    # 1 - t without cancellation at small redshifts
    width = -np.expm1(-0.5 * np.log1p(redshift))
    t = 1 - width[:, None] * x
    t2 = t * t
    values = weights / np.sqrt(1 + (1 / cosmology.Om0 - 1) * (t2 * t2 * t2))
    scale = 2 * SPEED_OF_LIGHT_KM_S / (cosmology.H0 * np.sqrt(cosmology.Om0))
    return np.asarray(scale * width * values.sum(axis=1))


def _gauss_legendre(nodes: int) -> tuple[Array, Array]:
    """Nodes and weights for the interval from 0 to 1."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    return (1 + x) / 2, weights / 2


QUADRATURES = {True: _gauss_legendre(NODES), False: _gauss_legendre(NODES_OF_EMPTY_UNIVERSES)}
