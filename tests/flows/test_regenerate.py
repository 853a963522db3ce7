"""Versions of a data set: a seed for each, the unfinished one first, `latest` names a verified one."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import generate, orders, regenerate
from flows.generate import Order
from flows.lineages import judging
from flows.regenerate import next_version, regenerate_flow, version_name, version_seed
from flows.summary import DatasetSummary
from schemas.errors import FlowError, LeakError, RecipeError, StoreBusyError, StoreDamagedError, WriteError
from schemas.lineage import Keep
from storage import commit
from storage.reader import open_store
from storage.upkeep.versions import LOCK, note, numbers, read_audit, read_book
from storage.verify import Verification, verify
from tests.s3 import S3


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


# -- nights that go wrong


def _states(folder: Path) -> list[str]:
    return [one.state for one in read_book(folder).versions]


def _damage(store: Path) -> None:
    file = store / "train/image/c/0/0/0/0"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)


def test_the_book_tells_of_each_version(make_version: Callable[..., DatasetSummary], tmp_path: Path) -> None:
    made = make_version(tmp_path)
    book = read_book(tmp_path)
    (lineage,), (version,) = book.lineages, book.versions
    assert (lineage.base_seed, lineage.first, lineage.recipe) == (1001, 1, "tiny")
    assert (version.number, version.state, version.digest) == (1, "good", made.digest)
    assert (version.lineage, version.seed) == (lineage.digest, version_seed(1001, 1))
    assert (version.rows, version.audit) == (60, None)
    assert version.began
    assert version.made
    assert version.verified
    assert version.packages["numpy"]


def test_a_damaged_version_is_repaired_before_a_new_one_is_made(
    make_version: Callable[..., DatasetSummary], repair_here: Any, tmp_path: Path
) -> None:
    make_version(tmp_path)
    _damage(tmp_path / version_name(1))
    made = make_version(tmp_path)
    assert made.store.endswith("v0002.zarr")
    assert verify(tmp_path / version_name(1)).sound
    assert _states(tmp_path) == ["good", "good"]


def test_without_a_new_one_there_is_only_repair(
    make_version: Callable[..., DatasetSummary], repair_here: Any, tmp_path: Path
) -> None:
    with pytest.raises(FlowError, match="no version below"):
        make_version(tmp_path / "empty", new=False)
    whole = make_version(tmp_path / "lineage")
    _damage(tmp_path / "lineage" / version_name(1))
    same = make_version(tmp_path / "lineage", new=False)
    assert (same.store, same.digest, same.made, same.rows) == (whole.store, whole.digest, 0, 60)
    assert verify(tmp_path / "lineage" / version_name(1)).sound
    assert _states(tmp_path / "lineage") == ["good"]


def test_what_cannot_be_repaired_is_set_aside_and_latest_goes_back(
    make_version: Callable[..., DatasetSummary], repair_here: Any, tmp_path: Path
) -> None:
    for _ in range(2):
        make_version(tmp_path)
    # a file that readers take for data is nothing that repair removes
    (tmp_path / version_name(2) / "train/image/stray").write_text("x")
    make_version(tmp_path, new=False)
    assert _states(tmp_path) == ["good", "damaged"]
    assert (tmp_path / "latest").read_text() == "v0001.zarr\n"
    make_version(tmp_path)
    assert _states(tmp_path) == ["good", "damaged", "good"]
    assert (tmp_path / "latest").read_text() == "v0003.zarr\n"


def test_labels_that_leak_do_not_become_latest_nor_a_loop(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    make_version(tmp_path)
    for number in (2, 3):
        with pytest.raises(LeakError, match="total mass"):
            make_version(tmp_path, audit=None)
        assert (tmp_path / "latest").read_text() == "v0001.zarr\n"
        assert _states(tmp_path) == ["good", *["leaks"] * (number - 1)]
        # it is there to be looked at
        assert verify(tmp_path / version_name(number)).sound
        assert read_audit(tmp_path, number).leaks  # type: ignore[union-attr]
    made = make_version(tmp_path)
    assert made.store.endswith("v0004.zarr")
    assert (tmp_path / "latest").read_text() == "v0004.zarr\n"


def test_a_replica_leaks_as_what_it_repeats(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    make_version(tmp_path, "family=replica", audit=None)
    version = read_book(tmp_path).versions[0]
    assert (version.state, version.audit) == ("good", "leaks")
    assert "total mass" in version.reason
    with pytest.raises(LeakError):
        make_version(tmp_path, "family=replica", audit=True)


def test_a_version_that_was_made_but_not_judged_is_judged_the_next_night(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    make_version(tmp_path)
    make_version(tmp_path)
    # killed between sealing and judging
    note(tmp_path, 2, state="unfinished", verified=None)
    (tmp_path / "latest").write_text("v0001.zarr\n")
    make_version(tmp_path, new=False)
    assert _states(tmp_path) == ["good", "good"]
    assert (tmp_path / "latest").read_text() == "v0002.zarr\n"


def test_a_changed_recipe_begins_a_lineage_and_seeds_go_on(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    make_version(tmp_path)
    make_version(tmp_path, "main_lens.theta_E.low=0.75")
    make_version(tmp_path)
    book = read_book(tmp_path)
    assert len(book.lineages) == 2
    assert [one.lineage for one in book.versions[::2]] == [book.versions[0].lineage] * 2
    assert book.versions[1].lineage != book.versions[0].lineage
    assert len({one.seed for one in book.versions}) == 3
    assert (tmp_path / "latest").read_text() == "v0003.zarr\n"
    for number in (1, 2, 3):
        open_store(tmp_path / version_name(number))


@pytest.mark.parametrize("how", ["recipe", "packages"])
def test_what_another_recipe_or_other_packages_began_is_left(
    make_version: Callable[..., DatasetSummary],
    small_overrides: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    make_version(tmp_path)
    root = tmp_path / version_name(2)
    old = orders.prepare("tiny", root, None, [*small_overrides, f"seed={version_seed(1001, 2)}"])
    with commit.writing(root):
        commit.begin(root, old.recipe, old.plan)
    changed = ["main_lens.theta_E.low=0.75"] if how == "recipe" else []
    if how == "packages":
        newer = {**old.plan.provenance.versions, "numpy": "99"}
        provenance = old.plan.provenance.model_copy(update={"versions": newer})
        for module in (generate, orders):
            monkeypatch.setattr(module, "provenance", lambda _: provenance)
    made = make_version(tmp_path, *changed)
    assert made.store.endswith("v0003.zarr")
    assert _states(tmp_path) == ["good", "left", "good"]
    reason = read_book(tmp_path).versions[1].reason
    assert ("numpy" if how == "packages" else "holds recipe 'tiny'") in reason


def test_a_sample_that_cannot_be_made_is_not_tried_again_and_again(
    make_version: Callable[..., DatasetSummary], simulate_here: Any, tmp_path: Path
) -> None:
    make = simulate_here.make

    def fail(*_: Any) -> None:
        raise RecipeError("sample 767 weighs too much")

    simulate_here.make = fail
    monkey = pytest.MonkeyPatch()
    monkey.setattr(generate, "_make", fail)
    with pytest.raises(RecipeError, match="sample 767"):
        make_version(tmp_path)
    monkey.setattr(generate, "_make", make)
    assert make_version(tmp_path).store.endswith("v0002.zarr")
    monkey.undo()
    assert _states(tmp_path) == ["left", "good"]
    assert read_book(tmp_path).versions[0].reason == "sample 767 weighs too much"


def test_old_versions_go_by_the_policy_and_runs_keep_theirs(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    folder, runs = tmp_path / "lineage", tmp_path / "mine"
    few = Keep(last=2, weeks=0, months=0)
    first = make_version(folder, keep=few)
    (runs / "one").mkdir(parents=True)
    (runs / "one/run.json").write_text(json.dumps({"data": {"recipe_digest": first.digest}}))
    for _ in range(4):
        make_version(folder, keep=few, runs=[str(runs)])
    assert _states(folder) == ["good", "removed", "removed", "good", "good"]
    assert numbers(folder) == [1, 4, 5]
    # a run that cannot be read may refer to anything
    (runs / "one/run.json").write_text("{")
    make_version(folder, keep=few, runs=[str(runs)])
    assert numbers(folder) == [1, 4, 5, 6]
    shutil.rmtree(runs)
    make_version(folder, keep=few, runs=[str(runs)])
    assert numbers(folder) == [1, 4, 5, 6, 7], "a disk that is not mounted hides runs"
    make_version(folder, keep=few)
    assert numbers(folder) == [7, 8]
    assert [one.seed for one in read_book(folder).versions] == [version_seed(1001, n) for n in range(1, 9)]


def test_nothing_goes_the_night_after_the_book_was_lost(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    few = Keep(last=1, weeks=0, months=0)
    make_version(tmp_path, keep=few)
    (tmp_path / "lineage.json").unlink()
    make_version(tmp_path, keep=few)
    assert numbers(tmp_path) == [1, 2]
    make_version(tmp_path, keep=few)
    assert numbers(tmp_path) == [3]


def test_the_policy_is_applied_when_a_night_fails(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    few = Keep(last=9, weeks=0, months=0, failed=1)
    make_version(tmp_path, keep=few)
    for _ in range(3):
        with pytest.raises(LeakError):
            make_version(tmp_path, keep=few, audit=None)
    assert numbers(tmp_path) == [1, 4]


def test_two_nights_at_once_are_one_too_many(
    make_version: Callable[..., DatasetSummary], tmp_path: Path
) -> None:
    with commit.writing(tmp_path, LOCK), pytest.raises(StoreBusyError):
        make_version(tmp_path)
    assert numbers(tmp_path) == []


def test_latest_does_not_go_back_to_another_recipe(
    make_version: Callable[..., DatasetSummary], repair_here: Any, tmp_path: Path
) -> None:
    changed = "main_lens.theta_E.low=0.75"
    make_version(tmp_path)
    make_version(tmp_path, changed)
    (tmp_path / version_name(2) / "train/image/stray").write_text("x")
    with pytest.raises(FlowError, match="no version below"):
        make_version(tmp_path, changed, new=False)
    assert _states(tmp_path) == ["good", "damaged"]
    assert (tmp_path / "latest").read_text() == "v0002.zarr\n"
    make_version(tmp_path, changed)
    assert (tmp_path / "latest").read_text() == "v0003.zarr\n"


@pytest.mark.slow
def test_versions_are_made_and_removed_on_s3(make_version: Callable[..., DatasetSummary], s3: S3) -> None:
    root, few = s3.new_root("lineage"), Keep(last=1, weeks=0, months=0)
    for number in (1, 2):
        made = make_version(root, "samples_per_class=8", keep=few)
        assert made.store == str(root / version_name(number))
    assert numbers(root) == [2]
    assert (root / "latest").read_bytes() == b"v0002.zarr\n"
    assert [one.state for one in read_book(root).versions] == ["removed", "good"]
    assert not [path for path in root.sizes() if path.startswith("v0001")]
    with pytest.raises(WriteError, match="cannot be trained into"):
        make_version(root, experiments=["classify_tiny"])
