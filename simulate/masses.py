"""What mass profiles weigh: as the square of the Einstein radius that the same mass has as a point, arcsec^2.

In these terms the mass inside a circle is the integral of the convergence over pi, whatever the cosmology.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import hyp2f1

from schemas.errors import RecipeError
from schemas.registry import Registry
from simulate.batch import Array, Deflectors

# rings that stand for an extended halo, and the truncations (over Rs) that their radii are tabulated for
RINGS = 5
SMALLEST_DISTANCE = 1e-9
FIRST_TAU, LAST_TAU, TAUS = 0.01, 1000.0, 120

# parameters of a profile -> its total mass
TOTALS: Registry[Callable[[dict[str, Array]], Array]] = Registry("profile of known mass")


def total(group: Deflectors) -> Array:
    """The whole mass of each member."""
    if group.profile not in TOTALS:
        raise RecipeError(
            f"the mass of the profile {group.profile} is not known",
            expected=f"one of {', '.join(sorted(TOTALS))}",
            where="simulate/masses.py",
            advice="register a function for it in TOTALS, or set compensate_mass: false in the recipe",
        )
    return TOTALS[group.profile](group.parameters)


def total_per_system(group: Deflectors, systems: int) -> Array:
    """The whole mass of all members together, one value per system."""
    return np.asarray(np.bincount(group.owner, total(group), minlength=systems), dtype=np.float64)


def inside_circle(group: Deflectors, center_x: Array, center_y: Array, radius: Array) -> Array:
    """The mass of each member inside a circle.

    Of lines it is the part of the line that is inside. A truncated halo counts as `RINGS` rings of equal
    mass, each by its part that is inside. All else is in or out as a whole, by its centre.
    """
    dx = group.parameters["center_x"] - center_x
    dy = group.parameters["center_y"] - center_y
    if group.profile == "LINE":
        share = _share_of_line(group.parameters, dx, dy, radius)
    elif group.profile in ("TNFW", "TNFWC"):
        # a core moves mass well inside the outer rings
        radii = ring_radii(group.parameters["r_trunc"] / group.parameters["Rs"]) * group.parameters["r_trunc"]
        share = _share_of_rings(radii, np.hypot(dx, dy), radius)
    else:
        share = (dx**2 + dy**2 < radius**2).astype(np.float64)
    return np.asarray(share * total(group))


def power_law_inside(theta_E: Array, slope: Array, ellipticity: Array, radius: Array) -> Array:
    """The mass of an SIE or EPL inside a circle around its centre.

    With q = (1 - e) / (1 + e) the convergence is (3 - t) / 2 (theta_E / sqrt(q x^2 + y^2 / q))^(t - 1). Its
    mean over a circle has the factor (1 - e^2)^s 2F1(s, s; 1; e^2), s = (t - 1) / 2: 1 - e^2 / 4 for t = 2.
    """
    s, e2 = (slope - 1) / 2, ellipticity**2
    shape = (1 - e2) ** s * hyp2f1(s, s, 1.0, e2)
    return np.asarray(theta_E ** (slope - 1) * radius ** (3 - slope) * shape)


def truncated_mass(tau: Array) -> Array:
    """Total mass of a TNFW halo truncated at tau scale radii, in units of 4 pi rho_s Rs^3.

    Baltz, Marshall & Oguri 2009, eq. A.8 with n = 1.
    """
    tau2 = tau**2
    return np.asarray(tau2 / (tau2 + 1) ** 2 * ((tau2 - 1) * np.log(tau) + tau * np.pi - (tau2 + 1)))


def truncated_mass_in_projection(x: Array, tau: Array) -> Array:
    """Mass of a TNFW halo inside a cylinder of x scale radii, in the same units: their eq. A.34, n = 1."""
    tau2, x2, root = tau**2, x**2, np.sqrt(tau**2 + x**2)
    s = np.sqrt(np.maximum(np.abs(1 - x2), 1e-12))
    shape = np.where(x < 1, np.arctanh(np.minimum(s, 1 - 1e-16)), np.arctan(s)) / s
    logarithm = np.log(x / (root + tau))
    bracket = (
        (tau2 + 1 + 2 * (x2 - 1)) * shape
        + tau * np.pi
        + (tau2 - 1) * np.log(tau)
        + root * (logarithm * (tau2 - 1) / tau - np.pi)
    )
    return np.asarray(tau2 / (tau2 + 1) ** 2 * bracket)


def ring_radii(tau: Array) -> Array:
    """Radii over r_trunc between which equal parts of a TNFW halo's projected mass lie, one row each."""
    table = _ring_table()
    last = len(table) - 1
    position = np.clip(np.log(tau / FIRST_TAU) / np.log(LAST_TAU / FIRST_TAU), 0, 1) * last
    node = np.minimum(position.astype(np.int64), last - 1)
    above = position - node
    return np.asarray(((1 - above)[:, None] * table[node] + above[:, None] * table[node + 1]).T)


