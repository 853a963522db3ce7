"""Normal deviates from Philox words, in single precision and in vector code.

Box and Muller (1958): one word gives the radius sqrt(-2 ln u), another the angle of two deviates. u has 32
bits, so deviates reach 6.8 sigma; single precision resolves them to 1e-7.
"""

from typing import Any

import numpy as np

from simulate.kernels.bits import bits_of_single, single_of
from simulate.kernels.compiled import inlined, kernel
from simulate.kernels.philox import WORDS, words_of

ONE = np.float32(1.0)
TWO = np.float32(2.0)
HALF = np.float32(0.5)
UNIT_32 = np.float32(2.0**-32)
MINUS_TWO = np.float32(-2.0)
LN2 = np.float32(0.6931471805599453)
SQRT_HALF_BITS = np.int32(0x3F3504F3)
TURN = np.float32(2 * np.pi / 2**32)
LOG_SERIES = tuple(np.float32(2.0 / n) for n in (9, 7, 5, 3, 1))
SINE = tuple(np.float32(c) for c in (1 / 362880, -1 / 5040, 1 / 120, -1 / 6))
COSINE = tuple(np.float32(c) for c in (1 / 40320, -1 / 720, 1 / 24, -1 / 2))


@inlined
def _log(x: Any) -> Any:
    """ln x of a positive single to about one unit in the last place."""
    bits = bits_of_single(x)
    exponent = np.int32(bits - SQRT_HALF_BITS) >> np.int32(23)
    f = single_of(np.int32(bits - (exponent << np.int32(23)))) - ONE
    s = f / (TWO + f)
    z = s * s
    series = LOG_SERIES[0]
    series = series * z + LOG_SERIES[1]
    series = series * z + LOG_SERIES[2]
    series = series * z + LOG_SERIES[3]
    series = series * z + LOG_SERIES[4]
    return np.float32(exponent) * LN2 + s * series


@inlined
def pair(radius_word: Any, angle_word: Any) -> Any:
    """Two independent normal deviates from two words."""
    radius = np.sqrt(MINUS_TWO * _log((np.float32(radius_word) + HALF) * UNIT_32))
    turn = np.int32(angle_word)
    quarter = np.int32(turn + np.int32(1 << 29)) >> np.int32(30)
    angle = np.float32(np.int32(turn - (quarter << np.int32(30)))) * TURN
    z = angle * angle
    sine = SINE[0]
    sine = sine * z + SINE[1]
    sine = sine * z + SINE[2]
    sine = sine * z + SINE[3]
    sine = angle + angle * z * sine
    cosine = COSINE[0]
    cosine = cosine * z + COSINE[1]
    cosine = cosine * z + COSINE[2]
    cosine = cosine * z + COSINE[3]
    cosine = cosine * z + ONE
    odd = (quarter & np.int32(1)) != np.int32(0)
    back = (quarter & np.int32(2)) != np.int32(0)
    along = sine if odd else cosine
    up = cosine if odd else sine
    return radius * (-along if odd != back else along), radius * (-up if back else up)


@inlined
def fill_normals(seed: Any, purpose: Any, sample_id: Any, deviates: Any) -> None:
    """Normal deviates of one stream, a multiple of four of them: one block serves four quarters."""
    quarter = deviates.size // WORDS
    for number in range(quarter):
        a, b, c, d = words_of(seed, purpose, sample_id, number)
        deviates[number], deviates[quarter + number] = pair(a, b)
        deviates[2 * quarter + number], deviates[3 * quarter + number] = pair(c, d)


@inlined
def fill_words(seed: Any, purpose: Any, sample_id: Any, words: Any) -> None:
    """32-bit words of one stream, in the places of `fill_normals`."""
    quarter = words.size // WORDS
    for number in range(quarter):
        a, b, c, d = words_of(seed, purpose, sample_id, number)
        words[number], words[quarter + number] = a, b
        words[2 * quarter + number], words[3 * quarter + number] = c, d


@kernel
def normals(seed: Any, purpose: Any, sample_id: Any, deviates: Any) -> None:
    """`fill_normals` for Python; the numbers are uint64."""
    fill_normals(seed, purpose, sample_id, deviates)
