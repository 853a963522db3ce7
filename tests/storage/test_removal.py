"""Removing a store: unreadable at once, gone on with after a kill, never beyond its folder."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.generate import Order
from schemas.errors import StoreConflictError, StoreError, StoreUnfinishedError
from storage import commit
from storage.reader import open_store
from storage.upkeep import removal
from storage.upkeep.removal import check_removable, remove
from tests.s3 import S3

BytesOf = Callable[[Any], dict[str, bytes]]


def test_nothing_is_left(store: Order) -> None:
    remove(store.root)
    assert not store.root.exists()
    # again does no harm
    remove(store.root, begun=True)
    assert not store.root.exists()


def test_nothing_is_left_on_s3(s3: S3, sound_store: Order, bytes_of: BytesOf) -> None:
    root, beside = s3.new_root("old.zarr"), s3.new_root("beside")
    for path, content in bytes_of(sound_store.root).items():
        (root / path).put(content)
    neighbour = root.parent / "old.zarr2"
    (neighbour / "kept").put(b"1")
    (beside / "kept").put(b"1")
    remove(root)
    assert root.sizes() == {}
    assert (neighbour / "kept").is_file()
    assert (beside / "kept").is_file()


def test_readers_refuse_what_a_killed_removal_left(store: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(Exception):
        pass

    def kill(path: Path) -> None:
        (store.root / "train/image/c/0/0/0/0").unlink()
        raise KilledError

    monkeypatch.setattr(removal.shutil, "rmtree", kill)
    with pytest.raises(KilledError):
        remove(store.root)
    with pytest.raises(StoreUnfinishedError):
        open_store(store.root)
    assert not (store.root / "zarr.json").exists(), "readers of Zarr are refused too"
    monkeypatch.undo()
    remove(store.root, begun=True)
    assert not store.root.exists()


def test_the_seal_goes_before_anything_else(store: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(root: Path) -> None:
        assert not (root / commit.MARKER).exists()
        assert (root / commit.MANIFEST).exists()

    monkeypatch.setattr(removal.shutil, "rmtree", look)
    remove(store.root)
    assert store.root.exists()


@pytest.mark.parametrize("path", ["notes.txt", "train/image/mine.npy", "sub/folder/a", "lensmill/keep.json"])
def test_other_peoples_files_keep_a_store(store: Order, path: str) -> None:
    (store.root / path).parent.mkdir(parents=True, exist_ok=True)
    (store.root / path).write_text("mine")
    with pytest.raises(StoreConflictError, match=f"did not write: {path}"):
        remove(store.root)
    open_store(store.root)
    (store.root / path).unlink()
    check_removable(store.root)


def test_links_are_not_followed(store: Order, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("1")
    (store.root / "linked").symlink_to(outside)
    with pytest.raises(StoreConflictError, match="did not write: linked"):
        remove(store.root)
    remove(store.root, begun=True)
    assert not store.root.exists()
    assert (outside / "precious").is_file()


def test_a_store_that_is_a_link_stays(store: Order, tmp_path: Path) -> None:
    link = tmp_path / "v0001.zarr"
    link.symlink_to(store.root)
    for begun in (False, True):
        with pytest.raises(StoreConflictError, match="a link"):
            remove(link, begun)
    open_store(store.root)


def test_books_that_are_a_link_stay(store: Order, tmp_path: Path) -> None:
    (store.root / "lensmill").rename(tmp_path / "books")
    (store.root / "lensmill").symlink_to(tmp_path / "books")
    with pytest.raises(StoreConflictError, match="a link"):
        remove(store.root, begun=True)
    assert (tmp_path / "books/COMMIT.json").is_file()


def test_an_unfinished_store_goes(store: Order) -> None:
    commit.unseal(store.root)
    (store.root / commit.MANIFEST).unlink()
    (store.root / "train/.0.abc123.tmp").write_text("half")
    remove(store.root)
    assert not store.root.exists()


def test_a_store_that_was_hardly_begun_goes(tmp_path: Path) -> None:
    root = tmp_path / "v0001.zarr"
    (root / "lensmill").mkdir(parents=True)
    (root / "lensmill/lock").touch()
    remove(root)
    assert not root.exists()


def test_a_store_whose_books_are_lost_stays(store: Order) -> None:
    (store.root / commit.PLAN).write_text("{")
    with pytest.raises(StoreError):
        remove(store.root)
    assert (store.root / commit.MARKER).is_file()


def test_a_store_that_is_written_stays(store: Order) -> None:
    with commit.writing(store.root), pytest.raises(StoreError, match="another process is writing"):
        remove(store.root)
    open_store(store.root)


def test_all_products_and_formats_are_known(
    format_store: Callable[[str, str], Order], tmp_path: Path
) -> None:
    for backend, profile in (("hdf5", "float32"), ("zarr", "archive")):
        root = tmp_path / f"{backend}.store"
        shutil.copytree(format_store(backend, profile).root, root)
        remove(root)
        assert not root.exists()
