"""Who competes in a case: lenstronomy in its ways, our engines and their steps, the bare normal deviates."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.random import Generator, Philox

from benchmarks.baselines import Lenstronomy
from benchmarks.cases import Case
from benchmarks.published import Published
from benchmarks.rounds import LEAST_IMAGES, Contestant
from schemas.dataset import DatasetRecipe, Splits
from schemas.store import Provenance, StorePlan, plan_store
from simulate.draw import draw
from simulate.kernels.noise import GAUSSIAN_ABOVE_ELECTRONS
from simulate.render import block_rows, finish, noise_free, render
from storage import commit, layout

BASELINE = "lenstronomy, built once"
REBUILT = "lenstronomy, rebuilt per image"
PUBLISHED = "published"
SHORTENED = "published, its unused halos drawn once"
FLOOR = "normal deviates alone"
STEPS = ("draw", "engine", "noise")


@dataclass(frozen=True)
class Outside:
    """Where the published simulator is, if anywhere."""

    python: Path
    paths: str


def lenstronomys(case: Case, folder: Path) -> tuple[Contestant, ...]:
    """The baselines of a case; written ones save their images as one array."""
    baseline = Lenstronomy(case, draw(case.recipe, np.arange(block_rows(case.recipe))))
    if case.written:
        file = folder / "baseline.npy"
        return (Contestant(BASELINE, lambda images: np.save(file, baseline.idiomatic(images)), most=2048),)
    return (
        Contestant(BASELINE, baseline.idiomatic, most=2048),
        Contestant(REBUILT, baseline.rebuilt, most=512),
    )


def deviation(case: Case, engine: str, rows: int = 32) -> float:
    """Largest difference between the engine's and lenstronomy's noise-free images, in parts of the peak."""
    recipe = _with(case.recipe, engine)
    drawn = draw(recipe, np.arange(rows))
    ours, baseline = noise_free(recipe, drawn), Lenstronomy(case, drawn)
    truth = np.stack([baseline.noise_free(row) for row in range(rows)])
    peaks = np.abs(truth).max(axis=(1, 2))
    # `normal` must not draw Poisson deviates for us alone
    assert case.noise != "normal" or truth.min() * recipe.detector.total_exposure_s > GAUSSIAN_ABOVE_ELECTRONS
    found = float((np.abs(ours - truth).max(axis=(1, 2)) / peaks).max())
    if not found <= case.tolerance(engine):
        raise SystemExit(
            f"{case.key}: {engine} differs from lenstronomy by {found:.2e} of the peak, expected at most"
            f" {case.tolerance(engine):.0e}: these are not the same images, so times mean nothing"
        )
    return found


def whole(case: Case, engine: str, folder: Path) -> Contestant:
    """Draws, images and noise, and the writing of a shard where the case has it."""
    recipe = _with(case.recipe, engine)
    if case.written:
        most = layout.default_shard_rows(4 * recipe.detector.num_pix**2)
        return Contestant(engine, _writer(recipe, folder), most=most, least=_least(engine, recipe))
    return Contestant(engine, lambda images: render(recipe, np.arange(images)), least=_least(engine, recipe))


def _least(engine: str, recipe: DatasetRecipe) -> int:
    """Whole blocks, as in use; the reference takes its images one by one."""
    return LEAST_IMAGES if engine == "lenstronomy" else block_rows(recipe)


def steps(case: Case, engine: str) -> tuple[Contestant, ...]:
    """The parts of `render` on their own, block by block as there."""
    recipe = _with(case.recipe, engine)
    block = np.arange(block_rows(recipe))
    drawn = draw(recipe, block)
    images = noise_free(recipe, drawn)
    parts: tuple[Callable[[], object], ...] = (
        lambda: draw(recipe, block),
        lambda: noise_free(recipe, drawn),
        lambda: finish(recipe, drawn, images),
    )
    return tuple(
        Contestant(f"{engine}: {name}", _repeated(part, len(block)), least=len(block))
        for name, part in zip(STEPS, parts, strict=True)
    )


def floor(num_pix: int) -> Contestant:
    """numpy's normal deviates of one image, nothing else."""
    rng = Generator(Philox(1))
    deviates = np.empty((num_pix, num_pix))

    def run(images: int) -> None:
        for _ in range(images):
            rng.standard_normal(out=deviates)

    return Contestant(FLOOR, run)


def published(case: Case, outside: Outside, stack: contextlib.ExitStack) -> tuple[Contestant, ...]:
    """The published simulator as it is, and without the halo population that it draws and never uses."""
    found = []
    for name, shortened, most in ((PUBLISHED, False, 2), (SHORTENED, True, 64)):
        child = Published(outside.python, outside.paths, case.group, case.class_name, shortened)
        stack.enter_context(child)
        found.append(Contestant(name, child.seconds, most=most, least=1, own_clock=True))
    return tuple(found)


def _with(recipe: DatasetRecipe, engine: str) -> DatasetRecipe:
    return recipe.model_copy(update={"engine": engine})


def _repeated(part: Callable[[], object], block: int) -> Callable[[int], None]:
    def run(images: int) -> None:
        for _ in range(images // block):
            part()

    return run


def _writer(recipe: DatasetRecipe, folder: Path) -> Callable[[int], None]:
    """Renders and writes the only shard of a store; each number of images has a store of its own."""
    stores: dict[int, tuple[Path, StorePlan]] = {}

    def begin(images: int) -> tuple[Path, StorePlan]:
        root = Path(tempfile.mkdtemp(dir=folder)) / "store.zarr"
        sized = recipe.model_copy(update={"samples_per_class": images, "splits": Splits(train=Fraction(1))})
        made_by = Provenance(engine=recipe.engine, versions={})
        power_of_two = 1 << (images - 1).bit_length()
        plan = plan_store(sized, layout.split_rows(sized), power_of_two, made_by)
        commit.begin(root, sized, plan)
        return root, plan

    def run(images: int) -> None:
        if images not in stores:
            stores[images] = begin(images)
        root, plan = stores[images]
        span = next(layout.spans(plan))
        samples = render(recipe, layout.sample_ids(recipe, span))
        commit.write_shard(root, recipe, plan, span, samples.arrays())

    return run
