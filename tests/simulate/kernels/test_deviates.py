"""Normal deviates in single precision: exact numbers, distribution, tails, independence."""

import numpy as np
import pytest
from scipy import stats

from simulate.kernels import deviates

U64 = np.uint64
MANY = 1 << 20
# a chance of 1e-6 to be wrong
SIGMAS = 4.9


def normals(seed: int = 1001, purpose: int = 1, sample_id: int = 0, count: int = MANY) -> np.ndarray:
    found = np.empty(count, np.float32)
    deviates.normals(U64(seed), U64(purpose), U64(sample_id), found)
    return found.astype(float)


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    return np.concatenate([normals(sample_id=sample_id) for sample_id in range(4)])


def assert_uncorrelated(a: np.ndarray, b: np.ndarray) -> None:
    """Neither the deviates nor their squares, which a shared radius would show."""
    for power in (1, 2):
        assert abs(np.corrcoef(a**power, b**power)[0, 1]) < SIGMAS / np.sqrt(a.size)


def test_they_are_box_and_mullers_of_their_words() -> None:
    words = np.empty(MANY, np.uint32)
    deviates.fill_words(U64(3), U64(2), U64(9), words)
    first, second, third, fourth = (quarter.astype(float) for quarter in words.reshape(4, -1))
    expected, radii = [], []
    for radius_word, angle_word in ((first, second), (third, fourth)):
        radius = np.sqrt(-2 * np.log((radius_word + 0.5) / 2**32))
        angle = angle_word * (2 * np.pi / 2**32)
        expected += [radius * np.cos(angle), radius * np.sin(angle)]
        radii += [radius, radius]
    far = np.concatenate(radii)
    # a word near 2^32 loses its last bits in a single, which moves what is close to 0
    tolerance = 2.0**-22 * (far + 1 / far)
    assert (np.abs(normals(3, 2, 9) - np.concatenate(expected)) < tolerance).all()


@pytest.mark.parametrize("radius_word", [0, 1, 2**24 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("angle_word", [0, 2**29, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 1])
def test_pairs_at_the_ends_of_their_words(radius_word: int, angle_word: int) -> None:
    radius = np.sqrt(-2 * np.log((radius_word + 0.5) / 2**32))
    angle = angle_word * (2 * np.pi / 2**32)
    found = deviates.pair(np.uint32(radius_word), np.uint32(angle_word))
    np.testing.assert_allclose(found, [radius * np.cos(angle), radius * np.sin(angle)], atol=2e-5)
    assert np.hypot(*found) < 6.77


def test_moments(many: np.ndarray) -> None:
    n = many.size
    assert abs(many.mean()) < SIGMAS / np.sqrt(n)
    for power, moment, variance in ((2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((many**power).mean() - moment) < SIGMAS * np.sqrt(variance / n), power


def test_distribution(many: np.ndarray) -> None:
    assert stats.kstest(many[:MANY], "norm").pvalue > 1e-4
    edges = stats.norm.ppf(np.arange(1, 1000) / 1000)
    counts = np.histogram(many, np.concatenate([[-np.inf], edges, [np.inf]]))[0]
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("sigma", [3.0, 4.0, 4.5, 5.0])
def test_tails(many: np.ndarray, sigma: float) -> None:
    for sign in (1, -1):
        count = int((sign * many > sigma).sum())
        expected = many.size * stats.norm.sf(sigma)
        assert stats.poisson.sf(count - 1, expected) > 1e-5
        assert stats.poisson.cdf(count, expected) > 1e-5


def test_pixels_are_independent(many: np.ndarray) -> None:
    image = many[:MANY].reshape(1024, 1024)
    assert_uncorrelated(image[:, 1:].ravel(), image[:, :-1].ravel())
    assert_uncorrelated(image[1:].ravel(), image[:-1].ravel())
    quarters = many[:MANY].reshape(4, -1)
    for one in range(4):
        for other in range(one):
            assert_uncorrelated(quarters[one], quarters[other])


def test_streams_are_independent() -> None:
    base = normals()
    for other in (normals(purpose=2), normals(sample_id=1), normals(seed=1002), normals(seed=1001 + 2**32)):
        assert_uncorrelated(base, other)
        assert_uncorrelated(base[1:], other[:-1])


def test_a_smaller_image_has_deviates_of_its_own_streams() -> None:
    """Places count from quarters, so an image of another size has other noise, but no less of it."""
    small = normals(count=64)
    assert small.size == np.unique(small).size
    assert (small.reshape(4, 16) == normals(count=128).reshape(4, 32)[:, :16]).all()
