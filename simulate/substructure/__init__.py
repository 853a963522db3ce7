"""Substructure kinds, one per file, filed under the name that recipes use.

A kind turns its recipe and the random streams of its samples into deflectors and columns. `KINDS` and the
tagged union in `schemas.substructure` name the same kinds; a test holds them together. `population` and
`halos` are what several kinds share.
"""

from simulate.substructure import cold, none, self_interacting, subhalos, vortex, vortices, warm
from simulate.substructure.kinds import KINDS, Draw, Surroundings

__all__ = [
    "KINDS",
    "Draw",
    "Surroundings",
    "cold",
    "none",
    "self_interacting",
    "subhalos",
    "vortex",
    "vortices",
    "warm",
]
