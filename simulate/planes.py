"""Two uniform numbers in, two parameters of a pair out: ellipticities, shears, positions.

As of single priors (`simulate.quantiles`), each is a closed formula: a modulus from the first number, a
direction from the second.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from schemas.planes import AroundLens, Disc, IsotropicNormal, Pair, Polar
from schemas.registry import Registry
from simulate.quantiles import Array, quantile

Columns = dict[str, Array]
Both = tuple[Array, Array]

# the prior, a uniform each, the pair, and the columns drawn so far -> the pair's parameters
PLANES: Registry[Callable[[Any, Array, Array, Pair, Columns], Both]] = Registry("plane prior")


@PLANES.register("isotropic_normal")
def _isotropic_normal(
    prior: IsotropicNormal, first: Array, second: Array, pair: Pair, drawn: Columns
) -> Both:
    """The modulus follows Rayleigh's law, cut: 1 - exp(-modulus^2 / (2 sigma^2)) is uniform."""
    most = np.expm1(-(prior.max_modulus**2) / (2 * prior.sigma**2))
    modulus = prior.sigma * np.sqrt(-2 * np.log1p(first * most))
    return _from_polar(np.minimum(modulus, prior.max_modulus), 2 * np.pi * second)


@PLANES.register("polar")
def _polar(prior: Polar, first: Array, second: Array, pair: Pair, drawn: Columns) -> Both:
    modulus = quantile(prior.modulus, first)
    if prior.angle is None:
        return _from_polar(modulus, 2 * np.pi * second)
    return _from_polar(modulus, pair.phases * quantile(prior.angle, second))


@PLANES.register("disc")
def _disc(prior: Disc, first: Array, second: Array, pair: Pair, drawn: Columns) -> Both:
    return _from_polar(prior.radius * np.sqrt(first), 2 * np.pi * second)


@PLANES.register("around_lens")
def _around_lens(prior: AroundLens, first: Array, second: Array, pair: Pair, drawn: Columns) -> Both:
    radius = prior.radius_theta_E * drawn["theta_E"] * np.sqrt(first)
    x, y = _from_polar(radius, 2 * np.pi * second)
    return drawn["center_x"] + x, drawn["center_y"] + y


def _from_polar(modulus: Array, phase: Array) -> Both:
    return modulus * np.cos(phase), modulus * np.sin(phase)
