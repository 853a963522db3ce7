"""Truncated NFW halos with a core (lenstronomy's TNFWC): the formula, and cubics made of it halo by halo.

The deflection is `scale` G(x^2) (dx, dy) with x = r / Rs, b = r_core / Rs, t = r_trunc / Rs and

    G = t^2 / (t^2 - 1) (U(0, t) - U(x, t) + U(x, 1) - U(0, 1)) / x^2,
    U(x, e) = sqrt(e^2 + x^2) artanh(D / sqrt(e^2 + x^2)) / D,    D^2 = e^2 - b^2,

an arctan where D is imaginary. Two shape parameters would need a large table. But a halo meets thousands of
pixels, so cubics of its own between a few hundred exact values cost less than the pixels; slopes come free,
since they hold the same logarithms. Intervals are those of the table in `tnfw`, and so is the loop that uses
them. G is flat below the first.
"""

from typing import Any

import numpy as np

from simulate.kernels.bits import bits_of, double_of
from simulate.kernels.compiled import inlined, kernel
from simulate.kernels.elementary import arctan_of_ratio, half_log_of_ratio
from simulate.kernels.tnfw import FIRST_INTERVAL, LOWEST_EXPONENT, SHIFT

FLOOR2 = 2.0**LOWEST_EXPONENT
# where core and truncation are one, D^2 is as good as zero
LEAST_D2 = 1e-30


@inlined
def part(x2: Any, core2: Any, end2: Any) -> Any:
    """U at one radius."""
    d2 = end2 - core2
    far = np.sqrt(end2 + x2)
    root = np.sqrt(max(abs(d2), LEAST_D2))
    if d2 > 0.0:
        angle = half_log_of_ratio(far + root, (core2 + x2) / (far + root), 2.0 * root)
    else:
        angle = arctan_of_ratio(root, far)
    return far / root * angle


@inlined
def pull_and_slope(x2: Any, core2: Any, tau2: Any, factor: Any, offset: Any) -> Any:
    """G and its derivative in x^2; `factor` is t^2 / (t^2 - 1), `offset` is U(0, t) - U(0, 1)."""
    inner, outer = part(x2, core2, 1.0), part(x2, core2, tau2)
    value = factor * (offset + inner - outer) / x2
    # the convergence follows from the same two, and the derivative from convergence and mean convergence
    convergence = factor * (inner / (1.0 + x2) - outer / (tau2 + x2))
    return value, (0.5 * convergence - value) / x2


@inlined
def subtract_formula(x: Any, y: Any, beta_x: Any, beta_y: Any, halos: Any, k: Any) -> None:
    """One halo by its formula. A row: scale, 1 / Rs^2, b^2, t^2, offset, centre."""
    scale, inverse2, core2, tau2 = halos[k, 0], halos[k, 1], halos[k, 2], halos[k, 3]
    offset, center_x = halos[k, 4], halos[k, 5]
    factor = tau2 / (tau2 - 1.0)
    dy = y - halos[k, 6]
    for i in range(x.size):
        dx = x[i] - center_x
        x2 = max((dx * dx + dy * dy) * inverse2, FLOOR2)
        strength = scale * pull_and_slope(x2, core2, tau2, factor, offset)[0]
        beta_x[i] -= strength * dx
        beta_y[i] -= strength * dy


@inlined
def tabulate(halos: Any, k: Any, lowest: Any, highest: Any, cubics: Any, c: Any) -> None:
    """Cubics of one halo for x^2 in [lowest, highest], by its values and slopes where they meet."""
    core2, tau2, offset = halos[k, 2], halos[k, 3], halos[k, 4]
    factor = tau2 / (tau2 - 1.0)
    first = bits_of(max(lowest, FLOOR2)) >> SHIFT
    last = bits_of(max(highest, FLOOR2)) >> SHIFT
    start = double_of(first << SHIFT)
    value, slope = pull_and_slope(start, core2, tau2, factor, offset)
    for node in range(first, last + 1):
        end = double_of((node + 1) << SHIFT)
        value_end, slope_end = pull_and_slope(end, core2, tau2, factor, offset)
        width = end - start
        rise = (value_end - value) / width
        interval = np.uint64(node - FIRST_INTERVAL)
        cubics[c, 0, interval] = value
        cubics[c, 1, interval] = slope
        cubics[c, 2, interval] = (3.0 * rise - 2.0 * slope - slope_end) / width
        cubics[c, 3, interval] = (slope + slope_end - 2.0 * rise) / (width * width)
        start, value, slope = end, value_end, slope_end


@kernel
def evaluate(x2: Any, core: Any, tau: Any, values: Any) -> None:
    """G at many radii."""
    core2, tau2 = core * core, tau * tau
    factor = tau2 / (tau2 - 1.0)
    offset = part(0.0, core2, tau2) - part(0.0, core2, 1.0)
    for i in range(x2.size):
        values[i] = pull_and_slope(x2[i], core2, tau2, factor, offset)[0]
