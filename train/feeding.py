"""What a training step gets, epoch after epoch, on its device.

The order of samples is a pure function of seed, epoch, rows and rank (`storage.epochs`), so the number of an
epoch and that of its next batch are all that a checkpoint needs.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from storage.epochs import Batching
from storage.reader import Store
from train.data import Samples
from train.images import CPU
from train.objectives import Objective
from train.target_motion import TargetMotion

# Validation keeps no gradients, so its batches may be larger.
VALIDATION_BATCHES = 4


class LensBatch(NamedTuple):
    """Images as they were simulated, what is to be learned of each, and which samples they are."""

    images: Tensor
    target: Tensor
    sample_ids: Tensor


class Feed:
    """The batches of an epoch each time it is iterated over; `begin` says of which."""

    def __init__(
        self,
        samples: Samples,
        target: Tensor,
        size: int,
        seed: int | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.samples = samples
        # beside images these are small, and gathered where they are needed
        self.target = target.to(device)
        self.sample_ids = torch.from_numpy(samples.sample_id).to(device)
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.start = 0
        self.rank, self.world = 0, 1

    @property
    def batching(self) -> Batching:
        """Shuffled for training, which has a seed; in order and all of them for validation."""
        training = self.seed is not None
        # a last batch of one sample would break batch normalisation
        drops = training and len(self.samples) >= self.size * self.world
        return Batching(
            batch=self.size,
            seed=self.seed or 0,
            shuffle=training,
            last="drop" if drops else "keep",
            rank=self.rank,
            world=self.world,
        )

    def of_rank(self, rank: int, world: int) -> Self:
        """From now on only the share of one of several processes."""
        self.rank, self.world = rank, world
        return self

    def begin(self, epoch: int, batch: int = 0) -> None:
        """The next pass is that of this epoch, from this batch on."""
        self.epoch, self.start = epoch, batch

    def set_epoch(self, epoch: int) -> None:
        """What Lightning says before each epoch, also before one that goes on in its middle."""
        if epoch != self.epoch:
            self.begin(epoch)

    # Lightning asks every loader that has a sampler for this, too
    batch_sampler = None

    @property
    def sampler(self) -> Self:
        """Where Lightning looks for what is to be told of a new epoch."""
        return self

    def __len__(self) -> int:
        """How many batches an epoch has, on every rank."""
        return self.samples.images.length(self.batching)

    def __iter__(self) -> Iterator[LensBatch]:
        start, self.start = self.start, 0
        for rows, images in self.samples.images.batches(self.batching, self.epoch, start):
            places = torch.from_numpy(np.searchsorted(self.samples.row, rows)).to(self.target.device)
            yield LensBatch(images, self.target[places], self.sample_ids[places])


def training_feed(
    store: Store,
    samples: Samples,
    objective: Objective,
    motion: TargetMotion | None,
    size: int,
    seed: int,
    device: torch.device = CPU,
) -> Feed:
    """Shuffled batches; targets have beside them what they need to follow moved images."""
    target = objective.encode(store, samples)
    if motion is not None:
        target = motion.joined(target, store, samples)
    return Feed(samples, target, size, seed, device)


def validation_feed(
    store: Store, samples: Samples, objective: Objective, size: int, device: torch.device = CPU
) -> Feed:
    """All samples in order, in larger batches."""
    return Feed(samples, objective.encode(store, samples), VALIDATION_BATCHES * size, None, device)
