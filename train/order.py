"""In which order samples make up batches: a pure function of seed and epoch, which a kill cannot lose."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from schemas.errors import DataError


class Order(Sampler[list[int]]):
    """Batches of an epoch from any of them on; each of several processes has its part of every batch.

    Without a seed, samples come as they are stored, every epoch anew, and none is left out.
    """

    def __init__(
        self, samples: int, size: int, seed: int | None = None, rank: int = 0, world: int = 1
    ) -> None:
        if samples < world:
            raise DataError(
                f"there are {samples} samples for {world} processes",
                expected="one for each, at least",
                where="training.devices",
            )
        self.samples, self.seed, self.rank, self.world = samples, seed, rank, world
        self.edges = self._edges(size)
        self.begin(0, 0)

    def _edges(self, size: int) -> list[int]:
        edges = [*range(0, self.samples, size), self.samples]
        last = self.samples - edges[-2]
        # a last batch of one sample would break batch normalisation in training, and a process without a
        # sample would leave the others waiting
        if len(edges) > 2 and (last < size if self.seed is not None else last < self.world):
            del edges[-1 if self.seed is not None else -2]
        return edges

    def begin(self, epoch: int, batch: int) -> None:
        """What the next iteration is to be: this epoch, from this batch on."""
        self.epoch, self.start = epoch, batch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.edges) - 1

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """All samples in the order of an epoch."""
        if self.seed is None:
            return np.arange(self.samples)
        return np.random.default_rng([self.seed, epoch]).permutation(self.samples)

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """The samples of a batch, those of all processes."""
        return self.rows(epoch)[self.edges[number] : self.edges[number + 1]]

    def __iter__(self) -> Iterator[list[int]]:
        rows = self.rows(self.epoch)
        for number in range(self.start, len(self)):
            whole = rows[self.edges[number] : self.edges[number + 1]]
            yield whole[self.rank :: self.world].tolist()
        self.begin(self.epoch + 1, 0)
