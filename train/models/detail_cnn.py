"""lensmill's own small convolutional network for images in which everything is drawn.

What a subhalo does to an arc is small beside what lens and source do to the image. A network that sees images
alone learns nothing for thousands of steps; one that is also given what a blur takes away learns at once.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.models.registry import MODELS, Shape

# Standard deviation of the blur in pixels: about the width of an arc.
BLUR = 2.0
# Details are a few times fainter than the stretched image.
GAIN = 3.0


class DetailCNN(nn.Module):
    """Image and its details, five convolutions, mean and maximum over the image, linear head."""

    kernel: Tensor

    def __init__(self, shape: Shape, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("kernel", _gaussian(BLUR), persistent=False)
        self.body = nn.Sequential(
            *_convolution(2 * shape.channels, width // 2, 5, stride=2),
            *_convolution(width // 2, width, 3, stride=2),
            *_convolution(width, width, 3, stride=1),
            *_convolution(width, 2 * width, 3, stride=2),
            *_convolution(2 * width, 2 * width, 3, stride=1),
        )
        self.head = nn.Linear(4 * width, shape.outputs)

    def forward(self, images: Tensor) -> Tensor:
        found = self.body(torch.cat([images, GAIN * (images - self._blurred(images))], dim=1))
        # a single kink matters as much as the look of the whole
        pooled = torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3))], dim=1)
        result: Tensor = self.head(pooled)
        return result

    def _blurred(self, images: Tensor) -> Tensor:
        channels, reach = images.shape[1], len(self.kernel) // 2
        kernel = self.kernel.to(images.dtype).expand(channels, 1, -1)
        # the edge goes on as it ends: dark margins would look like details
        padded = functional.pad(images, (reach,) * 4, mode="replicate")
        rows = functional.conv2d(padded, kernel[:, :, None], groups=channels)
        return functional.conv2d(rows, kernel[..., None], groups=channels)


def _gaussian(sigma: float) -> Tensor:
    reach = round(3 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    return weights / weights.sum()


def _convolution(before: int, after: int, size: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    ]


@MODELS.register("lensmill_detail_cnn")
def detail_cnn(shape: Shape) -> nn.Module:
    """About 0.07 million parameters, whatever the size of the images."""
    return DetailCNN(shape)
