"""The attention of transformers, computed where it can be seen."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@contextmanager
def kept_attention(network: nn.Module) -> Iterator[list[Tensor]]:
    """Attention (images, heads, tokens, tokens) of each layer, with its gradients.

    Fused kernels, which show none, are off meanwhile.
    """
    kept: list[Tensor] = []
    undo: list[Callable[[], object]] = []
    try:
        for module in network.modules():
            if isinstance(module, nn.MultiheadAttention):
                undo.append(_explicit(module, kept))
            elif isinstance(getattr(module, "fused_attn", None), bool) and hasattr(module, "attn_drop"):
                undo += _unfused(module, kept)
        yield kept
    finally:
        for restore in undo:
            restore()


def _unfused(module: nn.Module, kept: list[Tensor]) -> list[Callable[[], object]]:
    """timm's: what leaves the dropout of attention is what values are weighted with."""

    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        kept.append(output)

    was = module.fused_attn
    hook = module.attn_drop.register_forward_hook(keep)  # type: ignore[union-attr]
    setattr(module, "fused_attn", False)  # noqa: B010 - torch has no type for it
    return [hook.remove, partial(setattr, module, "fused_attn", was)]


def _explicit(module: nn.MultiheadAttention, kept: list[Tensor]) -> Callable[[], object]:
    """torch's: the weights that it returns are no part of what its output is made from."""

    def forward(query: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        heads = module.num_heads
        projected = functional.linear(query, module.in_proj_weight, module.in_proj_bias)
        parts = [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=2)]
        weights = torch.softmax(parts[0] @ parts[1].transpose(2, 3) / math.sqrt(parts[0].shape[-1]), dim=3)
        kept.append(weights)
        return module.out_proj((weights @ parts[2]).transpose(1, 2).flatten(2)), None

    module.forward = forward  # type: ignore[method-assign]
    return partial(module.__dict__.pop, "forward")


def attended(weights: list[Tensor], given: Tensor, prefix: int) -> Tensor | None:
    """How much a number gains by the attention to each patch, over all layers: (images, 1, rows, columns).

    Attention is weighted with its gradient. Handing it on from layer to layer, as rollout does, was tried: on
    planted tasks, half as much of the map was in the right place.
    """
    if not weights:
        return None
    images, _, _, count = weights[-1].shape
    side = math.isqrt(count - prefix)
    if side**2 + prefix != count or any(one.shape[-1] != count or len(one) != images for one in weights):
        return None
    gradients = torch.autograd.grad(given, weights, allow_unused=True)
    gained = [
        (one * gradient).sum(dim=(1, 2))
        for one, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    ]
    if not gained:
        return None
    total = torch.stack(gained).sum(dim=0).clamp(min=0)
    return total[:, prefix:].reshape(images, 1, side, side)
