"""Our own golden images: two samples of each class of each shipped recipe, from the recipes' own seeds.

They change only on purpose, and the changelog says so:

    python tests/golden/regenerate.py

Images are made anew; labels, sample numbers and parameters have to be what they were, else nothing is
written. `--parameters` replaces those too.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.catalogue import shipped
from flows.galaxies import galaxies_of
from simulate.render import render
from tests.galaxies import load_shipped

SAMPLES = Path(__file__).parent / "samples.npz"
EACH = 2


def golden_samples(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a recipe's golden samples, under `recipe.array`."""
    recipe = load_shipped(name)
    rendered = render(recipe, np.arange(EACH * len(recipe.classes)), galaxies_of(recipe))
    return {f"{name}.{array}": values for array, values in rendered.arrays().items()}


def kept(before: dict[str, NDArray[Any]], now: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """New images beside the old numbers; those may differ by rounding, as on another processor."""
    numbers = {key: before[key] for key in now if key in before and not key.endswith(".image")}
    for key, expected in numbers.items():
        rounding = 1e-14 if expected.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(now[key], expected, rtol=rounding, err_msg=f"{key}: use --parameters")
    return now | numbers


def regenerate(parameters: bool = False) -> None:
    """Write the file anew."""
    arrays = {key: values for name in shipped() for key, values in golden_samples(name).items()}
    if not parameters:
        with np.load(SAMPLES) as npz:
            arrays = kept(dict(npz), arrays)
    np.savez_compressed(SAMPLES, allow_pickle=False, **arrays)


if __name__ == "__main__":
    regenerate(parameters="--parameters" in sys.argv[1:])
