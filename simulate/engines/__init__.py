"""Engines turn lens systems into noise-free images; recipes choose one by its name."""

from simulate.engines import fused, reference
from simulate.engines.registry import DEFLECTIONS, ENGINES, Engine, render_bands

__all__ = ["DEFLECTIONS", "ENGINES", "Engine", "fused", "reference", "render_bands"]
