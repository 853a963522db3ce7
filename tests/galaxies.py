"""Spiral-ish galaxies in a file of Galaxy10's form, for tests and for readers without the real one.

python -m tests.galaxies galaxies.h5
"""

import atexit
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from flows.catalogue import complete, load_recipe
from schemas.dataset import DatasetRecipe

SPIRAL = 6
SKY = 8


def spiral(number: int, side: int = 128) -> NDArray[np.uint8]:
    """A bulge and a disc with logarithmic arms and knots, brighter and bluer or redder by its number."""
    rng = np.random.default_rng(number)
    tilt, turn, pitch, arms = (
        rng.uniform(0, 0.5),
        rng.uniform(0, np.pi),
        rng.uniform(2, 5),
        rng.integers(2, 4),
    )
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    across = (x * np.cos(turn) + y * np.sin(turn)) / (1 - tilt)
    along = y * np.cos(turn) - x * np.sin(turn)
    radius = np.hypot(across, along) / (side / 8)
    wave = np.cos(arms * (np.arctan2(along, across) - pitch * np.log(radius + 0.2)))
    knots = rng.normal(size=(side, side)).cumsum(axis=0).cumsum(axis=1)
    knots = 0.15 * np.sin(knots / np.abs(knots).max() * 20)
    disc = np.exp(-radius) * (1 + (0.6 * wave + knots) * np.minimum(radius, 1))
    bulge = 1.5 * np.exp(-4 * radius)
    colours = [0.6 * disc + bulge, 0.9 * disc + 0.8 * bulge, disc + 0.4 * bulge]
    image = np.stack([SKY + 120 * one for one in colours], axis=-1) + rng.normal(0, 1.5, (side, side, 3))
    return image.clip(0, 255).astype(np.uint8)


def write_galaxies(path: Path, count: int = 8, side: int = 128) -> Path:
    """A file of `count` galaxies: all nearby spirals but for each fifth, which is another kind far away."""
    far = np.arange(count) % 5 == 4
    with h5py.File(path, "w", track_order=False) as file:
        file["images"] = np.stack([spiral(number, side) for number in range(count)])
        file["ans"] = np.where(far, 2, SPIRAL).astype(np.uint8)
        file["redshift"] = np.where(far, 0.15, 0.01 + 0.0001 * np.arange(count))
    return path


@cache
def galaxies() -> Path:
    """A small file, made once and gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="lensmill-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_galaxies(folder / "galaxies.h5")


def settings(path: Path) -> list[str]:
    """What makes `model_iv` use such a file, as --set takes it."""
    return [f"source.file={path}", "source.choose.positions=null"]


def load_shipped(name: str, *overrides: str) -> DatasetRecipe:
    """A shipped recipe; one that shows galaxies gets the small file of them."""
    return load_recipe(name, [*([] if name in complete() else settings(galaxies())), *overrides])


if __name__ == "__main__":
    # as many, and as large, as `model_iv` chooses its 47 from
    write_galaxies(Path(sys.argv[1]), count=75, side=256)
