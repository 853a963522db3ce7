"""Repair: exactly what is damaged is made again, byte for byte, or everything stays as it was."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import repair as repairing
from flows import shards
from flows.commands.repair import _listed
from flows.generate import Order
from flows.repair import RepairReport, repair
from flows.shards import make_shard
from schemas.cluster import Slurm
from schemas.errors import (
    ColumnError,
    DataError,
    FlowError,
    LensmillError,
    StoreBusyError,
    StoreConflictError,
    StoreDamagedError,
    StoreMissingError,
)
from schemas.store import Manifest
from storage import commit, layout
from storage.layout import Span
from storage.reader import open_store
from storage.verify import verify

BytesOf = Callable[[Path], dict[str, bytes]]
Repair = Callable[..., RepairReport]


def _flip(path: Path, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[(bit // 8) % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def _flip_middle(path: Path) -> None:
    _flip(path, path.stat().st_size // 2 * 8 + 1)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = [_flip_middle, _truncate, _empty, Path.unlink]
BOOKS = ["manifest.json", "COMMIT.json", "schema.json", "receipts/train/000002.json"]
METADATA = ["zarr.json", "train/zarr.json", "train/image/zarr.json", "test/params/zarr.json"]


def test_a_cluster_that_cannot_be_had_is_refused_with_all_as_it_was(
    store: Order, bytes_of: BytesOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _flip_middle(store.root / "train/image/c/2/0/0/0")
    before = bytes_of(store.root)
    monkeypatch.setenv("PATH", str(tmp_path))
    where = Slurm(kind="slurm", cores=1, memory="2 GiB", most_jobs=2, walltime="00:10:00")
    with pytest.raises(FlowError, match="there is no sbatch"):
        repair(store.root, cluster=where)
    assert bytes_of(store.root) == before


def test_nothing_to_do_is_said_and_nothing_is_touched(
    store: Order, repair_here: Repair, bytes_of: BytesOf
) -> None:
    before = bytes_of(store.root)
    times = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.name != "lock"}
    done = repair_here(store.root)
    assert done.sound
    assert (done.found, done.remade, done.rebuilt) == ((), (), {})
    assert bytes_of(store.root) == before
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.mark.parametrize("damage", DAMAGES)
def test_exactly_the_bad_shards_are_made_again(
    store: Order, sound_store: Order, repair_here: Repair, bytes_of: BytesOf, damage: Callable[[Path], None]
) -> None:
    damage(store.root / "train/image/c/2/0/0/0")
    damage(store.root / "train/label/c/2")
    damage(store.root / "test/params/c/1/0")
    done = repair_here(store.root)
    assert done.remade == ("shard 2 of train", "shard 1 of test")
    assert len(done.found) == 3
    assert done.sound
    assert done.changed == ()
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*(f"lensmill/{one}" for one in BOOKS), *METADATA])
def test_books_and_metadata_are_rebuilt_from_each_other(
    store: Order,
    sound_store: Order,
    repair_here: Repair,
    bytes_of: BytesOf,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    damage(store.root / name)
    done = repair_here(store.root)
    assert list(done.rebuilt) == [name]
    assert done.remade == ()
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize("name", ["plan.json", "recipe.json"])
@pytest.mark.parametrize("bit", [3, 4001, 14_006])
def test_a_flipped_bit_of_plan_and_recipe_is_turned_back(
    store: Order, sound_store: Order, repair_here: Repair, bytes_of: BytesOf, name: str, bit: int
) -> None:
    _flip(store.root / "lensmill" / name, bit)
    done = repair_here(store.root)
    assert done.rebuilt == {f"lensmill/{name}": "one flipped bit was turned back"}
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize("damage", [_truncate, _empty, Path.unlink])
def test_a_lost_plan_follows_from_the_recipe(
    store: Order, sound_store: Order, repair_here: Repair, bytes_of: BytesOf, damage: Callable[[Path], None]
) -> None:
    damage(store.root / commit.PLAN)
    assert repair_here(store.root).rebuilt == {"lensmill/plan.json": "made again from the recipe"}
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize("damage", [_truncate, _empty, Path.unlink])
def test_a_lost_recipe_is_asked_for_by_its_sum(
    store: Order, sound_store: Order, repair_here: Repair, bytes_of: BytesOf, damage: Callable[[Path], None]
) -> None:
    damage(store.root / commit.RECIPE)
    before = bytes_of(store.root)
    with pytest.raises(StoreDamagedError, match=r"recipe\.json is lost or damaged") as caught:
        repair_here(store.root)
    manifest = commit.read_json(sound_store.root / commit.MANIFEST, Manifest)
    assert manifest.recipe_sha256 in caught.value.expected
    assert bytes_of(store.root) == before
    shutil.copy(sound_store.root / commit.RECIPE, store.root / commit.RECIPE)
    assert repair_here(store.root).sound


def test_many_damages_at_once(
    store: Order, sound_store: Order, repair_here: Repair, bytes_of: BytesOf
) -> None:
    for name in ("lensmill/manifest.json", "lensmill/COMMIT.json", "zarr.json", "val/label/zarr.json"):
        (store.root / name).unlink()
    _flip_middle(store.root / "lensmill/receipts/train/000004.json")
    _truncate(store.root / "train/sample_id/c/1")
    shutil.copy(store.root / "train/image/c/0/0/0/0", store.root / "train/image/c/3/0/0/0")
    done = repair_here(store.root)
    # the fourth has lost what vouches for it, and versions are the same here
    assert done.remade == ("shard 1 of train", "shard 3 of train", "shard 4 of train")
    assert bytes_of(store.root) == bytes_of(sound_store.root)


def test_swapped_shards_with_their_receipts(
    store: Order, sound_store: Order, repair_here: Repair, bytes_of: BytesOf
) -> None:
    for path in ("image/c/{}/0/0/0", "label/c/{}", "sample_id/c/{}", "params/c/{}/0"):
        one, other = (store.root / "train" / path.format(number) for number in (0, 1))
        mine, theirs = one.read_bytes(), other.read_bytes()
        one.write_bytes(theirs)
        other.write_bytes(mine)
    assert [(one.split, one.shard) for one in verify(store.root).bad_shards] == [("train", 0), ("train", 1)]
    assert repair_here(store.root).remade == ("shard 0 of train", "shard 1 of train")
    assert bytes_of(store.root) == bytes_of(sound_store.root)


def test_a_store_with_products(
    sound_product_store: Order, tmp_path: Path, repair_here: Repair, bytes_of: BytesOf
) -> None:
    root = tmp_path / "products.zarr"
    shutil.copytree(sound_product_store.root, root)
    _flip_middle(root / "train/subhalos/000001.parquet")
    _flip_middle(root / "val/deflection/c/0/0/0/0")
    assert repair_here(root).remade == ("shard 1 of train", "shard 0 of val")
    assert bytes_of(root) == bytes_of(sound_product_store.root)


def test_an_unfinished_store_is_completed_from_its_own_recipe(
    sound_store: Order, tmp_path: Path, repair_here: Repair, bytes_of: BytesOf
) -> None:
    order = replace(sound_store, root=tmp_path / "begun.zarr")
    commit.begin(order.root, order.recipe, order.plan)
    for span in list(layout.spans(order.plan))[:4]:
        make_shard(order.root, order.recipe, order.plan, span)
    done = repair_here(order.root)
    assert len(done.remade) == 5
    assert bytes_of(order.root) == bytes_of(sound_store.root)


class Died(BaseException):
    """A kill."""


def test_a_killed_repair_is_repeated(
    store: Order,
    sound_store: Order,
    repair_here: Repair,
    bytes_of: BytesOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in (0, 2, 4):
        _flip_middle(store.root / f"train/image/c/{number}/0/0/0")
    _flip_middle(store.root / "lensmill/COMMIT.json")

    def die(order: Order, spans: Sequence[Span], *_: Any) -> None:
        make_shard(order.root, order.recipe, order.plan, spans[0], order.expected(spans[0]))
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(repairing, "_make", die)
        with pytest.raises(Died):
            repair(store.root)
    with pytest.raises(LensmillError, match="unfinished"):
        open_store(store.root)
    done = repair_here(store.root)
    assert done.remade == ("shard 2 of train", "shard 4 of train")
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.fixture
def other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which images come out a last place differently."""
    render = shards.render

    def differently(*arguments: Any) -> Any:
        samples = render(*arguments)
        samples.image[0, 0, 0, 0] *= 1 + 2e-7
        return samples

    monkeypatch.setattr(shards, "render", differently)
    monkeypatch.setattr(shards, "version", lambda _: "99.0")


