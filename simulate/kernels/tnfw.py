"""Truncated NFW halos (Baltz, Marshall & Oguri 2009): the formula, and a table that is three times faster.

The deflection is `scale` G(x^2, tau) (dx, dy) with x = r / Rs, tau = r_trunc / Rs and G = g / x^2 in
lenstronomy's notation, flat below lenstronomy's floor x = 0.001.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.kernels.bits import bits_of, double_of
from simulate.kernels.compiled import inlined, kernel
from simulate.kernels.elementary import (
    PI_2,
    arctan_of_ratio,
    half_log_of_ratio,
    log,
)

PI = 2 * PI_2
FLOOR2 = 1e-6
# the table: cubics in x^2 on 2^SPLIT intervals per power of two, from 2^-28 to 2^24; halos with cores, which
# share the intervals, have no floor at 0.001
SPLIT = 4
LOWEST_EXPONENT = -28
HIGHEST_EXPONENT = 24
SHIFT = 52 - SPLIT
FIRST_INTERVAL = (1023 + LOWEST_EXPONENT) << SPLIT
INTERVALS = (HIGHEST_EXPONENT - LOWEST_EXPONENT) << SPLIT
# truncations: cubic interpolation in ln tau, where there are two on both sides
FIRST_TAU = 0.05
TAU_STEP = 0.0625
TAUS = 176
LOWEST_TAU = FIRST_TAU * float(np.exp(TAU_STEP))
HIGHEST_TAU = FIRST_TAU * float(np.exp(TAU_STEP * (TAUS - 3)))
HIGHEST_X2 = 2.0**HIGHEST_EXPONENT
# cubics of one halo take 22 kB; beyond so many in an image the formula is as fast
MOST_TABULATED = 2048
# Chebyshev's nodes keep the error of a cubic even; the matrix makes its powers from values there
CHEBYSHEV = 0.5 - 0.5 * np.cos((np.arange(4) + 0.5) * np.pi / 4)
TO_POWERS = np.linalg.inv(np.vander(CHEBYSHEV, 4, increasing=True))


@inlined
def pull(x2: Any, tau: Any, tau_factor: Any, log_tau: Any) -> Any:
    """G at one radius; `tau_factor` is tau^2 / (tau^2 + 1)^2."""
    tau2 = tau * tau
    difference = 1.0 - x2
    s = max(np.sqrt(abs(difference)), 1e-100)
    # F: artanh(s) / s inside Rs, arctan(s) / s outside
    inside = half_log_of_ratio(1.0 + s, x2 / (1.0 + s), 2.0 * s)
    outside = arctan_of_ratio(s, 1.0)
    shape = (inside if difference > 0.0 else outside) / s
    root = np.sqrt(tau2 + x2)
    logarithm = 0.5 * log(x2) - log(tau + root)
    g = (
        (tau2 + 1.0 - 2.0 * difference) * shape
        + tau * PI
        + (tau2 - 1.0) * log_tau
        + root * (logarithm * (tau2 - 1.0) / tau - PI)
    )
    return tau_factor * g / x2


@inlined
def subtract_tnfw(x: Any, y: Any, beta_x: Any, beta_y: Any, halos: Any, k: Any) -> None:
    """One halo by its formula. A row: scale, 1 / Rs^2, tau, tau factor, ln tau, centre."""
    scale, inverse2, tau, tau_factor, log_tau = (
        halos[k, 0],
        halos[k, 1],
        halos[k, 2],
        halos[k, 3],
        halos[k, 4],
    )
    center_x = halos[k, 5]
    dy = y - halos[k, 6]
    for i in range(x.size):
        dx = x[i] - center_x
        strength = scale * pull(max((dx * dx + dy * dy) * inverse2, FLOOR2), tau, tau_factor, log_tau)
        beta_x[i] -= strength * dx
        beta_y[i] -= strength * dy


@inlined
def subtract_tabulated(
    x: Any, y: Any, beta_x: Any, beta_y: Any, halos: Any, k: Any, cubics: Any, c: Any, floor2: Any
) -> None:
    """One halo, with a core or without, by the cubics in x^2 that were made of it, set `c`."""
    scale, inverse2, center_x = halos[k, 0], halos[k, 1], halos[k, 5]
    dy = y - halos[k, 6]
    for i in range(x.size):
        dx = x[i] - center_x
        x2 = max((dx * dx + dy * dy) * inverse2, floor2)
        bits = bits_of(x2)
        interval = np.uint64((bits >> SHIFT) - FIRST_INTERVAL)
        offset = x2 - double_of((bits >> SHIFT) << SHIFT)
        value = cubics[c, 3, interval]
        value = value * offset + cubics[c, 2, interval]
        value = value * offset + cubics[c, 1, interval]
        value = value * offset + cubics[c, 0, interval]
        strength = scale * value
        beta_x[i] -= strength * dx
        beta_y[i] -= strength * dy


@inlined
def in_table(tau: Any, farthest: Any) -> Any:
    """Whether the table holds a truncation, for all x^2 up to `farthest`."""
    return LOWEST_TAU <= tau <= HIGHEST_TAU and farthest < HIGHEST_X2


@inlined
def interpolate(table: Any, log_tau: Any, lowest: Any, highest: Any, cubics: Any, c: Any) -> None:
    """Cubics of one truncation from those of its four neighbours, for x^2 in [lowest, highest]."""
    position = (log_tau - np.log(FIRST_TAU)) / TAU_STEP
    node = min(max(int(position), 1), TAUS - 3)
    t = position - node
    before = -t * (t - 1.0) * (t - 2.0) / 6.0
    at = (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0
    after = -(t + 1.0) * t * (t - 2.0) / 2.0
    beyond = (t + 1.0) * t * (t - 1.0) / 6.0
    first = (bits_of(max(lowest, FLOOR2)) >> SHIFT) - FIRST_INTERVAL
    last = (bits_of(max(highest, FLOOR2)) >> SHIFT) - FIRST_INTERVAL
    for power in range(4):
        for interval in range(np.uint64(first), np.uint64(last + 1)):
            cubics[c, power, interval] = (
                before * table[node - 1, power, interval]
                + at * table[node, power, interval]
                + after * table[node + 1, power, interval]
                + beyond * table[node + 2, power, interval]
            )


@lru_cache(maxsize=1)
def table() -> NDArray[np.float64]:
    """Cubics of G for all intervals and the tabulated truncations: (TAUS, 4, INTERVALS)."""
    return tabulate(evaluate)


def tabulate(function: Callable[[Any, float, Any], None]) -> NDArray[np.float64]:
    """The same of any function of x^2 and tau, which fills an array of values."""
    made = np.empty((TAUS, 4, INTERVALS))
    left = 2.0 ** (LOWEST_EXPONENT + np.arange(INTERVALS) // 2**SPLIT)
    width = left / 2**SPLIT
    left = left + width * (np.arange(INTERVALS) % 2**SPLIT)
    x2 = left[:, None] + width[:, None] * CHEBYSHEV
    values = np.empty_like(x2)
    for k in range(TAUS):
        tau = FIRST_TAU * np.exp(TAU_STEP * k)
        function(x2.ravel(), tau, values.reshape(-1))
        made[k] = (values @ TO_POWERS.T).T / width ** np.arange(4)[:, None]
    return made


@kernel
def evaluate(x2: Any, tau: Any, values: Any) -> None:
    """G at many radii."""
    tau_factor = tau * tau / (tau * tau + 1.0) ** 2
    for i in range(x2.size):
        values[i] = pull(x2[i], tau, tau_factor, np.log(tau))
