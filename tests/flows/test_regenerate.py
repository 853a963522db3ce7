"""Versions of a data set: a seed for each, the unfinished one first, `latest` names a verified one."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import generate, judging, regenerate
from flows.generate import DatasetSummary, Order
from flows.regenerate import next_version, regenerate_flow, version_name, version_seed
from schemas.errors import RecipeError, StoreDamagedError
from storage import commit
from storage.reader import open_store
from storage.verify import Verification, verify


@pytest.fixture
def make_version(
    monkeypatch: pytest.MonkeyPatch, simulate_here: Any, small_overrides: list[str]
) -> Callable[..., DatasetSummary]:
    """The scheduled flow in this process, without Prefect and Dask."""
    monkeypatch.setattr(regenerate, "simulate_flow", generate.simulate_flow.fn)

    def make(folder: Path, *changed: str, **options: Any) -> DatasetSummary:
        # tiny does not compensate the mass of substructure, which an audit refuses
        options = {"audit": False} | options
        made: DatasetSummary = regenerate_flow.fn(
            "tiny", str(folder), 1, [*small_overrides, *changed], **options
        )
        return made

    return make


def test_seeds_of_versions_differ_and_stay() -> None:
    seeds = [version_seed(base, number) for base in (0, 1, 1001) for number in range(1, 400)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**53 for seed in seeds)
    assert max(seeds) > 2**52, "the whole range is used"
    # written down here: version k of a lineage is the same data set for ever
    assert version_seed(1001, 1) == 5368096628693468
    assert version_seed(1001, 2) == int(hashlib.sha256(b"1001,2").hexdigest(), 16) % 2**53


@pytest.mark.parametrize(
    ("finished", "unfinished", "expected"),
    [
        ([], [], 1),
        ([1], [], 2),
        ([], [1], 1),
        ([1, 2, 3], [], 4),
        ([1, 2], [3], 3),
        ([1, 3], [2], 4),
        ([9], [10], 10),
        ([9999], [], 10000),
    ],
)
def test_the_next_version(tmp_path: Path, finished: list[int], unfinished: list[int], expected: int) -> None:
    for number in (*finished, *unfinished):
        marker = tmp_path / version_name(number) / commit.MARKER
        marker.parent.mkdir(parents=True)
        if number in finished:
            marker.touch()
    # what is none of ours does not count
    (tmp_path / "v00x1.zarr").mkdir()
    (tmp_path / "mine.zarr").mkdir()
    assert next_version(tmp_path) == expected


def test_names_of_versions_sort_as_they_were_made() -> None:
    assert [version_name(number) for number in (1, 2, 10)] == ["v0001.zarr", "v0002.zarr", "v0010.zarr"]


def test_each_version_is_new_data_and_latest_names_it(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    first = make_version(tmp_path / "lineage")
    assert (tmp_path / "lineage" / "latest").read_text() == "v0001.zarr\n"
    second = make_version(tmp_path / "lineage")
    assert (tmp_path / "lineage" / "latest").read_text() == "v0002.zarr\n"
    assert first.digest != second.digest
    names = {"latest", "lineage.json", "lineage.lock", "v0001.zarr", "v0002.zarr"}
    assert {path.name for path in (tmp_path / "lineage").iterdir()} == names
    images = []
    for number in (1, 2):
        store = open_store(tmp_path / "lineage" / version_name(number))
        assert store.recipe.seed == version_seed(1001, number)
        assert verify(store.root).sound
        images.append(store.read("train", "image"))
    assert images[0].shape == images[1].shape
    assert (images[0] != images[1]).any(axis=(1, 2, 3)).all()


def test_an_unfinished_version_is_completed_first(
    make_version: Callable[..., DatasetSummary], simulate_here: Any, tmp_path: Path
) -> None:
    whole = make_version(tmp_path)
    store = tmp_path / version_name(1)
    commit.unseal(store)
    receipt = next((store / commit.RECEIPTS).rglob("*.json"))
    receipt.unlink()
    (tmp_path / "latest").unlink()
    simulate_here.made = []
    again = make_version(tmp_path)
    assert (again.digest, again.store, again.made) == (whole.digest, whole.store, 1)
    assert len(simulate_here.made) == 1
    assert (tmp_path / "latest").read_text() == "v0001.zarr\n"


def test_a_damaged_version_is_not_called_latest(
    make_version: Callable[..., DatasetSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version(tmp_path)

    def damaged(root: Path) -> Verification:
        found = verify(root)
        return found.model_copy(update={"faults": ("one bit",)})

    monkeypatch.setattr(judging, "verify", damaged)
    with pytest.raises(StoreDamagedError, match="version 2 is damaged: one bit"):
        make_version(tmp_path)
    assert (tmp_path / "latest").read_text() == "v0001.zarr\n"


def test_bad_input_makes_nothing(sound_store: Order, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown key"):
        regenerate_flow.fn("tiny", str(tmp_path / "lineage"), 1, ["sed=3"])
    assert not list(tmp_path.iterdir())
