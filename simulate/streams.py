"""A random stream for each sample and purpose.

Philox is counter-based: sample i of purpose p starts at block (i, p, 0, 0) and has 2^128 blocks to itself, so
neither the number of workers nor the size of a shard can change what a sample is made of.
"""

import numpy as np
from numpy.random import Generator, Philox

PARAMETERS = 0
NOISE = 1


def stream(seed: int, purpose: int, sample_id: int) -> Generator:
    """The generator of one sample and purpose; 0 <= seed < 2^53."""
    counter = np.array([0, 0, purpose, sample_id], dtype=np.uint64)
    return Generator(Philox(key=seed, counter=counter))
