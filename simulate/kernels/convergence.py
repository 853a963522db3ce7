"""Convergence of substructure, as its mean over each pixel.

A point's mass is in the pixel that holds it, a line's in proportion to its length in each pixel. Halos are
circular: deflection `strength` G(x^2) (dx, dy) and convergence `strength` K(x^2), x = r / Rs. Far from the
centre a pixel takes K at its own centre or at four points, to 1%. Around the centre, where K diverges, the
mean is half the flux of the deflection through the pixel's edges over its area (Gauss's theorem): what leaves
one pixel enters the next, so no mass is lost.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.kernels import tnfw
from simulate.kernels.bits import bits_of, double_of
from simulate.kernels.compiled import inlined, kernel
from simulate.kernels.elementary import arctan_of_ratio, half_log_of_ratio, log
from simulate.kernels.tnfw import FIRST_INTERVAL, FLOOR2, LOWEST_EXPONENT, SHIFT, SPLIT

PI = 3.141592653589793
# pixels on each side of a halo's centre that take fluxes, and that take four points
NEAR, MIDDLE = 1, 8
GAUSS_2 = 0.5 / np.sqrt(3.0)
# of the flux through an edge, in the variable u with sinh(u) = distance along the edge over that from it
NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)
# edges nearer to a centre than this part of a pixel are resolved as if they were so far
NEAREST = 1e-3
# the cubics of one halo reach farther than the tables
HIGHEST_EXPONENT = 40
INTERVALS = (HIGHEST_EXPONENT - LOWEST_EXPONENT) << SPLIT
HIGHEST_X2 = 2.0**HIGHEST_EXPONENT * (1.0 - 1e-12)
# where 1 - x^2 is this small, (F - 1) / (1 - x^2) is a series
SERIES_BELOW = 1e-3


@kernel
def add_points(points: Any, offsets: Any, step: Any, maps: Any) -> None:
    """A row: theta_E^2 and the centre; points outside the field are left out."""
    side = maps.shape[1]
    for place in range(maps.shape[0]):
        for k in range(offsets[place], offsets[place + 1]):
            i = np.floor(points[k, 1] / step + 0.5 * side)
            j = np.floor(points[k, 2] / step + 0.5 * side)
            if 0.0 <= i < side and 0.0 <= j < side:
                maps[place, int(j), int(i)] += PI * points[k, 0] / (step * step)


@kernel
def add_lines(lines: Any, offsets: Any, step: Any, maps: Any) -> None:
    """A row: theta_E^2 over the length, half the length, cosine, sine, centre."""
    side = maps.shape[1]
    for place in range(maps.shape[0]):
        for k in range(offsets[place], offsets[place + 1]):
            half, cos, sin, center_x, center_y = (
                lines[k, 1],
                lines[k, 2],
                lines[k, 3],
                lines[k, 4],
                lines[k, 5],
            )
            density = PI * lines[k, 0] / (step * step)
            lowest = center_y - abs(sin) * half
            highest = center_y + abs(sin) * half
            for j in range(_pixel(lowest, step, side), _pixel(highest, step, side) + 1):
                first, last = _inside(sin, center_y - (j - 0.5 * side) * step, step)
                first, last = max(first, -half), min(last, half)
                if first >= last:
                    continue
                one, other = center_x + cos * first, center_x + cos * last
                left, right = min(one, other), max(one, other)
                for i in range(_pixel(left, step, side), _pixel(right, step, side) + 1):
                    begin, end = _inside(cos, center_x - (i - 0.5 * side) * step, step)
                    maps[place, j, i] += density * max(min(end, last) - max(begin, first), 0.0)


@inlined
def _pixel(position: Any, step: Any, side: Any) -> Any:
    """The pixel of a coordinate, or the nearest of the field."""
    return int(min(max(np.floor(position / step + 0.5 * side), 0.0), side - 1.0))


@inlined
def _inside(slope: Any, offset: Any, width: Any) -> Any:
    """Where 0 <= slope * t + offset < width."""
    if abs(slope) * 1e9 < 1.0:
        return (-1e30, 1e30) if 0.0 <= offset < width else (1e30, -1e30)
    a, b = -offset / slope, (width - offset) / slope
    return min(a, b), max(a, b)


@kernel
def add_halos(
    halos: Any, offsets: Any, cored: Any, tables: Any, to_powers: Any, step: Any, maps: Any
) -> None:
    """A row: strength, 1 / Rs^2, tau, tau factor, ln tau, centre; of `cored` ones the core over Rs is fourth.

    `tables` holds those of G and K, for truncated NFW halos.
    """
    side = maps.shape[1]
    edge = 0.5 * side * step
    cubics = np.empty((2, 4, INTERVALS))
    for place in range(maps.shape[0]):
        for k in range(offsets[place], offsets[place + 1]):
            inverse2, center_x, center_y = halos[k, 1], abs(halos[k, 5]), abs(halos[k, 6])
            near_x, near_y = max(center_x - edge, 0.0), max(center_y - edge, 0.0)
            lowest = (near_x * near_x + near_y * near_y) * inverse2
            highest = ((center_x + edge) ** 2 + (center_y + edge) ** 2) * inverse2
            if not cored and tnfw.in_table(halos[k, 2], highest):
                for which in range(2):
                    tnfw.interpolate(tables[which], halos[k, 4], lowest, highest, cubics, which)
            else:
                _fit(halos, k, cored, lowest, min(highest, HIGHEST_X2), to_powers, cubics)
            _add_halo(halos, k, cubics, step, maps, place)


@inlined
def _fit(halos: Any, k: Any, cored: Any, lowest: Any, highest: Any, to_powers: Any, cubics: Any) -> None:
    """Cubics of one halo through its formula at Chebyshev's nodes, for x^2 in [lowest, highest]."""
    first = (bits_of(max(lowest, FLOOR2)) >> SHIFT) - FIRST_INTERVAL
    last = (bits_of(max(highest, FLOOR2)) >> SHIFT) - FIRST_INTERVAL
    tau, fourth = halos[k, 2], halos[k, 3]
    inner, outer = (_projection(0.0, fourth, 1.0), _projection(0.0, fourth, tau)) if cored else (0.0, 0.0)
    for interval in range(first, last + 1):
        left = double_of((interval + FIRST_INTERVAL) << SHIFT)
        width = double_of((interval + FIRST_INTERVAL + 1) << SHIFT) - left
        for power in range(4):
            cubics[0, power, interval] = 0.0
            cubics[1, power, interval] = 0.0
        for node in range(4):
            x2 = left + width * to_powers[4, node]
            if cored:
                g, kappa = _cored(x2, fourth, tau, inner, outer)
            else:
                g = tnfw.pull(x2, tau, fourth, halos[k, 4])
                kappa = truncated(x2, tau, fourth)
            scale = 1.0
            for power in range(4):
                cubics[0, power, interval] += to_powers[power, node] * g * scale
                cubics[1, power, interval] += to_powers[power, node] * kappa * scale
                scale /= width


