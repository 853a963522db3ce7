"""The picture of one sample is to be seen, in whatever unit its image is."""

import io
from typing import Any

import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray

from schemas.sample import SampleSheet
from storage.pictures.portrait import portrait

SHEET = SampleSheet(
    sample_id=3, recipe="model_iv", digest="0" * 64, engine="fused", class_name="cdm", label=1, split="train",
    row=3, pixel_scale_arcsec=0.1, parameters=(), subhalos=1,
)  # fmt: skip


def _panels(image: NDArray[Any], sharp: NDArray[Any], normalised: bool) -> tuple[float, float]:
    """Mean brightness in the middle of the two upper panels."""
    arrays = {"image": image[None], "noise_free": sharp[None], "convergence": np.zeros((1, 32, 32))}
    arrays["deflection"] = np.full((2, 32, 32), 0.5)
    pixels = pyplot.imread(io.BytesIO(portrait(SHEET, arrays, normalised)))[..., 0]
    height, width = pixels.shape
    upper = pixels[int(height * 0.18) : int(height * 0.36)]
    return tuple(
        float(upper[:, int(width * left) : int(width * (left + 0.16))].mean()) for left in (0.15, 0.63)
    )  # type: ignore[return-value]


def test_a_normalised_image_is_as_bright_as_what_it_was_made_of() -> None:
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    sharp = (300 * np.exp(-3 * (x**2 + y**2))).astype(np.float32)
    first, second = _panels(sharp / sharp.max(), sharp, normalised=True)
    assert second > 0.3
    assert abs(first - second) < 0.02
    # one scale for both, as it is right where the unit is one, would leave it black
    assert _panels(sharp / sharp.max(), sharp, normalised=False)[0] < 0.1
    assert abs(np.subtract(*_panels(sharp, sharp, normalised=False))) < 0.02