@pytest.mark.usefixtures("other_bytes")
def test_other_bytes_are_refused_with_both_versions_and_nothing_changes(
    store: Order, repair_here: Repair, bytes_of: BytesOf
) -> None:
    _flip_middle(store.root / "train/image/c/2/0/0/0")
    _flip_middle(store.root / "train/label/c/4")
    before = bytes_of(store.root)
    with pytest.raises(StoreConflictError, match="shard 2 of train, made again here, has other") as caught:
        repair_here(store.root)
    assert f"numpy {store.plan.provenance.versions['numpy']}" in caught.value.where
    assert "here lensmill 99.0" in caught.value.where
    assert "--accept-new-bytes" in caught.value.advice
    assert bytes_of(store.root) == before


@pytest.mark.usefixtures("other_bytes")
def test_new_bytes_are_sealed_when_asked_for(store: Order, repair_here: Repair, bytes_of: BytesOf) -> None:
    before = bytes_of(store.root)
    _flip_middle(store.root / "train/image/c/2/0/0/0")
    done = repair_here(store.root, accept_new_bytes=True)
    assert done.changed == done.remade == ("shard 2 of train",)
    assert verify(store.root).sound
    after = bytes_of(store.root)
    books = {"lensmill/manifest.json", "lensmill/COMMIT.json", "lensmill/receipts/train/000002.json"}
    assert {path for path in after if after[path] != before[path]} == {"train/image/c/2/0/0/0", *books}
    receipt = json.loads(after["lensmill/receipts/train/000002.json"])
    assert receipt["versions"]["numpy"] == "99.0"
    assert repair_here(store.root).found == ()


