"""A vortex of an axion condensate: a straight line of mass through the lens centre.

DeepLenseSim's `make_vortex`: equal point masses at linspace(-L, L), both ends included, turned by an angle
uniform in [0, 2 pi). L is the de Broglie wavelength at the lens, inversely proportional to the axion mass.
"""

import numpy as np

from schemas.substructure import Vortex
from simulate.batch import Deflectors
from simulate.quantiles import quantile
from simulate.streams import Streams
from simulate.substructure.kinds import KINDS, Draw, Surroundings

REFERENCE_MASS_EV = 1e-22


@KINDS.register("vortex")
def draw_vortex(kind: Vortex, around: Surroundings, streams: Streams) -> Draw:
    """One line for each system: axion mass, angle and line mass from three uniforms."""
    uniforms = streams.random(3).T
    axion_mass = quantile(kind.axion_mass_ev, uniforms[0])
    angle = 2 * np.pi * uniforms[1]
    mass = quantile(kind.mass_msun, uniforms[2])
    half_length = kind.half_length_at_1e22_arcsec * REFERENCE_MASS_EV / axion_mass
    owner = np.arange(len(streams))
    points = 0 if kind.points == "continuous" else kind.points
    line = Deflectors(
        "LINE",
        owner,
        {
            "theta_E": around.einstein_radius(mass, owner),
            "center_x": around.center_x,
            "center_y": around.center_y,
            "half_length": half_length,
            "angle": angle,
            "points": np.full(len(streams), float(points)),
        },
        mass,
    )
    columns = {
        "axion_mass_ev": axion_mass,
        "vortex_mass_msun": mass,
        "vortex_half_length_arcsec": half_length,
        "vortex_angle_rad": angle,
    }
    return Draw((line,), columns)
