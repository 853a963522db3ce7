"""What a network looks at: for each image a map that is nowhere negative and sums to one.

Integrated gradients work for any network (Sundararajan, Taly and Yan 2017). Grad-CAM shows the last stage of
convolutions (Selvaraju et al. 2017; cell by cell as Draelos and Carin 2020), and attention weighted with its
gradients the patches of transformers (after Chefer, Gur and Wolf 2021).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from schemas.run import NetworkInput
from train.evaluation.attention import attended, kept_attention
from train.models.image_size import SizedNetwork

# From outputs (images, outputs) to the one number of each image that is to be explained.
Answer = Callable[[Tensor], Tensor]
Maps = NDArray[np.float64]
# On the way from an image of bare sky to the image: more change maps by less than their smoothing does.
STEPS = 8
# Of maps at full resolution, in parts of the image's side; single pixels are noise.
SMOOTHING = 1 / 40
# A stage of fewer cells a side shows nothing.
FEWEST_CELLS = 4


def gradient_map(network: nn.Module, images: Tensor, answer: Answer) -> Maps:
    """Integrated gradients of stretched images (N, channels, y, x), smoothed."""
    sky = images.flatten(2).median(dim=2).values[..., None, None]
    total = torch.zeros_like(images)
    with borrowed(network):
        for step in range(STEPS):
            seen = (sky + (images - sky) * ((step + 0.5) / STEPS)).requires_grad_()
            total += torch.autograd.grad(answer(network(seen).float()).sum(), seen)[0]
    counted = ((images - sky) * total).abs().sum(dim=1, keepdim=True)
    return _normalised(_smoothed(counted))


def grad_cam(network: nn.Module, images: Tensor, answer: Answer) -> Maps | None:
    """The last stage of convolutions with a grid worth showing, by its gradients; None for other networks."""
    inner, way = _unwrapped(network, images)
    with borrowed(network), _kept_stages(inner) as stages:
        given = answer(network(images.clone().requires_grad_()).float()).sum()
        grids = [stage for stage in stages if min(stage.shape[-2:]) >= FEWEST_CELLS]
        if not grids:
            return None
        stage = grids[-1]
        (gradient,) = torch.autograd.grad(given, stage)
    # cell by cell, not by the mean gradient: where maxima are pooled, others have no part in it
    return _normalised(_placed((gradient * stage).sum(dim=1, keepdim=True).clamp(min=0).detach(), way))


def attention_map(network: nn.Module, images: Tensor, answer: Answer) -> Maps | None:
    """The patches that a transformer attends to; None where attention is in windows or not to be found."""
    inner, way = _unwrapped(network, images)
    with borrowed(network), kept_attention(inner) as kept:
        given = answer(network(images.clone().requires_grad_()).float()).sum()
        grid = attended(kept, given, int(getattr(inner, "num_prefix_tokens", 0)))
    return None if grid is None else _normalised(_placed(grid.detach(), way))


def residual_map(autoencoder: nn.Module, images: Tensor) -> Maps:
    """What an anomaly score is made of: the squared residual in units of ordinary ones."""
    assert isinstance(autoencoder.variance, Tensor)
    with borrowed(autoencoder), torch.no_grad():
        returned = autoencoder.reconstruct(images)  # type: ignore[operator]
    counted = (returned - images) ** 2 / autoencoder.variance
    return _normalised(_smoothed(counted.sum(dim=1, keepdim=True)))


@contextmanager
def borrowed(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode with gradients of its input alone; given back as it was."""
    training = [(one, one.training) for one in network.modules()]
    learned = [(one, one.requires_grad) for one in network.parameters()]
    try:
        network.eval()
        for parameter, _ in learned:
            parameter.requires_grad_(False)
        with torch.inference_mode(mode=False), torch.enable_grad():
            yield
    finally:
        for module, was in training:
            module.training = was
        for parameter, needed in learned:
            parameter.requires_grad_(needed)


@contextmanager
def _kept_stages(network: nn.Module) -> Iterator[list[Tensor]]:
    """What the stages gave, as (images, channels, y, x), first stage first."""
    kept: list[Tensor] = []
    hooks = [stage.register_forward_hook(_keeper(kept, channels)) for stage, channels in _stages(network)]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _stages(network: nn.Module) -> Iterator[tuple[nn.Module, int | None]]:
    """The stages that timm lists, with their channels; of our own convolutional networks every layer."""
    if not hasattr(network, "feature_info"):
        if not any(isinstance(one, nn.MultiheadAttention) for one in network.modules()):
            yield from ((one, None) for one in network.modules() if not list(one.children()))
        return
    listed: Any = network.feature_info
    for one in listed or []:
        # some names are of modules that only a network cut into features has
        with suppress(AttributeError, KeyError, TypeError):
            yield network.get_submodule(str(one["module"])), int(one["num_chs"])


def _keeper(kept: list[Tensor], channels: int | None) -> Callable[..., None]:
    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            if channels in (None, output.shape[1]):
                kept.append(output)
            elif output.shape[3] == channels:
                # windowed transformers have channels last
                kept.append(output.movedim(3, 1))

    return keep


def _unwrapped(network: nn.Module, images: Tensor) -> tuple[nn.Module, NetworkInput]:
    """The network behind padding or resizing, and what that did."""
    if isinstance(network, SizedNetwork):
        return network.network, network.way
    side = images.shape[-1]
    return network, NetworkInput(method="unchanged", image_side=side, network_side=side)


def _placed(grid: Tensor, way: NetworkInput) -> Tensor:
    """A coarse grid (N, 1, rows, columns) on the pixels of the image."""
    whole = functional.interpolate(
        grid.float(), size=(way.network_side, way.network_side), mode="bilinear", align_corners=False
    )
    side, network = way.image_side, way.network_side
    if way.method == "padded":
        first = (network - side) // 2
        return whole[..., first : first + side, first : first + side]
    return functional.interpolate(whole, size=(side, side), mode="bilinear", align_corners=False)


def _smoothed(maps: Tensor) -> Tensor:
    """By a Gaussian that is cut at three sigma; edges are mirrored."""
    sigma = max(1.0, SMOOTHING * maps.shape[-1])
    reach = min(round(3 * sigma), maps.shape[-1] - 1)
    offset = torch.arange(-reach, reach + 1, device=maps.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = kernel / kernel.sum()
    mirrored = functional.pad(maps.float(), (reach, reach, reach, reach), mode="reflect")
    rows = functional.conv2d(mirrored, kernel[None, None, :, None])
    return functional.conv2d(rows, kernel[None, None, None, :])


def _normalised(maps: Tensor) -> Maps:
    """Sums of one; a map without anything is the same everywhere."""
    values = maps[:, 0].detach().double().cpu().numpy()
    total = values.sum(axis=(1, 2), keepdims=True)
    even = np.full_like(values, 1 / values[0].size)
    return np.where(total > 0, values / np.where(total > 0, total, 1), even)
