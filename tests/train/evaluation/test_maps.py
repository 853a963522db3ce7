"""Maps of networks that learned a planted task: one quadrant alone decides."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.experiment import ModelOptions
from train.evaluation.maps import attention_map, grad_cam, gradient_map, residual_map
from train.models.assembly import assemble
from train.models.autoencoders import build_autoencoder
from train.models.registry import Shape

SIDE = 32
METHODS: dict[str, Callable[..., Any]] = {
    "gradients": gradient_map,
    "grad_cam": grad_cam,
    "attention": attention_map,
}
# resized or padded ones too: their maps must come back to the pixels of the image
CASES = [
    ("lensmill_stem_vit", "gradients"),
    ("lensmill_stem_vit", "attention"),
    ("test_vit", "gradients"),
    ("test_vit", "attention"),
    ("test_resnet", "gradients"),
    ("test_resnet", "grad_cam"),
    ("lensmill_detail_cnn", "grad_cam"),
]


def planted(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise; in the upper right quadrant of the second class, there is a spot somewhere."""
    stream = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, SIDE, SIDE, generator=stream)
    label = torch.arange(count) % 2
    corners = torch.randint(2, SIDE // 2 - 6, (count, 2), generator=stream)
    for image, is_spotted, (row, column) in zip(images, label.tolist(), corners.tolist(), strict=True):
        if is_spotted:
            image[0, row : row + 4, SIDE // 2 + column : SIDE // 2 + column + 4] += 4
    return images, label


def share_in_quadrant(maps: Any) -> float:
    """Of the mass of maps, where the spots are."""
    return float(np.mean(maps[:, : SIDE // 2, SIDE // 2 :].sum(axis=(1, 2))))


@lru_cache
def trained(name: str) -> nn.Module:
    """A network that tells them."""
    torch.manual_seed(1)
    network = assemble(ModelOptions(name=name), Shape(1, SIDE, 2)).network.train()
    descent = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for step in range(60):
        images, label = planted(32, step)
        loss = functional.cross_entropy(network(images), label)
        descent.zero_grad()
        loss.backward()
        descent.step()
    descent.zero_grad()
    return network.eval()


def spotted(output: Tensor) -> Tensor:
    """What is explained: how much rather the second class."""
    return output[:, 1] - output[:, 0]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_maps_lie_in_the_quadrant_that_decides(name: str, method: str) -> None:
    network = trained(name)
    images, label = planted(32, 1000)
    with torch.no_grad():
        assert (network(images).argmax(dim=1) == label).float().mean() > 0.9
    maps = METHODS[method](network, images[label == 1], spotted)
    assert maps is not None
    assert maps.shape == (16, SIDE, SIDE)
    assert maps.min() >= 0
    assert np.allclose(maps.sum(axis=(1, 2)), 1)
    assert share_in_quadrant(maps) > 0.6


def test_not_every_network_has_each_kind() -> None:
    images = torch.randn(2, 1, SIDE, SIDE)
    assert attention_map(trained("test_resnet"), images, spotted) is None
    assert grad_cam(trained("test_vit"), images, spotted) is None
    assert grad_cam(trained("lensmill_stem_vit"), images, spotted) is None


@pytest.mark.parametrize(("name", "method"), CASES)
def test_the_network_is_given_back_as_it_was(name: str, method: str) -> None:
    network = trained(name)
    network.train()
    images = torch.randn(3, 1, SIDE, SIDE)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    METHODS[method](network, images, spotted)
    assert all(one.training for one in network.modules())
    assert all(one.grad is None and one.requires_grad for one in network.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert not any(one._forward_hooks or "forward" in vars(one) for one in network.modules())
    fused = [one.fused_attn for one in network.modules() if hasattr(one, "fused_attn")]
    assert all(fused)
    network.eval()


def test_a_network_that_fails_is_given_back_as_well() -> None:
    network = trained("lensmill_stem_vit")

    def broken(_: Tensor) -> Tensor:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        attention_map(network, torch.randn(1, 1, SIDE, SIDE), broken)
    assert not any(one._forward_hooks or "forward" in vars(one) for one in network.modules())
    assert all(one.requires_grad for one in network.parameters())


def test_attention_that_is_seen_gives_the_same_answers() -> None:
    images, _ = planted(4, 5)
    for name in ("lensmill_stem_vit", "test_vit"):
        network = trained(name)
        seen: list[Tensor] = []

        def answer(output: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(output.detach())
            return output[:, 0]

        attention_map(network, images, answer)
        with torch.no_grad():
            assert torch.allclose(seen[0], network(images), atol=1e-5)


def test_residuals_show_what_was_not_expected() -> None:
    autoencoder = build_autoencoder("lensmill_autoencoder", Shape(1, SIDE, 4), False)
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.zero_()
    images = torch.zeros(2, 1, SIDE, SIDE)
    images[:, 0, 4:8, 20:24] = 3
    assert share_in_quadrant(residual_map(autoencoder.eval(), images)) > 0.95
