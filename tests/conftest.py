"""What tests share: small recipes, a finished store to read or to damage, and a state folder of their own."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

# Before Prefect is imported anywhere: nothing may touch ~/.prefect or ~/.local. One folder per session, so
# that Prefect's database is made once.
STATE = Path(tempfile.mkdtemp(prefix="lensmill-tests-"))
(STATE / "tmp").mkdir()
os.environ |= {
    # for processes that are killed and cannot tidy up; this one keeps the folder it has
    "TMPDIR": str(STATE / "tmp"),
    "LENSMILL_HOME": str(STATE),
    "PREFECT_HOME": str(STATE / "prefect"),
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DASK_LOGGING__DISTRIBUTED": "critical",
    "COLUMNS": "200",
}
os.environ.pop("PREFECT_API_URL", None)

from flows import generate, orders  # noqa: E402
from flows.generate import DatasetSummary, Order  # noqa: E402
from flows.shards import make_shard  # noqa: E402
from schemas.dataset import DatasetRecipe  # noqa: E402
from schemas.products import PRODUCTS  # noqa: E402
from schemas.store import Receipt, StorePlan, plan_store  # noqa: E402
from storage import commit, layout  # noqa: E402
from storage.files.place import Root  # noqa: E402
from storage.formats import BACKENDS  # noqa: E402
from storage.layout import Span  # noqa: E402
from tests.s3 import S3, s3_server  # noqa: E402

StoreArrays = dict[str, NDArray[Any]]

# a survey refuses those that are longer than so small a field
SHORT_VORTICES = "classes.vortex.substructure.half_length_at_1e22_arcsec=0.01"
# 60 images of 16 x 16: train 42 in six shards, val 6 in one, test 12 in two; train and test end in part
SMALL = (
    "samples_per_class=20",
    "instrument.num_pix=16",
    SHORT_VORTICES,
    "storage.shard_images=8",
    "seed=1001",
    "splits={train: 0.7, val: 0.1, test: 0.2}",
)


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_power_cuts() -> Iterator[None]:
    """Nothing here can cut the power, so syncing would only take time; commands of their own do sync."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def small_overrides() -> list[str]:
    """What makes `tiny` small enough for tests, as `--set` takes it."""
    return list(SMALL)


@pytest.fixture(scope="session")
def order_small() -> Callable[..., Order]:
    """Recipe and plan of a small store that is to be at a path; more overrides win."""

    def order(root: Root, *overrides: str) -> Order:
        return orders.prepare("tiny", root, None, [*SMALL, *overrides])

    return order


