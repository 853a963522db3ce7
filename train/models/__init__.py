"""Networks: our own, one family per file, and all of timm's by their names."""

from train.models import autoencoders, stem_vit
from train.models.registry import AUTOENCODERS, MODELS, ModelCard, build, models

__all__ = ["AUTOENCODERS", "MODELS", "ModelCard", "autoencoders", "build", "models", "stem_vit"]
