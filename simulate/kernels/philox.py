"""Philox (Salmon et al. 2011), the counter-based generator, for many streams at once.

`uniforms` is the 64-bit variant, bit for bit numpy's `Philox`: parameters are drawn with it. A stream is one
sample and purpose: key `seed`, counter `(block, 0, purpose, sample_id)`. numpy counts up before it makes its
first block, so blocks start at 1; each gives four words.

`words_of` is the 32-bit variant, which vector units multiply five times faster: noise is drawn with it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.kernels.bits import high_product
from simulate.kernels.compiled import inlined, kernel

FIRST_MULTIPLIER = np.uint64(0xD2E7470EE14C6C93)
SECOND_MULTIPLIER = np.uint64(0xCA5A826395121157)
FIRST_KEY_STEP = np.uint64(0x9E3779B97F4A7C15)
SECOND_KEY_STEP = np.uint64(0xBB67AE8584CAA73B)
ROUNDS = 10
WORDS = 4
UNIT = 2.0**-53
FIRST_MULTIPLIER_32 = np.uint64(0xD2511F53)
SECOND_MULTIPLIER_32 = np.uint64(0xCD9E8D57)
FIRST_KEY_STEP_32 = np.uint32(0x9E3779B9)
SECOND_KEY_STEP_32 = np.uint32(0xBB67AE85)
HALF_WORD = np.uint64(32)


@inlined
def block(seed: Any, purpose: Any, sample_id: Any, number: Any) -> Any:
    """The four words of one block of a stream; all arguments are uint64."""
    a, b, c, d = number, np.uint64(0), purpose, sample_id
    first_key, second_key = seed, np.uint64(0)
    for _ in range(ROUNDS):
        high, low = high_product(FIRST_MULTIPLIER, a), FIRST_MULTIPLIER * a
        other_high, other_low = high_product(SECOND_MULTIPLIER, c), SECOND_MULTIPLIER * c
        a, b, c, d = other_high ^ b ^ first_key, other_low, high ^ d ^ second_key, low
        first_key += FIRST_KEY_STEP
        second_key += SECOND_KEY_STEP
    return a, b, c, d


@inlined
def unit(word: Any) -> Any:
    """A double in [0, 1) from the upper 53 bits, as `Generator.random` makes it."""
    return np.float64(word >> np.uint64(11)) * UNIT


def uniforms(
    seed: int,
    purpose: int,
    sample_id: NDArray[np.int64],
    start: NDArray[np.int64],
    count: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Numbers in [0, 1): for each sample `count` of them, from position `start` of its stream; end to end."""
    found = np.empty(int(count.sum()))
    _fill(np.uint64(seed), np.uint64(purpose), sample_id.astype(np.uint64), start, count, found)
    return found


@kernel
def _fill(seed: Any, purpose: Any, sample_id: Any, start: Any, count: Any, found: Any) -> None:
    end = 0
    for row in range(sample_id.size):
        at, end = end, end + count[row]
        position = start[row]
        while at < end:
            words = block(seed, purpose, sample_id[row], np.uint64(position // WORDS + 1))
            for place in range(position % WORDS, WORDS):
                if at < end:
                    found[at] = unit(words[place])
                    at += 1
                    position += 1


@inlined
def words_of(seed: Any, purpose: Any, sample_id: Any, number: Any) -> Any:
    """The four 32-bit words of block `number`: key `seed`, counter `(number, purpose, sample_id)`."""
    a, b, c, d = (
        np.uint32(number),
        np.uint32(purpose),
        np.uint32(sample_id),
        np.uint32(sample_id >> HALF_WORD),
    )
    first_key, second_key = np.uint32(seed), np.uint32(seed >> HALF_WORD)
    for _ in range(ROUNDS):
        first = FIRST_MULTIPLIER_32 * np.uint64(a)
        second = SECOND_MULTIPLIER_32 * np.uint64(c)
        a = np.uint32(second >> HALF_WORD) ^ b ^ first_key
        b = np.uint32(second)
        c = np.uint32(first >> HALF_WORD) ^ d ^ second_key
        d = np.uint32(first)
        first_key = np.uint32(first_key + FIRST_KEY_STEP_32)
        second_key = np.uint32(second_key + SECOND_KEY_STEP_32)
    return a, b, c, d