@inlined
def _at(cubics: Any, which: Any, x2: Any) -> Any:
    x2 = min(max(x2, FLOOR2), HIGHEST_X2)
    bits = bits_of(x2)
    interval = np.uint64((bits >> SHIFT) - FIRST_INTERVAL)
    offset = x2 - double_of((bits >> SHIFT) << SHIFT)
    value = cubics[which, 3, interval]
    value = value * offset + cubics[which, 2, interval]
    value = value * offset + cubics[which, 1, interval]
    return value * offset + cubics[which, 0, interval]


@inlined
def _add_halo(halos: Any, k: Any, cubics: Any, step: Any, maps: Any, place: Any) -> None:
    side = maps.shape[1]
    column = np.floor(halos[k, 5] / step + 0.5 * side)
    row = np.floor(halos[k, 6] / step + 0.5 * side)
    left, right = _clipped(column - MIDDLE, side), _clipped(column + MIDDLE + 1.0, side)
    near_left, near_right = _clipped(column - NEAR, side), _clipped(column + NEAR + 1.0, side)
    for j in range(side):
        if abs(j - row) > MIDDLE:
            _add_centres(halos, k, cubics, step, maps, place, j, 0, side)
            continue
        _add_centres(halos, k, cubics, step, maps, place, j, 0, left)
        _add_centres(halos, k, cubics, step, maps, place, j, right, side)
        if abs(j - row) > NEAR:
            _add_fours(halos, k, cubics, step, maps, place, j, left, right)
        else:
            _add_fours(halos, k, cubics, step, maps, place, j, left, near_left)
            _add_fours(halos, k, cubics, step, maps, place, j, near_right, right)
    top, bottom = _clipped(row + NEAR + 1.0, side), _clipped(row - NEAR, side)
    _add_fluxes(halos, k, cubics, step, maps, place, bottom, top, near_left, near_right)


