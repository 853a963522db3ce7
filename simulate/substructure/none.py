"""The smooth lens alone."""

from schemas.substructure import NoSubstructure
from simulate.streams import Streams
from simulate.substructure.kinds import KINDS, Draw, Surroundings


@KINDS.register("none")
def draw_none(kind: NoSubstructure, around: Surroundings, streams: Streams) -> Draw:
    """Nothing is drawn and nothing added."""
    return Draw((), {})
