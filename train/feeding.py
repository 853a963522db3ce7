"""What a training step gets, epoch after epoch, on its device.

The order of samples is a pure function of seed, epoch, rows and rank (`storage.reading.epochs`), so the
number of an epoch and that of its next batch are all that a checkpoint needs.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from schemas.errors import DataError
from storage.reader import Store
from storage.reading.epochs import Batching
from train.data import Samples
from train.images import CPU, Rows
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
        drops = training and len(self.samples) >= self.size
        return Batching(
            batch=self.size,
            seed=self.seed or 0,
            shuffle=training,
            last="drop" if drops else "keep",
        )

    def of_rank(self, rank: int, world: int) -> Self:
        """From now on only the share of one of several processes: its part of every batch."""
        if len(self.samples) < world:
            raise DataError(
                f"there are {len(self.samples)} samples for {world} processes",
                expected="one for each, at least",
                where="training.devices",
            )
        if self.size < world:
            raise DataError(
                f"batches of {self.size} samples cannot be shared by {world} processes",
                expected="one sample for each, at least",
                where="training.batch_size",
            )
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
        return self.samples.images.length(self.batching) - self._joins

    @property
    def _joins(self) -> bool:
        """Whether the last batch goes with the one before it: some process would have nothing of it."""
        last = len(self.samples) % self.size
        return self.batching.last == "keep" and 0 < last < self.world and len(self.samples) > self.size

    def _whole(self) -> Iterator[tuple[Rows, Tensor]]:
        """The batches of all processes together."""
        start, self.start = self.start, 0
        found = self.samples.images.batches(self.batching, self.epoch, start)
        if not self._joins:
            yield from found
            return
        before = None
        for number, one in enumerate(found, start):
            if number < len(self) - 1:
                yield one
            elif before is None:
                before = one
            else:
                yield np.concatenate([before[0], one[0]]), torch.cat([before[1], one[1]])

    def __iter__(self) -> Iterator[LensBatch]:
        for whole, images in self._whole():
            rows = whole[self.rank :: self.world]
            places = torch.from_numpy(np.searchsorted(self.samples.row, rows)).to(self.target.device)
            yield LensBatch(images[self.rank :: self.world], self.target[places], self.sample_ids[places])


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
