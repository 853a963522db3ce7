"""Subhalos of cold dark matter, as point masses or truncated NFW halos."""

from schemas.substructure import ColdPopulation
from simulate.streams import Streams
from simulate.substructure.halos import profile_parameters
from simulate.substructure.kinds import KINDS, Draw, Surroundings
from simulate.substructure.population import draw_population


@KINDS.register("cold")
def draw_cold(kind: ColdPopulation, around: Surroundings, streams: Streams) -> Draw:
    """A population for each system."""
    halos = draw_population(kind, around, streams)
    parameters = profile_parameters(kind.profile, around, halos.mass, halos.owner, halos.shape)
    return halos.draw(kind.profile.kind, parameters, around)
