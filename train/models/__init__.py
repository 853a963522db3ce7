"""Networks: our own, one family per file, and all of timm's by their names."""

from train.models import stem_vit
from train.models.assembly import Assembled, assemble, build, rebuild
from train.models.registry import MODELS, ModelCard, models

__all__ = ["MODELS", "Assembled", "ModelCard", "assemble", "build", "models", "rebuild", "stem_vit"]
