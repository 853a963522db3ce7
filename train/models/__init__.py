"""Networks: our own, one family per file, and all of timm's by their names."""

from train.models import stem_vit
from train.models.registry import MODELS, ModelCard, build, models

__all__ = ["MODELS", "ModelCard", "build", "models", "stem_vit"]
