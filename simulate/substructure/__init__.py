"""Substructure kinds, one per file, filed under the name that recipes use.

A kind turns its recipe and the random streams of its samples into deflectors and columns. `KINDS` and the
tagged union in `schemas.substructure` name the same kinds; a test holds them together.
"""

from simulate.substructure import none, subhalos, vortex
from simulate.substructure.kinds import KINDS, Draw, Surroundings

__all__ = ["KINDS", "Draw", "Surroundings", "none", "subhalos", "vortex"]
