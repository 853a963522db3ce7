"""How fast the reference engine is: images per second and core by class, and on two processes at once.

    python benchmarks/rates.py [RECIPE] [--images N] [--out rates.json]

Rendered, not written: draws, lens equation, PSF and noise. Medians of several runs in one session; compare
ratios, since machines are shared and noisy.
"""

import argparse
import json
import os
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from flows.catalogue import load_recipe
from simulate.render import render

RUNS = 7


def seconds(recipe_name: str, position: int, images: int) -> float:
    """Seconds to render so many images of one class."""
    recipe = load_recipe(recipe_name)
    ids = np.arange(images) * len(recipe.classes) + position
    started = time.perf_counter()
    render(recipe, ids)
    return time.perf_counter() - started


def measure(recipe_name: str, images: int) -> dict[str, object]:
    """Images per second of each class on one core and on two."""
    recipe = load_recipe(recipe_name)
    rows = {}
    with ProcessPoolExecutor(2) as pool:
        for position, one in enumerate(recipe.classes):
            # first calls build lenstronomy's objects
            list(pool.map(seconds, [recipe_name] * 2, [position] * 2, [16] * 2))
            seconds(recipe_name, position, 16)
            alone = [seconds(recipe_name, position, images) for _ in range(RUNS)]
            pairs = []
            for _ in range(RUNS):
                started = time.perf_counter()
                list(pool.map(seconds, [recipe_name] * 2, [position] * 2, [images] * 2))
                pairs.append(time.perf_counter() - started)
            one_core, two = images / statistics.median(alone), 2 * images / statistics.median(pairs)
            rows[one.name] = {
                "images_per_s_one_core": round(one_core, 1),
                "images_per_s_two_processes": round(two, 1),
                "ratio": round(two / one_core, 2),
                "ms_per_image": [round(1000 * value / images, 3) for value in sorted(alone)],
            }
    return {
        "recipe": recipe_name,
        "engine": recipe.engine,
        "runs": RUNS,
        "images": images,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "classes": rows,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", default="model_ii")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    text = json.dumps(measure(options.recipe, options.images), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
