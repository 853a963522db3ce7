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

    timm's networks say what their layers are; in others each module with parameters is one.
    """
    bare = network.network if isinstance(network, SizedNetwork) else network
    groups = param_groups_layer_decay(bare, options.weight_decay, layer_decay=layer_decay)
    return [
        {
            "params": one["params"],
            "weight_decay": one["weight_decay"],
            "lr": options.learning_rate * one["lr_scale"],
        }
        for one in groups
    ]
