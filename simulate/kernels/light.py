"""Surface brightness of one row of pixels, added to what is there."""

from typing import Any

import numpy as np

from simulate.kernels.compiled import inlined
from simulate.kernels.elementary import exp, log

# lenstronomy's: the innermost part is flat, and nothing shines beyond so many half-light radii
SMOOTHING_ARCSEC = 1e-4
LARGEST_RADIUS2 = 1000.0**2


@inlined
def add_sersic(x: Any, y: Any, fine: Any, j: Any, sersics: Any, k: Any) -> None:
    """Sersic profile of elliptical shape at positions `x`, `y`, one per pixel of row `j` of the image `fine`.

    A row of `sersics`: amplitude times e^b, b, half of 1 / n, the quadratic form of the squared radius in
    half-light radii (xx, xy, yy), its floor, centre.
    """
    amplitude, steepness, half_power = sersics[k, 0], sersics[k, 1], sersics[k, 2]
    xx, xy, yy, floor = sersics[k, 3], sersics[k, 4], sersics[k, 5], sersics[k, 6]
    center_x, center_y = sersics[k, 7], sersics[k, 8]
    if half_power == 0.5:  # exponential discs, n = 1, are common and need neither power nor logarithm
        for i in range(x.size):
            dx, dy = x[i] - center_x, y[i] - center_y
            radius2 = max(dx * (xx * dx + xy * dy) + yy * dy * dy, floor)
            value = amplitude * exp(-steepness * np.sqrt(radius2))
            fine[j, i] += value if radius2 <= LARGEST_RADIUS2 else 0.0
    else:
        for i in range(x.size):
            dx, dy = x[i] - center_x, y[i] - center_y
            radius2 = max(dx * (xx * dx + xy * dy) + yy * dy * dy, floor)
            value = amplitude * exp(-steepness * exp(half_power * log(radius2)))
            fine[j, i] += value if radius2 <= LARGEST_RADIUS2 else 0.0


@inlined
def add_image(x: Any, y: Any, fine: Any, j: Any, images: Any, shown: Any, k: Any) -> None:
    """An image at positions `x`, `y`, linear between the middles of its pixels and dark beyond them.

    A row of `shown`: amplitude, which of `images`, centre, cosine and sine of its angle over the side of its
    pixels. `images` have a dark pixel more on each side.
    """
    amplitude, image = shown[k, 0], images[int(shown[k, 1])]
    center_x, center_y, cos, sin = shown[k, 2], shown[k, 3], shown[k, 4], shown[k, 5]
    height, width = image.shape
    middle_x, middle_y = 0.5 * (width - 1), 0.5 * (height - 1)
    for i in range(x.size):
        dx, dy = x[i] - center_x, y[i] - center_y
        column, row = dx * cos + dy * sin + middle_x, dy * cos - dx * sin + middle_y
        if 0.0 < column < width - 1 and 0.0 < row < height - 1:
            a, b = int(column), int(row)
            right, up = column - a, row - b
            below = image[b, a] * (1.0 - right) + image[b, a + 1] * right
            above = image[b + 1, a] * (1.0 - right) + image[b + 1, a + 1] * right
            fine[j, i] += amplitude * (below * (1.0 - up) + above * up)