@inlined
def _clipped(pixel: Any, side: Any) -> Any:
    return int(min(max(pixel, 0.0), float(side)))


@inlined
def _add_centres(
    halos: Any, k: Any, cubics: Any, step: Any, maps: Any, place: Any, j: Any, left: Any, right: Any
) -> None:
    """K at the centres of a row's pixels."""
    strength, inverse2 = halos[k, 0], halos[k, 1]
    middle = 0.5 * (maps.shape[1] - 1)
    dy = (j - middle) * step - halos[k, 6]
    for i in range(np.uint64(left), np.uint64(right)):
        dx = (np.float64(i) - middle) * step - halos[k, 5]
        maps[place, j, i] += strength * _at(cubics, 1, (dx * dx + dy * dy) * inverse2)


@inlined
def _add_fours(
    halos: Any, k: Any, cubics: Any, step: Any, maps: Any, place: Any, j: Any, left: Any, right: Any
) -> None:
    """The mean of K at Gauss's four points of each pixel."""
    quarter, inverse2 = 0.25 * halos[k, 0], halos[k, 1]
    middle, aside = 0.5 * (maps.shape[1] - 1), GAUSS_2 * step
    dy = (j - middle) * step - halos[k, 6]
    below, above = (dy - aside) ** 2, (dy + aside) ** 2
    for i in range(np.uint64(left), np.uint64(right)):
        dx = (np.float64(i) - middle) * step - halos[k, 5]
        before, after = (dx - aside) ** 2, (dx + aside) ** 2
        total = _at(cubics, 1, (before + below) * inverse2) + _at(cubics, 1, (after + below) * inverse2)
        total += _at(cubics, 1, (before + above) * inverse2) + _at(cubics, 1, (after + above) * inverse2)
        maps[place, j, i] += quarter * total


@inlined
def _add_fluxes(
    halos: Any,
    k: Any,
    cubics: Any,
    step: Any,
    maps: Any,
    place: Any,
    bottom: Any,
    top: Any,
    left: Any,
    right: Any,
) -> None:
    """Half the flux through the edges over the area, for a block of pixels; each edge is visited once."""
    share, inverse2 = 0.5 * halos[k, 0] / (step * step), halos[k, 1]
    half = 0.5 * maps.shape[1]
    for j in range(bottom, top):
        low = (j - half) * step - halos[k, 6]
        for i in range(left, right + 1 if left < right else left):
            flux = share * _flux((i - half) * step - halos[k, 5], low, step, inverse2, cubics)
            if i > left:
                maps[place, j, i - 1] += flux
            if i < right:
                maps[place, j, i] -= flux
    for i in range(left, right):
        low = (i - half) * step - halos[k, 5]
        for j in range(bottom, top + 1 if bottom < top else bottom):
            flux = share * _flux((j - half) * step - halos[k, 6], low, step, inverse2, cubics)
            if j > bottom:
                maps[place, j - 1, i] += flux
            if j < top:
                maps[place, j, i] -= flux


