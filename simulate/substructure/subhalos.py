"""Subhalos around the lens centre, as point masses or truncated NFW halos.

DeepLenseSim's `make_old_cdm`: masses from dN/dm ~ m^slope by the inverse distribution function, radius
uniform in r, x = r sin(angle), y = r cos(angle).
"""

import numpy as np

from schemas.substructure import Subhalos, TruncatedNFW
from simulate.batch import Deflectors
from simulate.quantiles import quantile
from simulate.streams import Streams
from simulate.substructure.halos import SHAPE, profile_parameters
from simulate.substructure.kinds import KINDS, Draw, Surroundings

PLACE = 3  # uniforms of mass, radius and angle


@KINDS.register("subhalos")
def draw_subhalos(kind: Subhalos, around: Surroundings, streams: Streams) -> Draw:
    """`count` subhalos for each system: mass, radius and angle, then the shape of those that have one."""
    systems = len(streams)
    owner = np.repeat(np.arange(systems), kind.count)
    extended = isinstance(kind.profile, TruncatedNFW)
    uniforms = streams.ragged(np.full(systems, kind.count), PLACE + SHAPE if extended else PLACE).T
    mass = quantile(kind.mass_msun, uniforms[0])
    radius = quantile(kind.radius_arcsec, uniforms[1])
    angle = 2 * np.pi * uniforms[2]
    parameters = {
        **profile_parameters(kind.profile, around, mass, owner, uniforms[PLACE:]),
        "center_x": around.center_x[owner] + radius * np.sin(angle),
        "center_y": around.center_y[owner] + radius * np.cos(angle),
    }
    per_system = mass.reshape(systems, kind.count)
    columns = {
        "subhalo_count": np.full(systems, float(kind.count)),
        "subhalo_mass_msun": per_system.sum(axis=1),
        "subhalo_mass_max_msun": per_system.max(axis=1),
    }
    return Draw((Deflectors(kind.profile.kind, owner, parameters, mass),), columns)
