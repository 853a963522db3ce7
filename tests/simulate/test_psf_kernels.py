"""Point spread functions given as kernels, on the pixel grid and on the fine grid."""

from typing import Any

import numpy as np
import pytest
from scipy.signal import convolve2d

from flows.catalogue import load_recipe
from simulate.draw import draw
from simulate.render import noise_free

LENS = ("main_lens={kind: SIE, theta_E: 1.0, e1: 0.2}", "source.center_x=0.1", "instrument.num_pix=40")
RNG = np.random.default_rng(0)


def kernel(side: int) -> np.ndarray:
    values = RNG.random((side, side))
    return values / values.sum()


def psf(values: np.ndarray, sampling: int = 1) -> str:
    return f"instrument.psf={{kind: kernel, values: {values.tolist()}, sampling: {sampling}}}"


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() < 1e-12 * expected.max()


@pytest.mark.parametrize("side", [1, 3, 7, 13, 41, 61])
@pytest.mark.parametrize("supersampling", [1, 3])
def test_a_kernel_of_whole_pixels_is_applied_to_averaged_pixels(
    bare_image: Any, side: int, supersampling: int
) -> None:
    values, fine = kernel(side), f"instrument.supersampling={supersampling}"
    sharp = bare_image(*LENS, fine)
    assert_close(bare_image(*LENS, fine, psf(values)), convolve2d(sharp, values, mode="same"))


# 7 of 5: lenstronomy cannot bin such a kernel, and need not
@pytest.mark.parametrize(("side", "factor"), [(1, 2), (3, 2), (7, 3), (21, 3), (7, 5), (9, 4), (45, 3)])
def test_a_fine_kernel_is_applied_before_the_average(bare_image: Any, side: int, factor: int) -> None:
    values = kernel(side)
    fine = bare_image(
        *LENS,
        f"instrument.num_pix={40 * factor}",
        f"instrument.pixel_scale_arcsec={0.1 / factor!r}",
    )
    spread = convolve2d(fine, values, mode="same").reshape(40, factor, 40, factor).sum(axis=(1, 3))
    found = bare_image(*LENS, f"instrument.supersampling={factor}", psf(values, factor))
    assert np.abs(found - spread).max() < 1e-10 * spread.max()


def test_a_kernel_that_is_not_symmetric_keeps_its_sense(bare_image: Any) -> None:
    right = np.zeros((3, 3))
    right[1, 2] = 1
    sharp = bare_image(*LENS)
    shifted = bare_image(*LENS, psf(right))
    assert_close(shifted[:, 1:], sharp[:, :-1])


def test_a_gaussian_kernel_is_the_gaussian(bare_image: Any) -> None:
    sigma = 0.16 / np.sqrt(8 * np.log(2)) / 0.1
    radius = int(5 * sigma + 0.5)
    line = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    values = np.outer(line, line) / line.sum() ** 2
    found = bare_image(*LENS, psf(values))
    expected = bare_image(*LENS, "instrument.psf={kind: gaussian, fwhm_arcsec: 0.16}")
    # at the edges scipy repeats the last pixel
    inside = slice(radius, -radius)
    assert_close(found[inside, inside], expected[inside, inside])


def test_a_kernel_is_stored_and_used_exactly_as_given() -> None:
    values = kernel(5) * (1 + 5e-7)
    recipe = load_recipe("model_ii", [psf(values), "engine=lenstronomy"])
    assert recipe.detector.psf.values == tuple(map(tuple, values.tolist()))
    ids = np.arange(2)
    sharp = load_recipe("model_ii", ["instrument.psf={kind: none}", "engine=lenstronomy"])
    found, plain = (noise_free(one, draw(one, ids)) for one in (recipe, sharp))
    assert_close(found[0], convolve2d(plain[0], values, mode="same"))


def test_recipes_of_two_kernels_are_told_apart() -> None:
    """Their hashes agree where their middle rows do; the recipes must not."""
    one = kernel(3)
    other = one[::-1]
    first, second = (load_recipe("model_ii", [psf(values)]) for values in (one, other))
    assert hash(first) == hash(second)
    assert first != second
    assert first.digest != second.digest
