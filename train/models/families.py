"""Families of networks that people compare lens images with, and what was found out about their members.

Every name of timm's may be used; these are those that papers on the subject have tried. What they are
like is in families.json, written by `python -m benchmarks.models --facts`, so that a list needs no network
to be built.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from schemas.experiment import ModelOptions
from schemas.frozen import Frozen
from schemas.run import NetworkInput

FACTS = Path(__file__).with_name("families.json")
SIDES = (64, 150)


class Facts(Frozen):
    """What was found out about a network by building it for images of one channel and three outputs."""

    parameters: int
    made_for: int | None
    ways: dict[str, NetworkInput]
    trained: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Networks of one kind, the smallest first."""

    name: str
    feature: str
    names: tuple[str, ...]

    def members(self) -> Iterator[tuple[str, Facts]]:
        """Names and what is known of them."""
        known = facts()
        for name in self.names:
            yield name, known[name]

    def described(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        members = {name: known.model_dump(mode="json") for name, known in self.members()}
        return {"family": self.name, "feature": self.feature, "members": members}


# CvT, CCT, DenseNet with CBAM and ResNet-110/164 are not in timm and due later
FAMILIES = (
    Family("lensmill", "ours", ("lensmill_stem_vit", "lensmill_detail_cnn")),
    Family("ViT", "M1", ("vit_tiny_patch16_224", "vit_small_patch16_224")),
    Family("DeiT", "M1", ("deit_tiny_patch16_224", "deit_small_patch16_224")),
    Family("BEiT", "M1", ("beit_base_patch16_224",)),
    Family("Swin V2", "M1", ("swinv2_cr_tiny_224", "swinv2_tiny_window8_256")),
    Family("EfficientFormer", "M1", ("efficientformerv2_s0", "efficientformer_l1")),
    Family("PVT v2", "M1", ("pvt_v2_b0", "pvt_v2_b2")),
    Family("TNT", "M1", ("tnt_s_patch16_224",)),
    Family("FocalNet", "M1", ("focalnet_tiny_srf",)),
    Family("CaiT", "M1", ("cait_xxs24_224",)),
    Family("CoaT", "M1", ("coat_lite_tiny", "coat_lite_small", "coat_tiny")),
    Family("BotNet", "M1", ("botnet26t_256",)),
    Family("CoAtNet", "M1", ("coatnet_pico_rw_224", "coatnet_nano_rw_224")),
    Family("ConViT", "M1", ("convit_tiny",)),
    Family("CrossViT", "M1", ("crossvit_tiny_240",)),
    Family("LeViT", "M1", ("levit_128s",)),
    Family("PiT", "M1", ("pit_ti_224",)),
    Family("Twins", "M1", ("twins_svt_small", "twins_pcpvt_small")),
    Family("MaxViT", "M1", ("maxvit_pico_rw_256", "maxvit_tiny_tf_224")),
    Family("ResNet", "M2", ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
    Family("ResNeXt", "M2", ("resnext26ts", "resnext50_32x4d")),
    Family("Inception", "M2", ("inception_v3", "inception_v4", "inception_resnet_v2")),
    Family("DenseNet", "M2", ("densenet121", "densenet161", "densenet201")),
    Family("VGG", "M2", ("vgg16", "vgg19")),
    Family("EfficientNet", "M2", ("efficientnet_b0",)),
    Family("BiT", "M2", ("resnetv2_50x1_bit",)),
    Family("NFNet", "M2", ("nfnet_l0", "dm_nfnet_f0")),
)


def families(pattern: str = "") -> list[Family]:
    """Families whose name or one of whose members matches; `pattern` may hold * and ?."""

    def fits(name: str) -> bool:
        low = name.lower()
        return pattern.lower() in low or fnmatch(low, pattern.lower())

    return [one for one in FAMILIES if fits(one.name) or any(fits(name) for name in one.names)]


def facts() -> dict[str, Facts]:
    """What families.json says, by name."""
    return TypeAdapter(dict[str, Facts]).validate_json(FACTS.read_bytes())


def found_out(name: str) -> Facts:
    """What is true of a network here and now, by building it."""
    import timm

    from train.models import assemble
    from train.models.registry import MODELS, Shape

    made = {side: assemble(ModelOptions(name=name), Shape(1, side, 3)) for side in SIDES}
    parameters = sum(one.numel() for one in made[SIDES[0]].network.parameters())
    trained = [] if name in MODELS else timm.list_pretrained(f"{name}.*")
    return Facts(
        parameters=parameters,
        made_for=None if name in MODELS else timm.get_pretrained_cfg(name).input_size[-1],  # type: ignore[union-attr]
        ways={str(side): one.way for side, one in made.items()},
        trained=tuple(trained),
    )