@lru_cache(maxsize=1)
def _ring_table() -> Array:
    """The middle of each part, for truncations at even distances of their logarithm."""
    wanted = (np.arange(RINGS) + 0.5) / RINGS
    rows = []
    for tau in np.geomspace(FIRST_TAU, LAST_TAU, TAUS):
        x = tau * np.geomspace(1e-6, 1e4, 4000)
        grown = truncated_mass_in_projection(x, np.full(x.shape, tau)) / truncated_mass(np.array(tau))
        rows.append(np.interp(wanted, np.maximum.accumulate(grown), x / tau))
    return np.array(rows)


def cored_mass(core: Array, tau: Array) -> Array:
    """Total mass of lenstronomy's TNFWC halo, in units of 4 pi rho_0 Rs^3; radii over Rs."""
    return np.asarray(_truncation_factor(tau) * (_projected(0.0, core, tau) - _projected(0.0, core, 1.0)))


def cored_mass_in_projection(x: float, core: Array, tau: Array) -> Array:
    """Mass of the same halo inside a cylinder of x scale radii, in the same units."""
    outer = _projected(x, core, 1.0) - _projected(x, core, tau)
    return np.asarray(cored_mass(core, tau) + _truncation_factor(tau) * outer)


def _truncation_factor(tau: Array) -> Array:
    return np.asarray(tau**2 / (tau**2 - 1))


def _projected(x: float, core: Array, end: Array | float) -> Array:
    """(x^2 + t^2) times the projection of 1 / (sqrt(r^2 + b^2) (r^2 + t^2)), b the core and t the end."""
    end2, core2 = np.square(end) + x**2, core**2 + x**2
    difference = np.square(end) - core**2
    ratio, root = np.sqrt(end2 / core2), np.sqrt(np.abs(difference))
    angle = np.where(difference > 0, np.arccosh(np.maximum(ratio, 1)), np.arccos(np.minimum(ratio, 1)))
    return np.asarray(np.sqrt(end2) * angle / root)


@TOTALS.register("POINT_MASS")
@TOTALS.register("LINE")
def _as_it_says(p: dict[str, Array]) -> Array:
    return p["theta_E"] ** 2


@TOTALS.register("TNFW")
def _truncated(p: dict[str, Array]) -> Array:
    # lenstronomy's alpha_Rs is the deflection at Rs without truncation
    return np.asarray(p["alpha_Rs"] * p["Rs"] / (1 - np.log(2)) * truncated_mass(p["r_trunc"] / p["Rs"]))


@TOTALS.register("TNFWC")
def _cored(p: dict[str, Array]) -> Array:
    core, tau = p["r_core"] / p["Rs"], p["r_trunc"] / p["Rs"]
    part = cored_mass_in_projection(1.0, core, tau) / cored_mass(core, tau)
    return np.asarray(p["alpha_Rs"] * p["Rs"] / part)


def _share_of_rings(radii: Array, distance: Array, radius: Array) -> Array:
    """Of rings at a distance from the circle's centre the mean part inside: arcs by the law of cosines."""
    distance = np.maximum(distance, SMALLEST_DISTANCE)
    cosine = (distance**2 + radii**2 - radius**2) / (2 * distance * radii)
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)).mean(axis=0) / np.pi)


def _share_of_line(p: dict[str, Array], dx: Array, dy: Array, radius: Array) -> Array:
    """Of a continuous line its length inside the circle, of points their number."""
    half = p["half_length"]
    along = dx * np.cos(p["angle"]) + dy * np.sin(p["angle"])
    reach = np.sqrt(np.maximum(radius**2 - (dx**2 + dy**2 - along**2), 0))
    # the chord, as places on the line from -half to half
    first, last = np.clip(-along - reach, -half, half), np.clip(-along + reach, -half, half)
    length = np.maximum(half, np.finfo(float).tiny)
    continuous = np.where(half > 0, (last - first) / (2 * length), dx**2 + dy**2 < radius**2)
    return np.where(p["points"] > 0, _share_of_points(p, along, reach), continuous)


def _share_of_points(p: dict[str, Array], along: Array, reach: Array) -> Array:
    points = np.maximum(p["points"], 2)
    spacing = np.maximum(2 * p["half_length"] / (points - 1), np.finfo(float).tiny)
    first, last = ((-along + side * reach + p["half_length"]) / spacing for side in (-1, 1))
    number = np.floor(np.minimum(last, points - 1)) - np.ceil(np.maximum(first, 0)) + 1
    return np.asarray(np.where(reach > 0, np.clip(number, 0, points), 0) / points)
