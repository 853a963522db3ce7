"""Networks: our own, one family per file, and all of timm's by their names."""

from train.models import autoencoders, detail_cnn, stem_vit
from train.models.assembly import Assembled, assemble, build, rebuild
from train.models.registry import AUTOENCODERS, MODELS, ModelCard, models

__all__ = [
    "AUTOENCODERS",
    "MODELS",
    "Assembled",
    "ModelCard",
    "assemble",
    "autoencoders",
    "build",
    "detail_cnn",
    "models",
    "rebuild",
    "stem_vit",
]
