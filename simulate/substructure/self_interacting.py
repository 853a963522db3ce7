"""Subhalos of self-interacting dark matter: a cold population with cores.

Kaplinghat, Tulin & Yu 2016 (PRL 116, 041302): inside r1, where every particle has scattered once in the age
t, rho_NFW(r1) (sigma / m) v t = 1, the halo is isothermal; density and mass are continuous at r1. Here
v = 4 / sqrt(pi) x 0.64 V_max, the mean relative speed for a Maxwellian with the velocity dispersion
1.1 V_max / sqrt(3) of the halo (Yang & Yu 2022, JCAP 09, 077). The core radius of lenstronomy's TNFWC,

    rho ~ 1 / (sqrt(r^2 + r_core^2) (r^2 + Rs^2)) x r_t^2 / (r^2 + r_t^2),

is r_core = 0.42 r1 / sqrt(1 + 1.5 r1 / Rs): by it the density falls to half at the radius where the
isothermal solution does, within 6% up to r1 = 3 Rs (a test solves it). Larger r1 count as 3 Rs: such halos
would collapse, which is not modelled. The mass is what it would be without a core.
"""

import numpy as np

from schemas.substructure import SelfInteractingPopulation
from simulate.batch import Array
from simulate.cosmology import G_CGS, G_MSUN_KM3_S2, OVERDENSITY, hubble_rate, nfw_mass
from simulate.masses import cored_mass, cored_mass_in_projection, truncated_mass
from simulate.quantiles import quantile
from simulate.streams import Streams
from simulate.substructure.halos import profile_parameters
from simulate.substructure.kinds import KINDS, Draw, Surroundings
from simulate.substructure.population import Population, draw_population

SECONDS_PER_GYR = 3.15576e16
CM_PER_KM = 1e5
# the largest circular velocity of an NFW halo squared, over 4 pi G rho_s Rs^2
LARGEST_CIRCULAR = 0.21621
RELATIVE_SPEED = 4 / np.sqrt(np.pi) * 0.64
NEWTON_STEPS = 8
LARGEST_R1 = 3.0
# lenstronomy's formula divides zero by zero where the truncation is at Rs, or without a core
LEAST_DISTANCE = 1e-5
SMALLEST_CORE = 1e-6


@KINDS.register("self_interacting")
def draw_self_interacting(kind: SelfInteractingPopulation, around: Surroundings, streams: Streams) -> Draw:
    """A population for each system whose halos have cores."""
    halos = draw_population(kind, around, streams)
    cross_section = quantile(kind.cross_section_cm2_g, halos.own_uniform)
    cuspy = profile_parameters(kind.profile, around, halos.mass, halos.owner, halos.shape)
    opacity = cross_section[halos.owner] * kind.age_gyr * SECONDS_PER_GYR
    parameters = _cored(cuspy, halos, around, opacity)
    return halos.draw("TNFWC", parameters, around, cross_section_cm2_g=cross_section)


def _cored(
    cuspy: dict[str, Array], halos: Population, around: Surroundings, opacity: Array
) -> dict[str, Array]:
    Rs, tau = cuspy["Rs"], cuspy["r_trunc"] / cuspy["Rs"]
    tau = np.where(np.abs(tau - 1) < LEAST_DISTANCE, 1 + LEAST_DISTANCE, tau)
    r200 = np.cbrt(halos.mass) * around.unit_halo_radius[halos.owner]
    density, speed = scale_density_and_speed(
        halos.mass, r200 / Rs, hubble_rate(around.cosmology, around.z_lens)[halos.owner]
    )
    core = np.maximum(core_radius(one_scattering_radius(density * speed * opacity)), SMALLEST_CORE)
    theta2 = cuspy["alpha_Rs"] * Rs / (1 - np.log(2)) * truncated_mass(tau)
    part = cored_mass_in_projection(1.0, core, tau) / cored_mass(core, tau)
    return {"Rs": Rs, "alpha_Rs": theta2 * part / Rs, "r_trunc": tau * Rs, "r_core": core * Rs}


def scale_density_and_speed(
    mass_msun: Array, concentration: Array, hubble_per_s: Array
) -> tuple[Array, Array]:
    """rho_s in g/cm^3 and the mean relative speed in cm/s of NFW halos of this m200."""
    critical = 3 * hubble_per_s**2 / (8 * np.pi * G_CGS)
    shape = nfw_mass(concentration)
    density = OVERDENSITY / 3 * critical * concentration**3 / shape
    # G M = 100 H^2 r200^3, and the circular velocity at r200 is 10 H r200
    circular2 = np.cbrt(10 * G_MSUN_KM3_S2 * mass_msun * hubble_per_s) ** 2
    largest = np.sqrt(LARGEST_CIRCULAR * circular2 * concentration / shape)
    return density, RELATIVE_SPEED * largest * CM_PER_KM


def one_scattering_radius(scatterings: Array) -> Array:
    """r1 over Rs: x (1 + x)^2 = scatterings at the scale density, by Newton's method from above."""
    x = np.minimum(scatterings, np.cbrt(scatterings))
    for _ in range(NEWTON_STEPS):
        x = x - (x * (1 + x) ** 2 - scatterings) / ((1 + x) * (1 + 3 * x))
    return np.asarray(x)


def core_radius(r1: Array) -> Array:
    """Core radius of a TNFWC profile, both over Rs."""
    r1 = np.minimum(r1, LARGEST_R1)
    return np.asarray(0.42 * r1 / np.sqrt(1 + 1.5 * r1))
