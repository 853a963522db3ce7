"""Deflections of one row of pixels, subtracted from the positions that it is traced to.

Every function takes the columns `x`, the row's `y`, the source-plane positions so far (`beta_x`, `beta_y`,
changed in place) and profile `k` of a matrix that `simulate.engines.fused` prepared. Formulas, floors and
signs are lenstronomy's, so that images agree to the last digits.

Loops take whole arrays and indices, not slices: numba counts references to each slice, which costs as much
as twenty pixels. Where a loop does not start at 0 its index is unsigned: numba compares signed ones with 0.
"""

from typing import Any

import numpy as np

from simulate.kernels.compiled import inlined
from simulate.kernels.elementary import arctan_of_ratio, exp, half_log_of_ratio, log

# lenstronomy's floors
SIE_CORE_ARCSEC = 1e-10
EPL_FLOOR_ARCSEC2 = 1e-18
POINT_FLOOR_ARCSEC2 = 1e-50
PI = 3.141592653589793
# B_2m(1/2) / (2m), from the Bernoulli numbers
MIDPOINT = (-1 / 24, 7 / 960, -31 / 8064, 127 / 30720, -511 / 67584, 1414477 / 67092480, -8191 / 98304)
# the first term left out is 1e-15 from here on
CHAIN_NEAR = 8.0


@inlined
def subtract_shear(x: Any, y: Any, beta_x: Any, beta_y: Any, shears: Any, k: Any) -> None:
    """External shear about the origin: gamma1, gamma2."""
    gamma1, gamma2 = shears[k, 0], shears[k, 1]
    for i in range(x.size):
        beta_x[i] -= gamma1 * x[i] + gamma2 * y
        beta_y[i] -= gamma2 * x[i] - gamma1 * y


@inlined
def subtract_sie(x: Any, y: Any, beta_x: Any, beta_y: Any, lenses: Any, k: Any) -> None:
    """Isothermal ellipsoid (Kormann et al. 1994; Keeton & Kochanek 1998) with lenstronomy's tiny core.

    A row: strength over flattening, flattening sqrt(1 - q^2), core, q^2, cosine and sine of the position
    angle, centre.
    """
    strength, flattening, core, q2 = lenses[k, 0], lenses[k, 1], lenses[k, 2], lenses[k, 3]
    cos, sin, center_x = lenses[k, 4], lenses[k, 5], lenses[k, 6]
    dy = y - lenses[k, 7]
    q2_core = q2 * core
    q2_core2 = q2_core * core
    for i in range(x.size):
        dx = x[i] - center_x
        along = cos * dx + sin * dy
        across = cos * dy - sin * dx
        psi = np.sqrt(q2 * along * along + (across * across + q2_core2))
        pull_along = strength * arctan_of_ratio(flattening * along, psi + core)
        tilt, scale = flattening * across, psi + q2_core
        pull_across = strength * half_log_of_ratio(scale + tilt, scale - tilt, 2.0 * tilt)
        beta_x[i] -= cos * pull_along - sin * pull_across
        beta_y[i] -= sin * pull_along + cos * pull_across


@inlined
def subtract_epl(x: Any, y: Any, beta_x: Any, beta_y: Any, lenses: Any, series: Any, k: Any) -> None:
    """Elliptical power law (Tessore & Metcalf 2015, eqs. 13 and 29).

    A row: strength 2 b^t / (1 + q), half the slope t / 2, q, cosine and sine of the position angle, centre,
    number of terms. `series`: coefficients of the angular function in powers of e^(2 i phi), summed by
    Clenshaw's recurrence.
    """
    strength, half_slope, q = lenses[k, 0], lenses[k, 1], lenses[k, 2]
    cos, sin, center_x = lenses[k, 3], lenses[k, 4], lenses[k, 5]
    dy = y - lenses[k, 6]
    terms = int(lenses[k, 7])
    for i in range(x.size):
        dx = x[i] - center_x
        along = q * (cos * dx + sin * dy)
        across = cos * dy - sin * dx
        radius2 = max(along * along + across * across, EPL_FLOOR_ARCSEC2)
        inverse = 1.0 / radius2
        # e^(2 i phi) of the elliptical angle
        turn_x = (along * along - across * across) * inverse
        turn_y = 2.0 * along * across * inverse
        latest = 0.0
        before = 0.0
        for n in range(terms - 1, 0, -1):
            latest, before = series[k, n] + 2.0 * turn_x * latest - before, latest
        omega_x = series[k, 0] + turn_x * latest - before
        omega_y = turn_y * latest
        pull = strength * exp(-half_slope * log(radius2))
        pull_along = pull * (along * omega_x - across * omega_y)
        pull_across = pull * (along * omega_y + across * omega_x)
        beta_x[i] -= cos * pull_along - sin * pull_across
        beta_y[i] -= sin * pull_along + cos * pull_across


