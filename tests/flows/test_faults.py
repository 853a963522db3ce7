"""Faults, a few of each; `python -m benchmarks.faults` and the slow tests try them all."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fault_bytes, fault_disks, fault_stores, faults
from benchmarks.fault_stores import Workplace, complete
from flows import orders
from flows.generate import Order
from schemas.errors import StoreConflictError
from storage import commit, layout

Lensmill = Callable[..., Any]
BytesOf = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Where faults are tried."""
    return Workplace(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize(
    ("name", "tries"),
    [("bits", 31), ("files", 1), ("swapped", 2), ("books", 1)],
)
def test_damage_is_found_and_mended(place: Workplace, name: str, tries: int) -> None:
    outcomes = faults.SERIES[name][0](place, tries, random.Random(2))
    assert all(one.sound for one in outcomes), outcomes


def test_what_nobody_finds_is_counted(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_bytes, "flip", lambda *_: None)
    found, read, _ = fault_bytes.flipped_bits(place, 3, random.Random(2))
    assert found.held == read.held == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", faults.SERIES)
@pytest.mark.timeout(1800)
def test_the_whole_series(place: Workplace, name: str) -> None:
    trial, tries = faults.SERIES[name]
    outcomes = trial(place, tries, random.Random(3))
    assert all(one.sound for one in outcomes), outcomes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk of so many bytes and files."""
    try:
        with fault_disks.small_disk(tmp_path / "probe", 1 << 20):
            pass
    except (PermissionError, FileNotFoundError):
        pytest.skip("mounting a tmpfs is not permitted here")
    opened = []

    def mount(size: int, files: int = 0) -> Path:
        context = fault_disks.small_disk(tmp_path / "disk", size, files)
        opened.append(context)
        return context.__enter__()

    yield mount
    for context in opened:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("full_at", [0.3, 0.7, "metadata", "manifest", "marker"])
def test_a_full_disk_is_one_error_and_space_completes_the_store(
    place: Workplace, small_disk: Callable[..., Path], bytes_of: BytesOf, full_at: Any
) -> None:
    sound = place.small
    needed = fault_disks._blocks(sound.root)
    sealing = isinstance(full_at, str)
    disk = (
        small_disk(4 * needed, fault_disks._entries(sound.root, full_at))
        if sealing
        else small_disk(int(needed * full_at) // 4096 * 4096)
    )
    order = Order(disk / "small.zarr", sound.recipe, sound.plan)
    with pytest.raises(OSError, match=r"cannot write .*No space left on device") as caught:
        complete(order)
    books = {"metadata": "zarr.json", "manifest": "manifest.json", "marker": "COMMIT.json"}
    assert books.get(full_at, "/") in str(caught.value)
    assert not fault_stores.bad_receipts(order)
    assert not list(order.root.rglob(f"*{commit.TEMPORARY}"))
    assert not (order.root / commit.MARKER).exists()
    fault_disks.enlarge(disk, 4 * needed)
    complete(order)
    assert bytes_of(order.root) == bytes_of(sound.root)


def test_a_full_disk_at_the_command(
    place: Workplace, tmp_path: Path, bytes_of: BytesOf, small_disk: Callable[..., Path]
) -> None:
    disk = small_disk(fault_disks._blocks(place.small.root) // 8192 * 4096)
    words = [sys.executable, "-m", "benchmarks.fault_writer", str(disk / "s.zarr"), str(place.small.root)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("show", "STORE"), "gallery.png"),
        (("show", "STORE", "--html"), "page.html"),
        (("sample", "STORE", "--index", "7"), "sample"),
    ],
)
def test_pictures_pages_and_samples_are_whole_or_not_there(
    store: Order,
    small_disk: Callable[..., Path],
    lensmill: Callable[..., Any],
    words: tuple[str, ...],
    name: str,
) -> None:
    disk = small_disk(8192)
    said = lensmill(*(str(store.root) if word == "STORE" else word for word in words), "--out", disk / name)
    assert said.code == 1
    assert "No space left" in said.err
    assert "kB to spare" in said.err
    assert "shards" not in said.err
    assert list(disk.iterdir()) == []


@pytest.fixture
def other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer numpy, as far as anyone can tell."""
    real = orders.version
    monkeypatch.setattr(orders, "version", lambda name: "99.0" if name == "numpy" else real(name))


@pytest.mark.usefixtures("other_versions")
def test_a_whole_store_of_other_versions_is_left_alone(
    store: Order, simulate_here: Any, bytes_of: BytesOf
) -> None:
    before = bytes_of(store.root)
    assert simulate_here(store).made == 0
    assert bytes_of(store.root) == before


@pytest.mark.usefixtures("other_versions")
@pytest.mark.parametrize("missing", ["receipt", "bytes"])
def test_nothing_is_made_beside_shards_of_other_versions(
    store: Order, simulate_here: Any, bytes_of: BytesOf, missing: str
) -> None:
    span = list(layout.spans(store.plan))[3]
    if missing == "receipt":
        (store.root / commit.receipt_path(span)).unlink()
    else:
        (store.root / "train/image/c/3/0/0/0").write_bytes(b"")
    before = bytes_of(store.root)
    numpy = store.plan.provenance.versions["numpy"]
    with pytest.raises(StoreConflictError, match=f"begun with numpy {numpy}") as caught:
        simulate_here(store)
    assert "numpy 99.0" in caught.value.expected
    assert store.recipe.digest in caught.value.where
    assert "lensmill repair" in caught.value.advice
    assert bytes_of(store.root) == before


def test_the_command_says_what_it_did(
    store: Order, sound_store: Order, lensmill: Lensmill, bytes_of: BytesOf
) -> None:
    said = lensmill("repair", store.root)
    assert (said.code, said.err) == (0, "")
    assert "nothing to do" in said.out
    (store.root / "train/image/c/3/0/0/0").write_bytes(b"")
    (store.root / commit.MARKER).write_bytes(b"{")
    with fault_bytes.made_here():
        said = lensmill("repair", store.root, "--quiet")
    assert said.code == 0
    assert "rebuilt: lensmill/COMMIT.json, from the manifest" in said.out
    assert "made: shard 3 of train" in said.out
    assert bytes_of(store.root) == bytes_of(sound_store.root)
    (store.root / "train/stray").write_text("mine")
    said = lensmill("repair", store.root, "--json")
    assert said.code == 1
    assert '"train/stray"' in said.out
    said = lensmill("repair", store.root / "none")
    assert said.code == 2
    assert said.err.count("error:") == 1
