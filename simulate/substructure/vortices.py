"""Vortices of an axion condensate in the lens: straight lines of mass as long as its de Broglie wavelength.

The length of a line is lambda = h / (m_a v) (Hui et al. 2017), with the velocity dispersion of the lens for
v, that of an isothermal sphere of its Einstein radius: theta_E = 4 pi (v / c)^2 D_ls / D_s. The half-length
is lambda / 2 at the angular-diameter distance of the lens.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.substructure import Vortices
from simulate.batch import Array, Deflectors
from simulate.cosmology import ARCSEC_PER_RADIAN
from simulate.quantiles import quantile
from simulate.streams import Streams
from simulate.substructure.kinds import KINDS, Draw, Surroundings

# h c, eV Mpc: h c = 1.239841984e-6 eV m
PLANCK_EV_MPC = 1.239841984e-6 / 3.0856775814913673e22
SYSTEM = 2  # uniforms of total mass and axion mass (or length)
PLACE = 3  # of a line's distance from the lens centre, direction there and own direction


@KINDS.register("vortices")
def draw_vortices(kind: Vortices, around: Surroundings, streams: Streams) -> Draw:
    """`count` lines for each system, all of one length, sharing the mass equally."""
    systems = len(streams)
    mass_uniform, length_uniform = streams.random(SYSTEM).T
    mass = quantile(kind.mass_msun, mass_uniform)
    axion_mass, half_length = _axion_mass_and_half_length(kind, around, length_uniform)
    owner = np.repeat(np.arange(systems), kind.count)
    x, y, angle = _places(around, owner, streams.ragged(np.full(systems, kind.count), PLACE).T)
    points = 0 if kind.points == "continuous" else kind.points
    each = mass[owner] / kind.count
    parameters = {
        "theta_E": around.einstein_radius(each, owner),
        "center_x": x,
        "center_y": y,
        "half_length": half_length[owner],
        "angle": angle,
        "points": np.full(len(owner), float(points)),
    }
    first = slice(None, None, kind.count)
    columns = {
        "axion_mass_ev": axion_mass,
        "vortex_mass_msun": mass,
        "vortex_half_length_arcsec": half_length,
        "vortex_half_length_theta_E": half_length / around.theta_E,
        "vortex_density_msun_kpc": mass / kind.count / _kiloparsecs(2 * half_length, around),
        "vortex_count": np.full(systems, float(kind.count)),
        "vortex_center_x": x[first],
        "vortex_center_y": y[first],
        "vortex_angle_rad": angle[first],
    }
    return Draw((Deflectors("LINE", owner, parameters, each),), columns)


def half_wavelength(
    axion_mass_ev: Array, theta_E: Array, distance_ratio: Array, lens_distance_mpc: Array
) -> Array:
    """Half the de Broglie wavelength at the lens, arcsec; also the axion mass of such a half-length."""
    speed = np.sqrt(theta_E / ARCSEC_PER_RADIAN / (4 * np.pi * distance_ratio))
    wavelength_mpc = PLANCK_EV_MPC / (axion_mass_ev * speed)
    return np.asarray(ARCSEC_PER_RADIAN * wavelength_mpc / 2 / lens_distance_mpc)


def _kiloparsecs(arcsec: Array, around: Surroundings) -> Array:
    return np.asarray(arcsec / ARCSEC_PER_RADIAN * around.lens_distance_mpc * 1000)


def _axion_mass_and_half_length(kind: Vortices, around: Surroundings, uniform: Array) -> tuple[Array, Array]:
    lens = around.theta_E, around.distance_ratio, around.lens_distance_mpc
    if kind.axion_mass_ev is not None:
        axion_mass = quantile(kind.axion_mass_ev, uniform)
        return axion_mass, half_wavelength(axion_mass, *lens)
    assert kind.half_length_theta_E is not None
    half_length = quantile(kind.half_length_theta_E, uniform) * around.theta_E
    # mass and length are inverse to each other
    return half_wavelength(half_length, *lens), half_length


def _places(around: Surroundings, owner: NDArray[np.int64], uniforms: Array) -> tuple[Array, Array, Array]:
    """Middles uniform in the disc of theta_E, directions in half a turn."""
    radius = around.theta_E[owner] * np.sqrt(uniforms[0])
    at = 2 * np.pi * uniforms[1]
    x = around.center_x[owner] + radius * np.cos(at)
    y = around.center_y[owner] + radius * np.sin(at)
    return x, y, np.pi * uniforms[2]
