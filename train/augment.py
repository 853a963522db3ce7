"""Exact symmetries of an image, drawn anew for each batch."""

import torch
from torch import Tensor

from schemas.columns import ColumnSpec
from schemas.errors import RecipeError
from schemas.experiment import Augmentation


def augmented(images: Tensor, options: Augmentation) -> Tensor:
    """Each image turned by its own multiple of 90 degrees and mirrored or not."""
    if options.quarter_turns:
        quarters = torch.randint(4, (len(images),), device=images.device)
        turned = torch.empty_like(images)
        for count in range(4):
            turned[quarters == count] = torch.rot90(images[quarters == count], count, dims=(-2, -1))
        images = turned
    if options.flips:
        mirror = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    return images


def check_targets(options: Augmentation, targets: list[ColumnSpec]) -> None:
    """Refuse to turn images under targets that would have to turn with them."""
    turning = [column.name for column in targets if column.turns]
    if turning and (options.quarter_turns or options.flips):
        raise RecipeError(
            f"augmentation turns images, but not the target {turning[0]}",
            expected="no augmentation, or targets that stay the same when an image is turned or mirrored",
            where="augmentation, objective.targets",
            advice="set augmentation.quarter_turns and augmentation.flips to false",
        )
