"""The recipes that come with lensmill, and how a name or a path becomes a recipe."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from flows.galaxies import with_galaxies
from schemas.cluster import AnyCluster, ClusterRecipe, ExistingScheduler, TLSFiles
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.experiment import ExperimentRecipe
from schemas.galaxy_image import GalaxyImage
from schemas.instrument import Detector, KernelFilePSF, KernelPSF, check_kernel
from schemas.reading import Document, read_recipe, recipe_from, validate
from schemas.registry import unknown_name
from simulate.feasibility import check_feasible
from simulate.instruments import resolve

# a shipped name, the path of a file, or the recipe itself: as a model, or as a form sends it
AnyRecipe = str | DatasetRecipe | dict[str, Any]
AnyExperiment = str | ExperimentRecipe | dict[str, Any]
SENT = "the recipe that was sent"


@dataclass(frozen=True)
class RecipeCard:
    """What a list of recipes shows of each."""

    name: str
    family: str
    images: int
    description: str
    needs_file: bool = False


def shipped(kind: str = "recipe") -> dict[str, Path]:
    """Shipped recipes, experiments or clusters by name."""
    folder = Path(str(resources.files("flows") / "recipes"))
    if kind != "recipe":
        folder /= f"{kind}s"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipes() -> list[RecipeCard]:
    """The shipped data-set recipes, with what they make."""
    cards = []
    for name, path in shipped().items():
        with warnings.catch_warnings():
            # what is odd about a recipe is said when it is used
            warnings.simplefilter("ignore")
            recipe = _read(path)
        needs_file = isinstance(recipe.source, GalaxyImage) and recipe.source.file is None
        description = recipe.description.strip()
        cards.append(RecipeCard(name, recipe.family, recipe.sample_count, description, needs_file))
    return cards


def complete() -> list[str]:
    """The shipped recipes that need no file of the user's."""
    return [card.name for card in recipes() if not card.needs_file]


def experiments() -> list[tuple[str, str]]:
    """The shipped experiments, with what they learn."""
    found = [load_experiment(name) for name in shipped("experiment")]
    return [(one.name, one.description.strip()) for one in found]


def load_recipe(recipe: AnyRecipe, overrides: Sequence[str] = ()) -> DatasetRecipe:
    """A recipe by its name, file or content, with its instrument and its PSF kernel by numbers."""
    if isinstance(recipe, str):
        path = _path(recipe, "recipe")
        read = _read(path, overrides)
    else:
        # files that it names count from where the flow works
        path = Path()
        read = _ready(recipe_from(recipe, SENT, DatasetRecipe, overrides))
    found = _with_kernels(read, path, overrides)
    return with_galaxies(found, folder_of(["source.file"], path, overrides))


def _read(path: Path, overrides: Sequence[str] = ()) -> DatasetRecipe:
    """A recipe before its files are looked at."""
    return _ready(read_recipe(path, DatasetRecipe, overrides))


def _ready(recipe: DatasetRecipe) -> DatasetRecipe:
    found = resolve(recipe)
    check_feasible(found)
    return found


def _with_kernels(recipe: DatasetRecipe, path: Path, overrides: Sequence[str]) -> DatasetRecipe:
    """The recipe with the values of kernels in place of their files, those of bands too."""
    found: dict[str, Any] = {}
    if isinstance(recipe.instrument, Detector) and isinstance(recipe.instrument.psf, KernelFilePSF):
        kernel = _kernel(recipe.instrument.psf, folder_of(["instrument.psf.path"], path, overrides))
        found["instrument"] = recipe.instrument.model_copy(update={"psf": kernel})
    if any(isinstance(band.psf, KernelFilePSF) for band in recipe.bands or ()):
        bands = list(recipe.bands or ())
        for k, band in enumerate(bands):
            if isinstance(band.psf, KernelFilePSF):
                folder = folder_of([f"bands.{one}.psf.path" for one in (band.name, k)], path, overrides)
                bands[k] = band.model_copy(update={"psf": _kernel(band.psf, folder)})
        found["bands"] = tuple(bands)
    return recipe.model_copy(update=found) if found else recipe


def folder_of(keys: Sequence[str], recipe: Path, overrides: Sequence[str]) -> Path:
    """Where a path in a recipe counts from: the recipe's folder, or here when an override says its key."""
    parts = [key.split(".") for key in keys]
    above = {".".join(words[:length]) for words in parts for length in range(1, len(words) + 1)}
    said = {one.partition("=")[0].strip() for one in overrides}
    return Path() if said & above else recipe.parent


def _kernel(psf: KernelFilePSF, folder: Path) -> KernelPSF:
    # imported here: reading a file is rare, and the package of stores is slow to load
    from storage.foreign import read_kernel

    path = folder / psf.path
    values = tuple(tuple(row) for row in read_kernel(path).tolist())
    try:
        check_kernel(values)
    except ValueError as error:
        raise RecipeError(
            f"{path}: {error}",
            expected="a square image of a point source, an odd number of pixels a side, that sums to 1",
            where=f"instrument.psf.path, found at {path.absolute()}",
            advice="cut, centre and normalise the kernel, and save it anew",
        ) from error
    return KernelPSF(values=values, sampling=psf.sampling)


def load_experiment(experiment: AnyExperiment, overrides: Sequence[str] = ()) -> ExperimentRecipe:
    """An experiment by its name, file or content."""
    if not isinstance(experiment, str):
        return recipe_from(experiment, SENT, ExperimentRecipe, overrides)
    return read_recipe(_path(experiment, "experiment"), ExperimentRecipe, overrides)


def clusters() -> list[tuple[str, str]]:
    """The shipped clusters, with what they are."""
    return [
        (name, read_recipe(path, ClusterRecipe).cluster.kind) for name, path in shipped("cluster").items()
    ]


def load_cluster(file: Path | None, address: str | None, workers: int | None = None) -> AnyCluster | None:
    """The cluster that a command names, by a file, a shipped name or the address of a scheduler.

    None for this machine.
    """
    if file and address:
        raise RecipeError(
            "two clusters are named", expected="one of --cluster and --dask-address", advice="leave one out"
        )
    if workers and (file or address):
        raise RecipeError(
            f"--workers {workers} is for this machine, and a cluster is named",
            expected="--workers, or one of --cluster and --dask-address",
            advice="leave it out; a cluster's file says how many workers there are",
        )
    if address:
        return _scheduler_at(address)
    if file is None:
        return None
    path = _path(str(file), "cluster")
    return _with_files(read_recipe(path, ClusterRecipe).cluster, path.parent)


def _scheduler_at(address: str) -> AnyCluster:
    said: dict[str, Any] = {"kind": "scheduler", "address": address}
    try:
        return validate(Document({"cluster": said}, "--dask-address"), ClusterRecipe).cluster
    except RecipeError as error:
        error.advice = "certificates go into a file for --cluster; docs/cluster.md has one"
        raise


def _with_files(cluster: AnyCluster, folder: Path) -> AnyCluster:
    """The cluster with paths of certificates that count from its file's folder."""
    if not isinstance(cluster, ExistingScheduler) or cluster.tls is None:
        return cluster
    files = {
        name: str((folder / Path(file).expanduser()).absolute())
        for name, file in cluster.tls.model_dump().items()
    }
    return cluster.model_copy(update={"tls": TLSFiles(**files)})


def _path(name: str, kind: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.name != name:
        return path
    known = shipped(kind)
    if name not in known:
        advice = f"name a shipped {kind}, or give the path of a .yaml file"
        raise unknown_name(kind, name, known, advice)
    return known[name]
