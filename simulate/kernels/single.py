"""Sums over many point masses in single precision: half the time, twice the numbers per register.

Single precision keeps seven digits of a distance only if it is not the difference of two large numbers, so
distances are counted in whole pixels from the pixel nearest to the mass. Positions stay in double precision;
what is lost is 1e-7 of each deflection.
"""

from typing import Any

import numpy as np

from simulate.kernels.compiled import inlined

ONE = np.float32(1.0)
# of squared distances: four of these multiplied are still a normal number
FLOOR_ARCSEC2 = np.float32(1e-9)
# masses whose pulls are summed as singles, before the sum goes on as a double
TOGETHER = 32


@inlined
def prepare(x: Any, points: Any, first: Any, last: Any, prepared: Any) -> None:
    """Nearest column, distance from there and theta_E^2 of each mass, as singles."""
    step = x[1] - x[0]
    for k in range(first, last):
        nearest = np.floor((points[1, k] - x[0]) / step + 0.5)
        prepared[0, k - first] = nearest
        prepared[1, k - first] = points[1, k] - (x[0] + nearest * step)
        prepared[2, k - first] = points[0, k]


@inlined
def subtract_points(
    x: Any,
    y: Any,
    beta_x: Any,
    beta_y: Any,
    points: Any,
    first: Any,
    last: Any,
    prepared: Any,
    pull_x: Any,
    pull_y: Any,
    columns: Any,
) -> None:
    """`deflections.subtract_points` of prepared masses; the last three are buffers of singles."""
    step = np.float32(x[1] - x[0])
    for i in range(x.size):
        columns[i] = np.float32(i)
    for start in range(first, last, TOGETHER):
        stop = min(start + TOGETHER, last)
        for i in range(x.size):
            pull_x[i] = np.float32(0.0)
            pull_y[i] = np.float32(0.0)
        _add_pulls(step, y, points, first, start, stop, prepared, pull_x, pull_y, columns)
        for i in range(x.size):
            beta_x[i] -= np.float64(pull_x[i])
            beta_y[i] -= np.float64(pull_y[i])


@inlined
def _add_pulls(
    step: Any,
    y: Any,
    points: Any,
    first: Any,
    start: Any,
    stop: Any,
    prepared: Any,
    pull_x: Any,
    pull_y: Any,
    columns: Any,
) -> None:
    """Masses `start` to `stop` on a row of singles; four share a division."""
    fours = stop - (stop - start) % 4
    for k in range(start, fours, 4):
        p = k - first
        na, nb, nc, nd = prepared[0, p], prepared[0, p + 1], prepared[0, p + 2], prepared[0, p + 3]
        fa, fb, fc, fd = prepared[1, p], prepared[1, p + 1], prepared[1, p + 2], prepared[1, p + 3]
        ta, tb, tc, td = prepared[2, p], prepared[2, p + 1], prepared[2, p + 2], prepared[2, p + 3]
        ya, yb = np.float32(y - points[2, k]), np.float32(y - points[2, k + 1])
        yc, yd = np.float32(y - points[2, k + 2]), np.float32(y - points[2, k + 3])
        # no column is nearer to a mass than its fraction of a pixel
        ya2, yb2 = max(ya * ya, FLOOR_ARCSEC2 - fa * fa), max(yb * yb, FLOOR_ARCSEC2 - fb * fb)
        yc2, yd2 = max(yc * yc, FLOOR_ARCSEC2 - fc * fc), max(yd * yd, FLOOR_ARCSEC2 - fd * fd)
        for i in range(columns.size):
            column = columns[i]
            dxa, dxb = (column - na) * step - fa, (column - nb) * step - fb
            dxc, dxd = (column - nc) * step - fc, (column - nd) * step - fd
            ra, rb, rc, rd = dxa * dxa + ya2, dxb * dxb + yb2, dxc * dxc + yc2, dxd * dxd + yd2
            rab, rcd = ra * rb, rc * rd
            inverse = ONE / (rab * rcd)
            over_ab, over_cd = inverse * rcd, inverse * rab
            pull_a, pull_b = ta * (over_ab * rb), tb * (over_ab * ra)
            pull_c, pull_d = tc * (over_cd * rd), td * (over_cd * rc)
            pull_x[i] += (pull_a * dxa + pull_b * dxb) + (pull_c * dxc + pull_d * dxd)
            pull_y[i] += (pull_a * ya + pull_b * yb) + (pull_c * yc + pull_d * yd)
    for k in range(fours, stop):
        nearest, fraction, strength = (
            prepared[0, k - first],
            prepared[1, k - first],
            prepared[2, k - first],
        )
        dy = np.float32(y - points[2, k])
        dy2 = max(dy * dy, FLOOR_ARCSEC2 - fraction * fraction)
        for i in range(columns.size):
            dx = (columns[i] - nearest) * step - fraction
            pull = strength / (dx * dx + dy2)
            pull_x[i] += pull * dx
            pull_y[i] += pull * dy