@inlined
def subtract_points(
    x: Any, y: Any, beta_x: Any, beta_y: Any, points: Any, first: Any, last: Any, left: Any, right: Any
) -> None:
    """Point masses `first` to `last`, for the columns `left` to `right`.

    Four share one division, the slowest instruction of the loop. `points` has theta_E^2 and the centre by
    column.
    """
    fours = last - (last - first) % 4
    for k in range(first, fours, 4):
        ta, tb, tc, td = points[0, k], points[0, k + 1], points[0, k + 2], points[0, k + 3]
        xa, xb, xc, xd = points[1, k], points[1, k + 1], points[1, k + 2], points[1, k + 3]
        ya, yb, yc, yd = y - points[2, k], y - points[2, k + 1], y - points[2, k + 2], y - points[2, k + 3]
        ya2 = max(ya * ya, POINT_FLOOR_ARCSEC2)
        yb2 = max(yb * yb, POINT_FLOOR_ARCSEC2)
        yc2 = max(yc * yc, POINT_FLOOR_ARCSEC2)
        yd2 = max(yd * yd, POINT_FLOOR_ARCSEC2)
        for i in range(np.uint64(left), np.uint64(right)):
            dxa, dxb, dxc, dxd = x[i] - xa, x[i] - xb, x[i] - xc, x[i] - xd
            ra, rb, rc, rd = dxa * dxa + ya2, dxb * dxb + yb2, dxc * dxc + yc2, dxd * dxd + yd2
            rab, rcd = ra * rb, rc * rd
            inverse = 1.0 / (rab * rcd)
            over_ab, over_cd = inverse * rcd, inverse * rab
            pull_a, pull_b = ta * (over_ab * rb), tb * (over_ab * ra)
            pull_c, pull_d = tc * (over_cd * rd), td * (over_cd * rc)
            beta_x[i] -= (pull_a * dxa + pull_b * dxb) + (pull_c * dxc + pull_d * dxd)
            beta_y[i] -= (pull_a * ya + pull_b * yb) + (pull_c * yc + pull_d * yd)
    for k in range(fours, last):
        strength, center = points[0, k], points[1, k]
        dy = y - points[2, k]
        dy2 = max(dy * dy, POINT_FLOOR_ARCSEC2)
        for i in range(np.uint64(left), np.uint64(right)):
            dx = x[i] - center
            pull = strength / (dx * dx + dy2)
            beta_x[i] -= pull * dx
            beta_y[i] -= pull * dy


@inlined
def subtract_line(x: Any, y: Any, beta_x: Any, beta_y: Any, lines: Any, k: Any) -> None:
    """A continuous line of mass: conj(alpha) = theta_E^2 / (z2 - z1) log((z - z1) / (z - z2)).

    A row: theta_E^2 over the length, half the length, its cosine and sine, centre.
    """
    strength, half, cos, sin, center_x = lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3], lines[k, 4]
    dy = y - lines[k, 5]
    for i in range(x.size):
        dx = x[i] - center_x
        along, across = cos * dx + sin * dy, cos * dy - sin * dx
        pull_along, pull_across = _line_pull(along, across, half)
        pull_along *= strength
        pull_across *= strength
        beta_x[i] -= cos * pull_along - sin * pull_across
        beta_y[i] -= sin * pull_along + cos * pull_across


@inlined
def _line_pull(along: float, across: float, half: float) -> tuple[float, float]:
    """Real part and minus the imaginary part of the logarithm; the latter is the angle the line subtends.

    On the line itself it jumps from -pi to pi; there the pull across is zero, by symmetry.
    """
    ahead, behind = along + half, along - half
    across2 = max(across * across, POINT_FLOOR_ARCSEC2)
    pull_along = half_log_of_ratio(ahead * ahead + across2, behind * behind + across2, 4.0 * along * half)
    outside = ahead * behind + across * across
    angle = arctan_of_ratio(2.0 * half * across, max(abs(outside), POINT_FLOOR_ARCSEC2))
    beyond = PI if across > 0.0 else (-PI if across < 0.0 else 0.0)
    return pull_along, (angle if outside >= 0.0 else beyond - angle)


@inlined
def subtract_far_chain(
    x: Any, y: Any, beta_x: Any, beta_y: Any, lines: Any, k: Any, left: Any, right: Any
) -> None:
    """Equal point masses at equal spacing, for columns `left` to `right`, all `CHAIN_NEAR` spacings away.

    The sum over k of 1 / (z - z_k) is the integral over a line that is one spacing longer and the end
    corrections of Euler and Maclaurin, which are exact to 1e-15 from there on. A row: the longer line as for
    `subtract_line`, the number of points, their spacing.
    """
    strength, half, cos, sin, center_x = lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3], lines[k, 4]
    dy = y - lines[k, 5]
    spacing = lines[k, 7]
    for i in range(np.uint64(left), np.uint64(right)):
        dx = x[i] - center_x
        along, across = cos * dx + sin * dy, cos * dy - sin * dx
        pull_along, pull_across = _line_pull(along, across, half)
        ahead_x, ahead_y = _end_correction(along + half, across, spacing)
        behind_x, behind_y = _end_correction(along - half, across, spacing)
        pull_along = strength * (pull_along + (behind_x - ahead_x))
        pull_across = strength * (pull_across - (behind_y - ahead_y))
        beta_x[i] -= cos * pull_along - sin * pull_across
        beta_y[i] -= sin * pull_along + cos * pull_across


@inlined
def _end_correction(along: float, across: float, spacing: float) -> tuple[float, float]:
    """Sum over m of B_2m(1/2) / (2m) (spacing / (along + i across))^2m."""
    scale = spacing / (along * along + across * across)
    u, v = along * scale, -across * scale
    real, imaginary = u * u - v * v, 2.0 * u * v
    sum_x, sum_y = MIDPOINT[6] * real + MIDPOINT[5], MIDPOINT[6] * imaginary
    sum_x, sum_y = sum_x * real - sum_y * imaginary + MIDPOINT[4], sum_x * imaginary + sum_y * real
    sum_x, sum_y = sum_x * real - sum_y * imaginary + MIDPOINT[3], sum_x * imaginary + sum_y * real
    sum_x, sum_y = sum_x * real - sum_y * imaginary + MIDPOINT[2], sum_x * imaginary + sum_y * real
    sum_x, sum_y = sum_x * real - sum_y * imaginary + MIDPOINT[1], sum_x * imaginary + sum_y * real
    sum_x, sum_y = sum_x * real - sum_y * imaginary + MIDPOINT[0], sum_x * imaginary + sum_y * real
    return sum_x * real - sum_y * imaginary, sum_x * imaginary + sum_y * real
