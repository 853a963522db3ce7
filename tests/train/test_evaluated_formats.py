"""Every section of a report is the same of a store in another format, and of one on S3."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.generate import Order
from schemas.experiment import ExperimentRecipe
from schemas.report import Report
from storage.conversion import convert
from storage.files.place import Root
from tests.s3 import S3
from train.evaluate import evaluate, report_folder
from train.fit import fit

SPLITS = "splits={train: 0.3, val: 0.2, test: 0.5}"
DETECTABLE = "detectability=[test]"
# What is of the place or the clock and not of the samples.
OWN = ("run", "store", "at", "ms_per_image", "speeds", "looks", "device")


@pytest.fixture(scope="module")
def store(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Enough test samples of each class for bins, confusions and bounds."""
    order = order_small(
        tmp_path_factory.mktemp("wide") / "wide.zarr", "samples_per_class=90", SPLITS, DETECTABLE
    )
    make_store(order)
    assert isinstance(order.root, Path)
    return order.root


@pytest.fixture(scope="module")
def run(
    experiment: Callable[..., ExperimentRecipe], store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A classifier of the store."""
    out = tmp_path_factory.mktemp("formats") / "run"
    fit(experiment(), store, out, quiet=True)
    return out


@pytest.fixture(scope="module")
def expected(run: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, set[str]]:
    """The report of the store as it was made, with the names of its files."""
    return _report(run, store, tmp_path_factory.mktemp("expected"))


def _report(run: Path, store: Root, folder: Path) -> tuple[Report, set[str]]:
    own = folder / "run"
    shutil.copytree(run, own, ignore=shutil.ignore_patterns("reports", "baselines"))
    report = evaluate(own, store)
    there = report_folder(own, report)
    return report, {str(path.relative_to(there)) for path in there.rglob("*")}


def _content(report: Report) -> dict[str, Any]:
    return {name: value for name, value in report if name not in OWN}


def _elsewhere(store: Path, place: str, request: pytest.FixtureRequest, folder: Path) -> Root:
    if place == "hdf5":
        convert(store, folder / "wide.h5store", "hdf5")
        return folder / "wide.h5store"
    server: S3 = request.getfixturevalue("s3")
    root = server.new_root("wide.zarr")
    for path in store.rglob("*"):
        if path.is_file():
            (root / str(path.relative_to(store))).put(path.read_bytes())
    return root


@pytest.mark.parametrize("place", ["hdf5", "s3"])
def test_a_report_is_of_the_samples_and_not_of_their_place(
    place: str,
    run: Path,
    store: Path,
    expected: tuple[Report, set[str]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    report, files = expected
    for section in (report.dependences, report.bounds, report.confused, report.examples, report.reliability):
        assert section
    assert {one.kind for one in report.baselines} == {"components", "shuffled", "constant"}
    found, told = _report(run, _elsewhere(store, place, request, tmp_path), tmp_path)
    assert _content(found) == _content(report)
    assert told == files
