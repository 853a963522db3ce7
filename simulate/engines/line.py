"""A line of mass: as the point masses it stands for, or its deflection when it is continuous."""

import numpy as np
from numpy.typing import NDArray

from simulate.batch import Array, Deflectors

Complex = NDArray[np.complex128]
# below this ratio of length to distance the logarithm loses digits and a series is exact
SHORT = 1e-4
# distances are no less: at an end point the logarithm is infinite
FLOOR_ARCSEC = 1e-25


def split_lines(group: Deflectors) -> tuple[Deflectors, ...]:
    """Lines as POINT_MASS where they have points, as LINE where they are continuous."""
    count = group.parameters["points"].astype(np.int64)
    continuous = np.flatnonzero(count == 0)
    parts = (_points_of(group, count), group.taken(group.owner[continuous], continuous))
    return tuple(part for part in parts if len(part.owner))


def _points_of(group: Deflectors, count: NDArray[np.int64]) -> Deflectors:
    line = np.repeat(np.arange(len(count)), count)
    p = {name: values[line] for name, values in group.parameters.items()}
    first = np.repeat(np.cumsum(count) - count, count)
    along = p["half_length"] * (2 * (np.arange(len(line)) - first) / (p["points"] - 1) - 1)
    return Deflectors(
        "POINT_MASS",
        group.owner[line],
        {
            "theta_E": p["theta_E"] / np.sqrt(p["points"]),
            "center_x": p["center_x"] + along * np.cos(p["angle"]),
            "center_y": p["center_y"] + along * np.sin(p["angle"]),
        },
    )


def line_deflection(
    x: Array, y: Array, theta_E: float, center_x: float, center_y: float, half_length: float, angle: float
) -> tuple[Array, Array]:
    """conj(alpha) = theta_E^2 / (z2 - z1) log((z - z1) / (z - z2)) with z1, z2 the ends; arcsec."""
    z = _floored((x - center_x) + 1j * (y - center_y))
    half = half_length * np.exp(1j * angle)
    short = 2 * half_length < SHORT * np.abs(z)
    conjugate = np.empty(z.shape, dtype=np.complex128)
    # artanh(u) / u = 1 + u^2 / 3 + ..., the next term is below 1e-17
    conjugate[short] = theta_E**2 / z[short] * (1 + (half / z[short]) ** 2 / 3)
    near = z[~short]
    # one logarithm of the ratio: a difference of two is wrong across the branch cut
    ratio = _floored(near + half) / _floored(near - half)
    conjugate[~short] = np.log(ratio) * theta_E**2 / (2 * half)
    return conjugate.real, -conjugate.imag


def _floored(z: Complex) -> Complex:
    return np.where(np.abs(z) < FLOOR_ARCSEC, FLOOR_ARCSEC, z)
