"""From a name to a network that fits the data."""

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
from torch import nn

from schemas.errors import DataError
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


def build(name: str, shape: Shape) -> nn.Module:
    """A freshly initialised network that is known to take these images and give these outputs."""
    network = MODELS[name](shape) if name in MODELS else _from_timm(name, shape)
    return _tried(name, shape, network)


def _from_timm(name: str, shape: Shape) -> nn.Module:
    if not timm.is_model(name):
        known = [card.name for card in models()]
        error = unknown_name("model", name, known)
        error.expected = (
            f"one of ours ({', '.join(MODELS)}) or of timm's {len(known) - len(MODELS) - len(AUTOENCODERS)}"
        )
        error.advice = error.advice or "`lensmill models` lists them"
        raise error
    try:
        timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise DataError(
            f"timm has no weights of the name {name!r}: {error}", advice="leave out the tag"
        ) from error
    options = {"pretrained": False, "in_chans": shape.channels, "num_classes": shape.outputs}
    try:
        try:
            return _created(name, **options, img_size=shape.side)
        except TypeError:
            # convolutional networks take any size and have no such argument
            return _created(name, **options)
    except Exception as error:
        raise _unmet(name, shape, error) from error


def _created(name: str, **options: object) -> nn.Module:
    network = timm.create_model(name, **options)  # type: ignore[arg-type]
    assert isinstance(network, nn.Module)
    return network


def _tried(name: str, shape: Shape, network: nn.Module) -> nn.Module:
    """Two empty images through the network, before a long training finds out."""
    network.eval()
    try:
        with torch.no_grad():
            outputs = network(torch.zeros(2, shape.channels, shape.side, shape.side))
    except Exception as error:
        # hundreds of authors wrote these networks; what they raise on a wrong size is anything
        raise _unmet(name, shape, error) from error
    if outputs.shape != (2, shape.outputs):
        raise DataError(f"model {name!r} gives {tuple(outputs.shape)}", expected=f"(2, {shape.outputs})")
    return network.train()


def _unmet(name: str, shape: Shape, error: Exception) -> DataError:
    wanted = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    made_for = f"; it was made for {wanted.input_size[-1]} x {wanted.input_size[-1]}" if wanted else ""
    reason = str(error).split("\n")[0]
    return DataError(
        f"model {name!r} cannot take images of {shape.side} x {shape.side} pixels: {reason}",
        expected=f"a model whose input size can be met{made_for}",
        advice="choose another model (`lensmill models`), or simulate images of a size that it takes",
    )
