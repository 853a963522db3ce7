"""From magnitudes to the amplitudes of light profiles."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma

Array = NDArray[np.float64]


def magnitude_to_flux(magnitude: Array, zero_point: float) -> Array:
    """Electrons per second of a source of this magnitude."""
    return np.asarray(np.float_power(10.0, -0.4 * (magnitude - zero_point)))


def sersic_flux(R_sersic: Array, n_sersic: Array) -> Array:
    """Total flux of a Sersic profile of amplitude 1, in amplitude x arcsec2.

    With lenstronomy's b_n = 1.9992 n - 0.3271, so that magnitudes mean the same there and here; R_sersic is
    the product-averaged radius, hence no axis ratio.
    """
    b_n = np.maximum(1.9992 * n_sersic - 0.3271, 1e-5)
    shape = n_sersic * np.exp(b_n) / b_n ** (2 * n_sersic) * gamma(2 * n_sersic)
    return np.asarray(2 * np.pi * R_sersic**2 * shape)


def sersic_amplitude(magnitude: Array, zero_point: float, R_sersic: Array, n_sersic: Array) -> Array:
    """lenstronomy's `amp` of a Sersic source of this magnitude."""
    return magnitude_to_flux(magnitude, zero_point) / sersic_flux(R_sersic, n_sersic)
