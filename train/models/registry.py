"""Names that an experiment may give to its model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
from torch import nn

from schemas.errors import DataError, UnknownNameError
from schemas.registry import Registry, unknown_name


@dataclass(frozen=True)
class Shape:
    """What a network takes and gives."""

    channels: int
    side: int
    outputs: int


@dataclass(frozen=True)
class ModelCard:
    """What a list of models shows of each."""

    name: str
    origin: str


# our own models; timm's are found by their names
MODELS: Registry[Callable[[Shape], nn.Module]] = Registry("model")
# networks of another kind: told the size of their bottleneck, and whether it is to be a distribution
AUTOENCODERS: Registry[Callable[[Shape, bool], nn.Module]] = Registry("autoencoder")


def models(pattern: str = "") -> list[ModelCard]:
    """Names that an experiment may use, ours first; `pattern` may hold * and ?."""
    ours = [ModelCard(name, "lensmill") for name in MODELS if not pattern or _matches(name, pattern)]
    ours += [
        ModelCard(name, "lensmill, for anomalies")
        for name in AUTOENCODERS
        if not pattern or _matches(name, pattern)
    ]
    theirs = timm.list_models(f"*{pattern}*" if pattern and not set("*?") & set(pattern) else pattern)
    return ours + [ModelCard(name, "timm") for name in theirs]


def _matches(name: str, pattern: str) -> bool:
    from fnmatch import fnmatch

    return fnmatch(name, pattern) or pattern in name


def create(name: str, channels: int, outputs: int, options: dict[str, Any]) -> Any:
    """timm's network of this name; `options` are what only some take."""
    return timm.create_model(name, in_chans=channels, num_classes=outputs, **options)


def unknown_model(name: str) -> UnknownNameError:
    """The error for a name that is nobody's; timm's are too many to be listed in it."""
    known = [card.name for card in models()]
    error = unknown_name("model", name, known)
    theirs = len(known) - len(MODELS) - len(AUTOENCODERS)
    error.expected = f"one of ours ({', '.join(MODELS)}) or of timm's {theirs}"
    error.advice = error.advice or "`lensmill models` lists them"
    return error


def check_name(name: str) -> None:
    """Refuse a name that is neither ours nor timm's, and a tag that timm does not know."""
    if name in MODELS:
        return
    if not timm.is_model(name):
        raise unknown_model(name)
    try:
        timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise DataError(
            f"timm has no weights of the name {name!r}: {error}", advice="leave out the tag"
        ) from error
