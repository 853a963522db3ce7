"""Noise of whole images, drawn, added and rounded to single precision in one pass.

Each image has streams of its own, one per purpose, from which every pixel takes the deviate of its place.
"""

from typing import Any

import numpy as np

from simulate.kernels.compiled import inlined, kernel
from simulate.kernels.deviates import fill_normals, fill_words
from simulate.kernels.elementary import exp
from simulate.kernels.philox import WORDS

# Above this many expected electrons a Poisson deviate is replaced by a normal one of the same variance.
GAUSSIAN_ABOVE_ELECTRONS = 50.0
# Up to here Poisson deviates are found by adding up probabilities, beyond it from a normal deviate.
SUMMED_BELOW = 12.0
MOST_SUMMED = 100
RECIPROCALS = 1.0 / np.arange(1, MOST_SUMMED + 1)
UNIT = 2.0**-32


@kernel
def copy(images: Any, factor: Any, finished: Any) -> None:
    """The images themselves, times `factor`."""
    for place in range(images.shape[0]):
        for j in range(images.shape[1]):
            for i in range(images.shape[2]):
                finished[place, j, i] = images[place, j, i] * factor


@kernel
def detector(
    images: Any,
    seed: Any,
    purposes: Any,
    sample_id: Any,
    time: Any,
    background: Any,
    factor: Any,
    finished: Any,
) -> None:
    """One normal deviate per pixel for the background and bright pixels, a Poisson deviate for faint ones."""
    pixels = images.shape[1] * images.shape[2]
    room = pixels + (-pixels) % WORDS
    deviates, shots = np.empty(room, np.float32), np.empty(room, np.float32)
    words, counts = np.empty(room, np.uint32), np.empty(pixels)
    for place in range(images.shape[0]):
        image, noisy = images[place].reshape(pixels), finished[place].reshape(pixels)
        fill_normals(seed, purposes[0], sample_id[place], deviates)
        faint = 0
        for p in range(pixels):
            electrons = max(image[p], 0.0) * time
            bright = electrons > GAUSSIAN_ABOVE_ELECTRONS
            variance = background * background + (electrons / (time * time) if bright else 0.0)
            noisy[p] = (image[p] + np.float64(deviates[p]) * np.sqrt(variance)) * factor
            faint += 0 if bright else 1
            # where there is nothing to count, expected and counted agree
            counts[p] = 0.0 if bright else electrons
        if faint:
            fill_normals(seed, purposes[1], sample_id[place], shots)
            fill_words(seed, purposes[2], sample_id[place], words)
            _count(counts, shots, words)
            for p in range(pixels):
                electrons = max(image[p], 0.0) * time
                expected = 0.0 if electrons > GAUSSIAN_ABOVE_ELECTRONS else electrons
                noisy[p] += (counts[p] - expected) / time * factor


@kernel
def model_i(
    images: Any,
    seed: Any,
    purposes: Any,
    sample_id: Any,
    times: Any,
    background: Any,
    factor: Any,
    finished: Any,
) -> None:
    """Poisson(clip(t (I + gauss(0, sqrt(I / t)) + gauss(0, background)), 0)): shot noise twice."""
    pixels = images.shape[1] * images.shape[2]
    room = pixels + (-pixels) % WORDS
    deviates, shots, others = (
        np.empty(room, np.float32),
        np.empty(room, np.float32),
        np.empty(room, np.float32),
    )
    words, counts = np.empty(room, np.uint32), np.empty(pixels)
    for place in range(images.shape[0]):
        image, noisy = images[place].reshape(pixels), finished[place].reshape(pixels)
        time = times[place]
        fill_normals(seed, purposes[0], sample_id[place], deviates)
        fill_normals(seed, purposes[1], sample_id[place], shots)
        fill_words(seed, purposes[2], sample_id[place], words)
        fill_normals(seed, purposes[3], sample_id[place], others)
        for p in range(pixels):
            shot = np.float64(others[p]) * np.sqrt(abs(image[p]) / time)
            sky = np.float64(deviates[p]) * background
            counts[p] = max(time * (image[p] + shot + sky), 0.0)
        _count(counts, shots, words)
        for p in range(pixels):
            noisy[p] = counts[p] * factor


@inlined
def _count(expected: Any, normals: Any, words: Any) -> None:
    """Poisson deviates in the place of what is expected.

    Large ones by Giles' (2016) expansion of the inverse distribution function, whose distribution is right to
    3e-5 at `SUMMED_BELOW` and better above; a negative placeholder leaves the small ones to a second pass.
    Nothing expected is nothing counted, without a sign.
    """
    for p in range(expected.size):
        mean = max(expected[p], SUMMED_BELOW)
        w = np.float64(normals[p])
        root = np.sqrt(mean)
        deviate = (
            mean
            + root * w
            + (2.0 + w * w) * (1.0 / 6.0)
            - w * (2.0 + w * w) * (1.0 / 72.0) / root
            + (-8.0 / 405.0 + w * w * (7.0 / 810.0 + w * w * (1.0 / 270.0))) / mean
        )
        expected[p] = max(np.floor(deviate), 0.0) if expected[p] > SUMMED_BELOW else 0.0 - expected[p]
    for p in range(expected.size):
        if expected[p] < 0.0:
            expected[p] = _summed(-expected[p], words[p])


@inlined
def _summed(expected: Any, word: Any) -> Any:
    """The first count whose probability and those before it exceed a uniform number."""
    uniform = (np.float64(word) + 0.5) * UNIT
    probability = exp(-expected)
    below = probability
    count = 0
    while uniform > below and count < MOST_SUMMED:
        probability *= expected * RECIPROCALS[count]
        below += probability
        count += 1
    return np.float64(count)


@kernel
def count(expected: Any, normals: Any, words: Any) -> None:
    """`_count` for Python, which tests its distribution."""
    _count(expected, normals, words)