@inlined
def _flux(distance: Any, low: Any, step: Any, inverse2: Any, cubics: Any) -> Any:
    """Integral of G times the distance along an edge, from `low` on; both are counted from the centre."""
    near = max(abs(distance), NEAREST * step)
    begin, end = np.arcsinh(low / near), np.arcsinh((low + step) / near)
    # G is steepest at the foot of the perpendicular
    split = min(max(0.0, begin), end)
    total = 0.0
    for part in range(2):
        first, last = (begin, split) if part == 0 else (split, end)
        middle, reach = 0.5 * (first + last), 0.5 * (last - first)
        if reach > 0.0:
            for n in range(NODES.size):
                up = np.exp(middle + reach * NODES[n])
                down = 1.0 / up
                along = 0.5 * near * (up - down)
                x2 = (distance * distance + along * along) * inverse2
                total += WEIGHTS[n] * reach * 0.5 * near * (up + down) * _at(cubics, 0, x2)
    return distance * total


@inlined
def truncated(x2: Any, tau: Any, tau_factor: Any) -> Any:
    """K of a truncated NFW halo (Baltz, Marshall & Oguri 2009), as lenstronomy's `density_2d` has it."""
    tau2 = tau * tau
    difference = 1.0 - x2
    s = max(np.sqrt(abs(difference)), 1e-100)
    inside = half_log_of_ratio(1.0 + s, x2 / (1.0 + s), 2.0 * s)
    outside = arctan_of_ratio(s, 1.0)
    shape = (inside if difference > 0.0 else outside) / s
    series = 1.0 / 3.0 + difference * (1.0 / 5.0 + difference * (1.0 / 7.0 + difference * (1.0 / 9.0)))
    slope = series if abs(difference) < SERIES_BELOW else (shape - 1.0) / difference
    root = np.sqrt(tau2 + x2)
    logarithm = 0.5 * log(x2) - log(tau + root)
    far = (tau2 - 1.0) * logarithm / tau - PI
    return 0.5 * tau_factor * ((tau2 + 1.0) * slope + 2.0 * shape + far / root)


@inlined
def _cored(x2: Any, core: Any, tau: Any, inner_0: Any, outer_0: Any) -> Any:
    """G and K of lenstronomy's TNFWC over 4 pi rho_0 Rs^3 tau^2 / (tau^2 - 1); see `simulate.masses`.

    `inner_0` and `outer_0` are the projections to the scale and truncation radius through the centre.
    """
    inner, outer = _projection(x2, core, 1.0), _projection(x2, core, tau)
    tau2 = tau * tau
    mass = ((1.0 + x2) * inner - inner_0) - ((tau2 + x2) * outer - tau2 * outer_0)
    return mass / x2, 0.5 * (inner - outer)


@inlined
def _projection(x2: Any, core: Any, end: Any) -> Any:
    """Integral of 1 / (sqrt(r^2 + b^2) (r^2 + t^2)) along half the line of sight, b the core, t the end."""
    difference = end * end - core * core
    root, far = max(np.sqrt(abs(difference)), 1e-100), np.sqrt(end * end + x2)
    wide = half_log_of_ratio(far + root, (core * core + x2) / (far + root), 2.0 * root)
    narrow = arctan_of_ratio(root, far)
    return (wide if difference > 0.0 else narrow) / (root * far)


@kernel
def evaluate(x2: Any, tau: Any, values: Any) -> None:
    """K of a truncated NFW halo at many radii."""
    tau_factor = tau * tau / (tau * tau + 1.0) ** 2
    for i in range(x2.size):
        values[i] = truncated(x2[i], tau, tau_factor)


@lru_cache(maxsize=1)
def tables() -> NDArray[np.float64]:
    """Those of G and K: (2, TAUS, 4, INTERVALS of the tables)."""
    return np.stack([tnfw.table(), tnfw.tabulate(evaluate)])


@lru_cache(maxsize=1)
def to_powers() -> NDArray[np.float64]:
    """From values at Chebyshev's nodes to the powers of a cubic, and below them the nodes."""
    return np.concatenate([tnfw.TO_POWERS, tnfw.CHEBYSHEV[None]])
