"""Repair of stores in every format, and of those that were converted."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flows.generate import Order
from flows.repair import RepairReport
from schemas.errors import DataError
from storage.conversion import convert
from storage.formats import BACKENDS
from storage.reader import open_store

BytesOf = Callable[[Path], dict[str, bytes]]
Repair = Callable[..., RepairReport]


def _damage(root: Path) -> None:
    """A flipped bit in a file of the second shard, and the metadata gone that make the store readable."""
    store = open_store(root)
    path = root / store.receipts["train", 1].files[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    (root / BACKENDS[store.plan.backend].entry).unlink()


@pytest.mark.parametrize("profile", ["float32", "quantised", "archive"])
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_format_is_restored_byte_for_byte(
    format_store: Callable[[str, str], Order],
    repair_here: Repair,
    tmp_path: Path,
    bytes_of: BytesOf,
    backend: str,
    profile: str,
) -> None:
    sound = format_store(backend, profile)
    order = replace(sound, root=tmp_path / "small.store")
    shutil.copytree(sound.root, order.root)
    _damage(order.root)
    done = repair_here(order.root)
    assert done.sound
    assert done.remade == ("shard 1 of train",)
    assert bytes_of(order.root) == bytes_of(sound.root)


@pytest.mark.parametrize("profile", ["float32", "quantised"])
def test_what_was_converted_is_restored_byte_for_byte(
    sound_store: Order, repair_here: Repair, tmp_path: Path, bytes_of: BytesOf, profile: str
) -> None:
    root = tmp_path / "converted.h5store"
    convert(sound_store.root, root, "hdf5", profile)
    before = bytes_of(root)
    _damage(root)
    done = repair_here(root)
    assert done.sound
    assert done.remade == ("shard 1 of train",)
    assert bytes_of(root) == before


def test_what_went_through_codes_and_back_is_converted_again_instead(
    sound_store: Order, repair_here: Repair, tmp_path: Path, bytes_of: BytesOf
) -> None:
    convert(sound_store.root, tmp_path / "codes.zarr", profile="quantised")
    root = tmp_path / "back.zarr"
    convert(tmp_path / "codes.zarr", root, profile="float32")
    before = bytes_of(root)
    _damage(root)
    damaged = bytes_of(root)
    with pytest.raises(DataError, match="went through codes") as caught:
        repair_here(root)
    assert "lensmill convert" in caught.value.advice
    assert bytes_of(root) == damaged
    convert(tmp_path / "codes.zarr", root, profile="float32")
    assert bytes_of(root) == before
