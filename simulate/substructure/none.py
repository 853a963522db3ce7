"""The smooth lens alone."""

from collections.abc import Sequence

from numpy.random import Generator

from schemas.substructure import NoSubstructure
from simulate.substructure.kinds import KINDS, Draw, Surroundings


@KINDS.register("none")
def draw_none(kind: NoSubstructure, around: Surroundings, streams: Sequence[Generator]) -> Draw:
    """Nothing is drawn and nothing added."""
    return Draw((), {})