@pytest.fixture(scope="session")
def make_store() -> Callable[[Order], None]:
    """Make all of a store here and now, without Prefect."""

    def make(order: Order) -> None:
        with commit.writing(order.root):
            commit.begin(order.root, order.recipe, order.plan)
            spans = layout.spans(order.plan)
            receipts = [make_shard(order.root, order.recipe, order.plan, span) for span in spans]
            commit.seal(order.root, order.recipe, order.plan, receipts)

    return make


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A real S3 server on loopback with an empty bucket, and the environment that names it."""
    with s3_server(STATE) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


ON_S3 = " on s3"


@pytest.fixture(scope="session", params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    """Each file format in turn."""
    return str(request.param)


@pytest.fixture(scope="session", params=[*sorted(BACKENDS), f"zarr{ON_S3}"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each file format in turn, and the one that can be on S3 there as well."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_root(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Root]:
    """New places for stores of that kind, where nothing is yet."""

    def root(name: str) -> Root:
        if kind.endswith(ON_S3):
            server: S3 = request.getfixturevalue("s3")
            return server.new_root(name)
        return tmp_path_factory.mktemp("kind") / name

    return root


@pytest.fixture(scope="session")
def backend_store(
    kind: str,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    new_root: Callable[[str], Root],
) -> Order:
    """A finished small store of each kind. Not to be changed."""
    order = order_small(new_root("small.store"), f"storage.backend={kind.removesuffix(ON_S3)}")
    make_store(order)
    return order


@pytest.fixture(scope="session")
def format_store(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], Order]:
    """A finished small store with all products, of a file format and a profile. Not to be changed."""
    made: dict[tuple[str, str], Order] = {}

    def store(backend: str, profile: str) -> Order:
        if (backend, profile) not in made:
            root = tmp_path_factory.mktemp(f"{backend}-{profile}") / "small.store"
            options = (f"storage.backend={backend}", f"storage.profile={profile}")
            order = order_small(root, f"products=[{', '.join(PRODUCTS)}]", *options)
            make_store(order)
            made[backend, profile] = order
        return made[backend, profile]

    return store


@pytest.fixture(scope="session")
def sound_store(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Order:
    """A finished small store. Not to be changed."""
    order = order_small(tmp_path_factory.mktemp("sound") / "small.zarr")
    make_store(order)
    return order


@pytest.fixture(scope="session")
def sound_product_store(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Order:
    """A finished small store with all products. Not to be changed."""
    root = tmp_path_factory.mktemp("products") / "small.zarr"
    order = order_small(root, f"products=[{', '.join(PRODUCTS)}]")
    make_store(order)
    return order


@pytest.fixture
def store(sound_store: Order, tmp_path: Path) -> Order:
    """A finished small store to be damaged."""
    root = tmp_path / "small.zarr"
    # whoever verified the one that is shared left word of it there
    shutil.copytree(sound_store.root, root, ignore=shutil.ignore_patterns(commit.VERIFICATION.name))
    return replace(sound_store, root=root)


@pytest.fixture(scope="session")
def arrays_of() -> Callable[[Path], StoreArrays]:
    """All arrays of a store by `split/array`, read by plain zarr or h5py."""

    def arrays(root: Path) -> StoreArrays:
        if (root / "data.h5").is_file():
            with h5py.File(root / "data.h5", "r") as file:
                return {
                    f"{split}/{name}": array[:]
                    for split, members in sorted(file.items())
                    for name, array in sorted(members.items())
                }
        group = zarr.open_group(root, mode="r")
        return {
            f"{split}/{name}": np.asarray(array[:])
            for split, members in sorted(group.groups())
            for name, array in sorted(members.arrays())
        }

    return arrays


@pytest.fixture(scope="session")
def assert_same_arrays(
    arrays_of: Callable[[Path], StoreArrays],
) -> Callable[[Path, Path], None]:
    """Two stores decode to the same arrays, bit by bit."""

    def check(one: Path, other: Path) -> None:
        mine, theirs = arrays_of(one), arrays_of(other)
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
            assert array.dtype == theirs[name].dtype, name
            assert array.shape == theirs[name].shape, name
            assert array.tobytes() == theirs[name].tobytes(), name

    return check


@pytest.fixture(scope="session")
def bytes_of() -> Callable[[Root], dict[str, bytes]]:
    """All files of a store by their path, but for the lock and the record of the last `verify`."""

    def content(root: Root) -> dict[str, bytes]:
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in paths
            if path.relative_to(root) not in (commit.LOCK, commit.VERIFICATION)
        }

    return content


class Here:
    """The data-set flow in this process: its own logic of what to keep, with shards made one by one."""

    def __init__(self) -> None:
        self.made: list[Span] = []

    def make(self, order: Order, missing: list[Span], *_: Any) -> tuple[dict[Span, Receipt], float]:
        """In place of the Dask cluster."""
        found = {}
        for span in missing:
            found[span] = make_shard(order.root, order.recipe, order.plan, span)
            self.made.append(span)
        return found, 1.0

    def __call__(self, order: Order) -> DatasetSummary:
        """Make what is missing of a small store, as the command would."""
        self.made = []
        overrides = [
            f"samples_per_class={order.recipe.samples_per_class}",
            f"instrument.num_pix={order.recipe.detector.num_pix}",
            SHORT_VORTICES,
            f"seed={order.recipe.seed}",
            *(f"splits.{name}={getattr(order.recipe.splits, name)}" for name in ("train", "val", "test")),
            f"products=[{', '.join(order.recipe.products)}]",
            f"storage.backend={order.plan.backend}",
            f"storage.profile={order.plan.profile}",
        ]
        summary: DatasetSummary = generate.simulate_flow.fn(
            "tiny", str(order.root), None, order.plan.shard_rows, overrides, True
        )
        return summary


@pytest.fixture
def simulate_here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """The data-set flow without Prefect and Dask; `made` tells which shards the last call made."""
    here = Here()
    monkeypatch.setattr(generate, "_make", here.make)
    return here


@pytest.fixture(scope="session")
def plan_of() -> Callable[[DatasetRecipe, int], StorePlan]:
    """The plan of any recipe in shards of so many rows."""

    def plan(recipe: DatasetRecipe, shard_rows: int) -> StorePlan:
        return plan_store(recipe, layout.split_rows(recipe), shard_rows, orders.provenance(recipe))

    return plan


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's own Chromium; it has an event loop running, which tests of other modules do not bear."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on PATH")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield found
        found.close()


@pytest.fixture
def visit(browser: Any, file: Path) -> Iterator[Callable[..., Any]]:
    """Open the page `file`, by the end of which nothing was asked of the network and nothing went wrong."""
    contexts, asked, complaints = [], [], []

    def opened(fragment: str = "", **how: Any) -> Any:
        contexts.append(browser.new_context(**how))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(file.as_uri() + (f"#{fragment}" if fragment else ""))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints
    assert asked
    assert all(url.split("#")[0] == file.as_uri() for url in asked if not url.startswith("data:"))