def test_same_bytes_are_accepted_of_other_versions(
    store: Order,
    sound_store: Order,
    repair_here: Repair,
    bytes_of: BytesOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "version", lambda _: "99.0")
    _flip_middle(store.root / "train/image/c/2/0/0/0")
    assert repair_here(store.root).sound
    assert bytes_of(store.root) == bytes_of(sound_store.root)


def test_without_anything_to_compare_other_versions_are_refused(
    store: Order, repair_here: Repair, bytes_of: BytesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.root / commit.MANIFEST).unlink()
    (store.root / "lensmill/receipts/train/000003.json").unlink()
    before = bytes_of(store.root)
    monkeypatch.setattr(shards, "version", lambda _: "99.0")
    with pytest.raises(StoreConflictError, match=r"nothing left to compare .* shard 3 of train"):
        repair_here(store.root)
    assert bytes_of(store.root) == before
    monkeypatch.undo()


def test_a_file_that_does_not_belong_is_named_and_kept(store: Order, repair_here: Repair) -> None:
    stray = store.root / "train/image/c/99/0/0/0"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"mine")
    (store.root / "notes.txt").write_text("mine")
    found = verify(store.root)
    assert found.strangers == ("train/image/c/99/0/0/0",)
    assert found.beside == ("notes.txt",)
    assert [fault.split(":")[0] for fault in found.faults] == ["train/image/c/99/0/0/0"]
    done = repair_here(store.root)
    assert not done.sound
    assert done.left == ("train/image/c/99/0/0/0",)
    assert stray.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["zarr.json", "subhalos/000099.parquet", "c/9"])
def test_files_that_readers_would_take_for_data_are_faults(store: Order, name: str) -> None:
    path = store.root / "train" / "more" / name
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert verify(store.root).strangers == (f"train/more/{name}",)


def test_nothing_there_and_busy_are_refused(store: Order, repair_here: Repair, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none.zarr", tmp_path / "empty"):
        with pytest.raises(StoreMissingError, match="no lensmill store"):
            repair_here(path)
    assert list((tmp_path / "empty").iterdir()) == []
    with commit.writing(store.root), pytest.raises(StoreBusyError):
        repair_here(store.root)


def test_many_shards_are_told_in_stretches() -> None:
    shards = [f"shard {k} of train" for k in (3, 4, 5, 8)] + ["shard 0 of val"]
    assert _listed(shards) == "5 shards, train 3 to 5, 8, val 0"
    assert _listed(shards[:1]) == "shard 3 of train"


def test_a_source_file_is_only_for_galaxies(store: Order, repair_here: Repair, bytes_of: BytesOf) -> None:
    _flip_middle(store.root / "train/label/c/4")
    before = bytes_of(store.root)
    with pytest.raises(DataError, match="shows no galaxies"):
        repair_here(store.root, source_file="galaxies.h5")
    assert bytes_of(store.root) == before
    assert not issubclass(DataError, ColumnError)
