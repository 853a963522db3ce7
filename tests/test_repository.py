"""What holds for the repository as a whole: names, sizes, imports, shipped recipes."""

import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.catalogue import shipped
from schemas.galaxy_image import GalaxyImage
from tests.galaxies import load_shipped

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("schemas", "simulate", "storage", "train", "flows")
CODE = sorted(
    path
    for folder in (*PACKAGES, "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
MODULES = sorted(
    module.name
    for package in PACKAGES
    if package != "train"
    for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
)

# by a finder: scipy and dask ask sys.modules for torch and stumble over a None there
BLOCK_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "lightning", "torchmetrics", "torchvision"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
"""
IMPORT_ALL = """
import importlib, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)
import psutil
print(threading.active_count(), len(psutil.Process().children(recursive=True)))
"""


def _python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_the_one_in_this_repository(package: str) -> None:
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).resolve() == ROOT / package / "__init__.py"


def test_workers_need_no_torch() -> None:
    _python(BLOCK_TORCH + "import flows.shards, flows.cli, storage.verify")
    with pytest.raises(AssertionError, match="torch is blocked"):
        _python(BLOCK_TORCH + "import torch")


@pytest.mark.parametrize(
    ("package", "strangers"),
    [
        ("schemas", ("lenstronomy", "astropy", "numba", "zarr", "h5py", "prefect", "dask", "torch")),
        (
            "simulate.render",
            ("lenstronomy", "astropy", "zarr", "h5py", "prefect", "dask", "torch", "storage"),
        ),
        ("storage.verify", ("lenstronomy", "astropy", "prefect", "dask", "torch", "simulate")),
        ("flows.cli", ("lenstronomy", "zarr", "prefect", "dask", "torch")),
    ],
)
def test_packages_load_only_what_they_need(package: str, strangers: tuple[str, ...]) -> None:
    modules = [name for name in MODULES if name.startswith("schemas.")] if package == "schemas" else [package]
    code = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        f"print(*[name for name in {strangers!r} if name in sys.modules])"
    )
    assert _python(code, *modules) == ""


def test_importing_starts_nothing() -> None:
    assert len(MODULES) > 30
    threads, children = _python(IMPORT_ALL, *MODULES).split()
    assert (threads, children) == ("1", "0")


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "misc"}
    parts = {part for path in CODE for part in (*path.relative_to(ROOT).parts[:-1], path.stem)}
    assert not parts & drawers


def test_no_flow_file_hides_a_package() -> None:
    # Prefect puts the folder of a flow file first on the path
    names = {path.stem for path in (ROOT / "flows").rglob("*.py")}
    assert not names & {*PACKAGES, "tests"}


def test_tests_are_no_package_and_have_names_of_their_own() -> None:
    tests = [path for path in CODE if path.is_relative_to(ROOT / "tests")]
    names = [path.name for path in tests if path.name != "conftest.py"]
    assert "__init__.py" not in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_each_shipped_recipe_loads_and_opens_with_its_command(name: str) -> None:
    recipe = load_shipped(name)
    assert recipe.name == name
    assert recipe.description.strip()
    first = shipped()[name].read_text().splitlines()[0]
    command = f"# lensmill simulate {name} --out {name}.zarr"
    file = isinstance(recipe.source, GalaxyImage)
    assert first == (f"{command} --set source.file=Galaxy10_DECals.h5" if file else command)


def test_seeds_of_shipped_recipes_differ() -> None:
    seeds = [load_shipped(name).seed for name in shipped()]
    assert len(set(seeds)) == len(seeds) >= 6


def test_digests_of_shipped_recipes_differ() -> None:
    digests = [load_shipped(name).digest for name in shipped()]
    assert len(set(digests)) == len(digests)
