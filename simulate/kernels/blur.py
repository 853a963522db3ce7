"""Averaging of sub-pixels and convolution with a separable kernel, in two passes.

Along one axis the mean of `factor` sub-pixels and the kernel on the fine grid are one weighted sum, so a
pass goes from fine to coarse pixels at once. Beyond the edge the last pixel repeats (scipy's mode
`nearest`, which lenstronomy uses). Indices are unsigned, because numba makes room for negative ones by a
comparison that keeps loops from becoming vector loops.
"""

from typing import Any

import numpy as np

from simulate.kernels.compiled import inlined

# weights come in fours, filled up with zeros: a sum of four is written back once
TOGETHER = np.uint64(4)


@inlined
def blur(
    fine: Any, factor: Any, weights: Any, reach: Any, padded: Any, scale: Any, images: Any, place: Any
) -> None:
    """`fine` (n factor, n factor) to `images[place]` (n, n), both passes, and times `scale`.

    `weights[k]` belongs to fine pixel `factor * j + k - reach` of coarse pixel j; their number is a multiple
    of four. `padded` is a buffer of n factor + number of weights.
    """
    side, size, taps = np.uint64(images.shape[1]), np.uint64(fine.shape[0]), np.uint64(weights.size)
    edge, step, at = np.uint64(reach), np.uint64(factor), np.uint64(place)
    last = size - np.uint64(1)
    for row in range(side):
        for i in range(padded.size):
            padded[i] = 0.0
        for k in range(np.uint64(0), taps, TOGETHER):
            a, b, c, d = (
                scale * weights[k],
                scale * weights[k + 1],
                scale * weights[k + 2],
                scale * weights[k + 3],
            )
            top = step * row + k
            first = min(max(top, edge) - edge, last)
            second = min(max(top + np.uint64(1), edge) - edge, last)
            third = min(max(top + np.uint64(2), edge) - edge, last)
            fourth = min(max(top + np.uint64(3), edge) - edge, last)
            for i in range(size):
                padded[edge + i] += (a * fine[first, i] + b * fine[second, i]) + (
                    c * fine[third, i] + d * fine[fourth, i]
                )
        for i in range(edge):
            padded[i] = padded[edge]
            padded[size + edge + i] = padded[last + edge]
        for i in range(side):
            images[at, row, i] = 0.0
        for k in range(np.uint64(0), taps, TOGETHER):
            a, b, c, d = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
            _along_row(padded, step, k, a, b, c, d, images, at, row, side)


@inlined
def _along_row(
    padded: Any, step: Any, k: Any, a: Any, b: Any, c: Any, d: Any, images: Any, at: Any, row: Any, side: Any
) -> None:
    one, two, three = k + np.uint64(1), k + np.uint64(2), k + np.uint64(3)
    if step == np.uint64(1):  # the same loop at a stride that the compiler can see
        for i in range(side):
            images[at, row, i] += (a * padded[i + k] + b * padded[i + one]) + (
                c * padded[i + two] + d * padded[i + three]
            )
    else:
        for i in range(side):
            start = step * i
            images[at, row, i] += (a * padded[start + k] + b * padded[start + one]) + (
                c * padded[start + two] + d * padded[start + three]
            )
