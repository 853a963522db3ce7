"""Motions of images, drawn anew for each batch on whatever device the images are.

A motion is, in this order: a quarter turn, a mirror image (x to -x), a rotation, a scaling, a shift. Row 0 is
at the bottom, so x goes with the column and y with the row, and angles grow anticlockwise from x to y.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from schemas.preparation import Augmentation


@dataclass(frozen=True)
class Motion:
    """What is done to each image of a batch. Drawn on the CPU, so that devices agree."""

    quarters: Tensor
    mirrored: Tensor
    angle: Tensor
    scale: Tensor
    shift: Tensor

    @property
    def smooth(self) -> Tensor:
        """The part that interpolates: rotation times scale, (images, 2, 2)."""
        return self.scale[:, None, None] * _rotation(self.angle)

    @property
    def matrix(self) -> Tensor:
        """What a vector (x, y) of the sky is multiplied with, the shift apart."""
        mirror = torch.diag_embed(torch.stack([1.0 - 2.0 * self.mirrored, torch.ones_like(self.angle)], 1))
        return self.smooth @ mirror @ _rotation(self.quarters * (math.pi / 2))


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def draw_motion(count: int, options: Augmentation, generator: torch.Generator | None = None) -> Motion:
    """A motion for each image. All numbers are always drawn: options do not change each other's stream."""
    quarters = torch.randint(4, (count,), generator=generator, dtype=torch.float64)
    uniform = torch.rand(5, count, generator=generator, dtype=torch.float64)
    centred = 2 * uniform - 1
    low, high = (options.scale.low, options.scale.high) if options.scale else (1.0, 1.0)
    return Motion(
        quarters=quarters * options.quarter_turns,
        mirrored=(uniform[0] < 0.5) * float(options.flips),
        angle=centred[1] * math.radians(options.rotation_degrees),
        scale=torch.exp(math.log(low) + uniform[2] * math.log(high / low)),
        shift=centred[3:].T * options.shift_pixels,
    )


def moved(images: Tensor, motion: Motion, interpolates: bool) -> Tensor:
    """Each image after its motion; without interpolation pixels only change places."""
    quarters = motion.quarters.to(images.device)
    if bool(motion.quarters.any()):
        turned = images.clone()
        for count in range(1, 4):
            chosen = quarters == count
            # with row 0 at the bottom, torch's quarter turn is clockwise
            turned[chosen] = torch.rot90(images[chosen], -count, dims=(-2, -1))
        images = turned
    if bool(motion.mirrored.any()):
        mirrored = motion.mirrored.to(images.device) > 0
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return _interpolated(images, motion) if interpolates else images


def _interpolated(images: Tensor, motion: Motion) -> Tensor:
    """Every pixel looked up where it came from; beyond the edge, the image mirrored there."""
    height, width = images.shape[-2:]
    half = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    back = torch.linalg.inv(motion.smooth)
    # grid_sample counts in halves of the image, so rectangles would else be sheared
    linear = back * half[None, None, :] / half[None, :, None]
    offset = -(back @ motion.shift[:, :, None]) / half[None, :, None]
    theta = torch.cat([linear, offset], dim=2).to(images)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )


def augmented(images: Tensor, options: Augmentation, generator: torch.Generator | None = None) -> Tensor:
    """Each image after a motion of its own."""
    if not (options.turns or options.interpolates):
        return images
    return moved(images, draw_motion(len(images), options, generator), options.interpolates)
