"""The 32-bit generator against its authors' known answers, and the order in which its words are used."""

import numpy as np
import pytest
from scipy import stats

from simulate.kernels import deviates
from simulate.kernels.philox import words_of

U64 = np.uint64


def words(seed: int, purpose: int, sample_id: int, number: int) -> list[int]:
    return [int(word) for word in words_of(U64(seed), U64(purpose), U64(sample_id), number)]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers_of_random123(counter: str, key: str, expected: str) -> None:
    """`kat_vectors` of the library, philox4x32 with 10 rounds; the last two words count samples."""
    number, purpose, low, high = (int(word, 16) for word in counter.split())
    key_low, key_high = (int(word, 16) for word in key.split())
    found = words(key_low | key_high << 32, purpose, low | high << 32, number)
    assert [f"{word:08x}" for word in found] == expected.split()


def test_every_part_of_the_counter_and_of_the_key_matters() -> None:
    base = {"seed": 7, "purpose": 2, "sample_id": 11, "number": 3}
    changes = [{}, {"seed": 8}, {"seed": 7 + 2**40}, {"purpose": 3}, {"sample_id": 12}, {"number": 4}]
    changes += [{"sample_id": 11 + 2**32}, {"sample_id": 11 + 2**44}]
    found = [word for change in changes for word in words(**{**base, **change})]
    assert len(set(found)) == 4 * len(changes)


def test_a_block_serves_one_pixel_in_each_quarter() -> None:
    found = np.empty(40, np.uint32)
    deviates.fill_words(U64(7), U64(2), U64(11), found)
    for number in range(10):
        assert found[number::10].tolist() == words(7, 2, 11, number)


def test_words_are_uniform() -> None:
    found = np.empty(1 << 20, np.uint32)
    deviates.fill_words(U64(1001), U64(1), U64(5), found)
    for shift in (0, 8, 16, 24):
        counts = np.bincount((found >> np.uint32(shift)) & np.uint32(255), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.kstest(found / 2**32, "uniform").pvalue > 1e-4
