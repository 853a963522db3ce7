"""Models to be given away: exported to a folder of their own, and loaded with few words."""

from train.release.folder import export
from train.release.model import Model, load_model

__all__ = ["Model", "export", "load_model"]
