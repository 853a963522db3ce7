"""Which parameters decay, and how fast each layer learns."""

from typing import Any

from timm.optim._param_groups import param_groups_layer_decay
from torch import nn

from schemas.experiment import Optimiser
from train.models.image_size import SizedNetwork


def parameter_groups(network: nn.Module, options: Optimiser) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and embeddings of one row do not."""
    if options.layer_decay is not None:
        return _by_layer(network, options, options.layer_decay)
    parameters = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]


def _by_layer(network: nn.Module, options: Optimiser, layer_decay: float) -> list[dict[str, Any]]:
    """The last layer learns at the full rate, each one before it slower by `layer_decay`.

    timm's networks say what their layers are; in others they are counted by depth.
    """
    bare = network.network if isinstance(network, SizedNetwork) else network
    if hasattr(bare, "group_matcher"):
        groups = param_groups_layer_decay(bare, options.weight_decay, layer_decay=layer_decay)
        return [_group(one["params"], options, one["weight_decay"], one["lr_scale"]) for one in groups]
    layers = layers_of(bare)
    return [
        _group(some, options, options.weight_decay * matrices, layer_decay ** (len(layers) - 1 - depth))
        for depth, layer in enumerate(layers)
        for matrices in (True, False)
        if (some := [one for one in layer if (one.ndim > 1) == matrices])
    ]


def _group(parameters: list[Any], options: Optimiser, weight_decay: float, scale: float) -> dict[str, Any]:
    return {"params": parameters, "weight_decay": weight_decay, "lr": options.learning_rate * scale}


def layers_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """Trainable parameters by layer, from the images to the outputs; lists and sequences are unrolled."""
    own = [one for one in network.parameters(recurse=False) if one.requires_grad]
    layers = [own] if own else []
    for part in network.children():
        some = [one for one in part.parameters() if one.requires_grad]
        if isinstance(part, nn.Sequential | nn.ModuleList | nn.TransformerEncoder):
            layers += layers_of(part)
        elif layers and all(one.ndim == 1 for one in some):
            # a normalisation belongs to what it follows
            layers[-1] += some
        elif some:
            layers.append(some)
    return layers
