"""lensmill's own small transformer: a convolutional stem, a few encoder layers, mean pooling.

A plain vision transformer needs many images before it sees edges; the convolutions bring that along, so this
one learns within minutes on a CPU. The stem halves the image until at most 12 x 12 tokens are left, with two
convolutions at each size but the first: one alone took twice as many epochs.
"""

import torch
from torch import Tensor, nn

from train.models.registry import MODELS, Shape

MOST_TOKENS_A_SIDE = 12


class StemViT(nn.Module):
    """Stem, position embedding, pre-norm encoder, linear head."""

    def __init__(self, shape: Shape, width: int = 64, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.stem = _stem(shape, width)
        with torch.no_grad():
            grid = self.stem.eval()(torch.zeros(1, shape.channels, shape.side, shape.side)).shape[-2:]
        self.position = nn.Parameter(torch.randn(1, grid[0] * grid[1], width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            dim_feedforward=2 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape.outputs)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2) + self.position
        pooled: Tensor = self.norm(self.encoder(tokens)).mean(dim=1)
        result: Tensor = self.head(pooled)
        return result


def _stem(shape: Shape, width: int) -> nn.Sequential:
    halvings, side = 0, shape.side
    while side > MOST_TOKENS_A_SIDE or halvings < 1:
        side, halvings = (side + 1) // 2, halvings + 1
    layers: list[nn.Module] = []
    before = shape.channels
    for stage in range(halvings):
        after = max(width * (stage + 1) // halvings, 16)
        layers += _convolution(before, after, stride=2)
        # at the first and largest size a second convolution would cost more than all others
        layers += _convolution(after, after, stride=1) if stage else []
        before = after
    return nn.Sequential(*layers)


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.GELU()]


@MODELS.register("lensmill_stem_vit")
def stem_vit(shape: Shape) -> nn.Module:
    """About 0.17 million parameters at 64 x 64."""
    return StemViT(shape)
