"""A random stream for each sample and purpose.

Philox is counter-based: sample i of purpose p starts at block (i, p, 0, 0) and has 2^128 blocks to itself, so
neither the number of workers nor the size of a shard can change what a sample is made of.
"""

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from simulate.kernels.philox import uniforms

PARAMETERS = 0
# noise comes from the 32-bit Philox (`simulate.kernels.philox.words_of`), whose blocks are counted alike
NOISE = 1
SHOT = 2
COUNTS = 3
SECOND_NOISE = 4

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def stream(seed: int, purpose: int, sample_id: int) -> Generator:
    """The generator of one sample and purpose; 0 <= seed < 2^53."""
    counter = np.array([0, 0, purpose, sample_id], dtype=np.uint64)
    return Generator(Philox(key=seed, counter=counter))


class Streams:
    """The streams of many samples: the numbers of `stream(...).random()`, each read on from where it was."""

    def __init__(self, seed: int, purpose: int, sample_id: Rows, position: Rows | None = None) -> None:
        self.seed = seed
        self.purpose = purpose
        self.sample_id = np.asarray(sample_id, dtype=np.int64)
        self.position = np.zeros(len(sample_id), dtype=np.int64) if position is None else position

    def __len__(self) -> int:
        return len(self.sample_id)

    def random(self, n: int) -> Array:
        """The next `n` numbers of each stream, one row each."""
        return self._next(np.full(len(self), n, dtype=np.int64)).reshape(len(self), n)

    def ragged(self, counts: Rows, n: int) -> Array:
        """The next `counts` rows of `n` numbers of each stream, one stream after the other."""
        counts = np.asarray(counts, dtype=np.int64)
        return self._next(counts * n).reshape(int(counts.sum()), n)

    def subset(self, rows: Rows) -> "Streams":
        """The streams of some rows, from where they are; reading them moves none of these."""
        return Streams(self.seed, self.purpose, self.sample_id[rows], self.position[rows])

    def _next(self, count: Rows) -> Array:
        found = uniforms(self.seed, self.purpose, self.sample_id, self.position, count)
        self.position = self.position + count
        return found
