"""An image through a bottleneck and back: what anomaly detection is made of.

Convolutions halve the image until at most 5 x 5 are left; a linear layer takes the numbers of the bottleneck.
The way back ends at half the size and shuffles its channels into pixels: a convolution at full size cost half
of all time. What the network gives for an image is how badly it came back.
"""

import torch
from torch import Tensor, nn

from schemas.registry import unknown_name
from train.models.registry import AUTOENCODERS, MODELS, Shape

SMALLEST_SIDE = 5
# Encoders may ask for less certainty than there is, or more than floats hold.
LOG_VARIANCES = (-12.0, 4.0)
# Pixels that come back perfectly in training would else decide every score.
FLOOR_OF_VARIANCE = 0.1
# What the network gives for each image.
SQUARED, SCORE, DIVERGENCE = range(3)


class Autoencoder(nn.Module):
    """Encoder and decoder; forward gives squared residual, score and divergence of each image."""

    variance: Tensor

    def __init__(self, shape: Shape, variational: bool, width: int = 16, hidden: int = 128) -> None:
        super().__init__()
        self.variational = variational
        self.latent, self.side = shape.outputs, shape.side
        halvings, base = 0, shape.side
        while base > SMALLEST_SIDE:
            halvings, base = halvings + 1, (base + 1) // 2
        widths = [min(width * 2**stage, 4 * width) for stage in range(halvings)]
        flat = widths[-1] * base**2
        self.encoder = nn.Sequential(
            *_encoding(shape.channels, widths),
            nn.Flatten(),
            nn.Linear(flat, self.latent * (2 if variational else 1)),
        )
        self.decoder = nn.Sequential(
            nn.Linear(self.latent, hidden),
            nn.GELU(),
            nn.Linear(hidden, flat),
            nn.Unflatten(1, (widths[-1], base, base)),
            nn.GELU(),
            *_decoding(shape.channels, widths),
        )
        self.register_buffer("variance", torch.ones(shape.channels, shape.side, shape.side))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance of the latent values; no variance without a variational encoder."""
        if not self.variational:
            return self.encoder(images), None
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def decode(self, latent: Tensor) -> Tensor:
        """Images of latent values; sizes that are no multiple are cut from the middle."""
        whole: Tensor = self.decoder(latent)
        first = (whole.shape[-1] - self.side) // 2
        return whole[..., first : first + self.side, first : first + self.side]

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images as they come back."""
        return self.decode(self.encode(images)[0])

    def forward(self, images: Tensor) -> Tensor:
        mean, log_variance = self.encode(images)
        squared = (self.decode(mean) - images).float() ** 2
        return torch.stack(
            [
                squared.mean(dim=(1, 2, 3)),
                (squared / self.variance).mean(dim=(1, 2, 3)),
                divergence(mean, log_variance),
            ],
            dim=1,
        )

    def calibrate(self, squared: Tensor) -> None:
        """Take the mean squared residual of each pixel of ordinary images as its noise."""
        self.variance.copy_(squared + FLOOR_OF_VARIANCE * squared.mean())


def divergence(mean: Tensor, log_variance: Tensor | None) -> Tensor:
    """Of latent values from their Gaussian prior, nats (Kullback and Leibler); of a point, its distance."""
    if log_variance is None:
        return 0.5 * (mean.float() ** 2).sum(dim=1)
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)


def _encoding(channels: int, widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in zip([channels, *widths], widths, strict=False):
        layers += _convolution(before, after, stride=2)
    return layers


def _decoding(channels: int, widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = widths[-1]
    for after in [2 * widths[0] if not stage else width for stage, width in enumerate(widths[:-1])][::-1]:
        layers += [nn.Upsample(scale_factor=2), *_convolution(before, after, stride=1)]
        before = after
    return [*layers, nn.Conv2d(before, 4 * channels, 3, 1, 1), nn.PixelShuffle(2)]


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.GELU()]


@AUTOENCODERS.register("lensmill_autoencoder")
def autoencoder(shape: Shape, variational: bool) -> nn.Module:
    """About 0.3 million parameters at 64 x 64."""
    return Autoencoder(shape, variational)


def build_autoencoder(name: str, shape: Shape, variational: bool) -> nn.Module:
    """A fresh autoencoder; `shape.outputs` is the size of its bottleneck."""
    if name not in AUTOENCODERS:
        error = unknown_name("autoencoder", name, AUTOENCODERS)
        if name in MODELS or not error.advice:
            error.advice = f"set model.name to {next(iter(AUTOENCODERS))}"
        raise error
    return AUTOENCODERS[name](shape, variational)


def discriminator(latent: int, hidden: int = 64) -> nn.Module:
    """Tells latent values of images from draws of their prior."""
    return nn.Sequential(
        nn.Linear(latent, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1)
    )
