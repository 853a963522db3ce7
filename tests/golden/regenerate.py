"""Our own golden images: two samples of each class of each shipped recipe, from the recipes' own seeds.

They change only on purpose, and the changelog says so:

    python tests/golden/regenerate.py
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.catalogue import load_recipe, shipped
from simulate.render import render

SAMPLES = Path(__file__).parent / "samples.npz"
EACH = 2


def golden_samples(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a recipe's golden samples, under `recipe.array`."""
    recipe = load_recipe(name)
    rendered = render(recipe, np.arange(EACH * len(recipe.classes)))
    return {f"{name}.{array}": values for array, values in rendered.arrays().items()}


def regenerate() -> None:
    """Write the file anew."""
    arrays = {key: values for name in shipped() for key, values in golden_samples(name).items()}
    np.savez_compressed(SAMPLES, allow_pickle=False, **arrays)


if __name__ == "__main__":
    regenerate()
