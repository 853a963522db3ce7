"""Engines turn lens systems into noise-free images; recipes choose one by its name."""

from simulate.engines import lenstronomy
from simulate.engines.registry import ENGINES, Engine

__all__ = ["ENGINES", "Engine", "lenstronomy"]
