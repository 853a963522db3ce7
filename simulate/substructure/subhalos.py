"""Subhalos as point masses around the lens centre.

DeepLenseSim's `make_old_cdm`: masses from dN/dm ~ m^slope by the inverse distribution function, radius
uniform in r, x = r sin(angle), y = r cos(angle).
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from schemas.substructure import Subhalos
from simulate.batch import Deflectors
from simulate.quantiles import quantile
from simulate.substructure.kinds import KINDS, Draw, Surroundings


@KINDS.register("subhalos")
def draw_subhalos(kind: Subhalos, around: Surroundings, streams: Sequence[Generator]) -> Draw:
    """`count` subhalos for each system: mass, radius and angle from three uniforms each."""
    uniforms = np.array([stream.random((kind.count, 3)) for stream in streams]).reshape(-1, 3)
    owner = np.repeat(np.arange(len(streams)), kind.count)
    mass = quantile(kind.mass_msun, uniforms[:, 0])
    radius = quantile(kind.radius_arcsec, uniforms[:, 1])
    angle = 2 * np.pi * uniforms[:, 2]
    deflectors = Deflectors(
        kind.profile,
        owner,
        {
            "theta_E": around.einstein_radius(mass, owner),
            "center_x": around.center_x[owner] + radius * np.sin(angle),
            "center_y": around.center_y[owner] + radius * np.cos(angle),
        },
    )
    per_system = mass.reshape(len(streams), kind.count)
    columns = {
        "subhalo_count": np.full(len(streams), float(kind.count)),
        "subhalo_mass_msun": per_system.sum(axis=1),
        "subhalo_mass_max_msun": per_system.max(axis=1),
    }
    return Draw((deflectors,), columns)
