"""Writing whole files, the lock, and which places a store may be begun or continued at."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.generate import Order
from schemas.errors import StoreBusyError, StoreConflictError, StoreDamagedError, WriteError
from storage import commit, layout, target
from storage.files.durable import write_whole

OLD, NEW = b"old" * 100, b"new content" * 5000

HOLDER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from storage.commit import writing
with writing(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(120)
"""


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _files_end_at(size: int) -> Iterator[None]:
    """Real writes fail in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _fails(call: str, at: int = 1) -> Iterator[None]:
    """The n-th `os.<call>` fails, the others do what they should."""
    real, count = getattr(os, call), 0

    def patched(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return _full() if count == at else real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, patched)
        yield


def test_a_file_is_written_with_all_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_whole(path, OLD)
    assert path.read_bytes() == OLD
    write_whole(path, NEW)
    assert path.read_bytes() == NEW
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("what", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, what: str, existed: bool) -> None:
    path = tmp_path / "file"
    if existed:
        path.write_bytes(OLD)
    failing = _files_end_at(1000) if what == "write" else _fails(what)
    with pytest.raises(WriteError, match="cannot write") as caught, failing:
        write_whole(path, NEW)
    assert str(path) in str(caught.value)
    assert caught.value.advice
    assert [one.read_bytes() for one in tmp_path.iterdir()] == ([OLD] if existed else [])


def test_a_folder_that_cannot_be_synced_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with pytest.raises(WriteError), _fails("fsync", at=2):
        write_whole(path, NEW)
    assert path.read_bytes() in (OLD, NEW)
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_reach_the_disk_before_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (steps.append(call), real(*arguments))[1]

    for call in ("fsync", "replace"):
        monkeypatch.setattr(os, call, noted(call, getattr(os, call)))
    write_whole(tmp_path / "file", NEW)
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("place", ["file/below", "/proc/lensmill/file"])
def test_a_place_that_cannot_be_written_is_a_write_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(WriteError, match="cannot write"):
        write_whole(tmp_path / place, NEW)
    with pytest.raises(WriteError, match="cannot write a store"), commit.writing(tmp_path / place):
        pytest.fail("got the right to write where nothing can be")


def test_no_shard_without_a_receipt_when_the_disk_is_full(store: Order) -> None:
    span = next(layout.spans(store.plan))
    arrays = {
        spec.name: _read(store, spec.name, slice(span.first_row, span.first_row + span.rows))
        for spec in store.plan.arrays
    }
    commit.unseal(store.root)
    (store.root / commit.receipt_path(span)).unlink()
    with pytest.raises(WriteError), _files_end_at(1500):
        commit.write_shard(store.root, store.recipe, store.plan, span, arrays)
    assert commit.valid_receipt(store.root, store.plan, span) is None
    assert not list(store.root.rglob(f"*{commit.TEMPORARY}"))


def _read(order: Order, array: str, rows: slice) -> Any:
    from storage.formats import BACKENDS

    return BACKENDS[order.plan.backend].read(order.root, order.plan, "train", array, rows)


def test_begin_sweeps_up_after_a_killed_writer(store: Order) -> None:
    strays = [
        store.root / "train/image/c/0/0/0/.0.0123456789ab.tmp",
        store.root / "lensmill/.manifest.json.0123456789ab.tmp",
        store.root / ".zarr.json.0123456789ab.tmp",
    ]
    for stray in strays:
        stray.write_bytes(b"half")
    commit.begin(store.root, store.recipe, store.plan)
    assert not any(stray.exists() for stray in strays)
    assert commit.valid_receipt(store.root, store.plan, next(layout.spans(store.plan)))


def test_a_sealed_store_holds_nothing_half_written(
    store: Order, sound_store: Order, bytes_of: Callable[[Path], dict[str, bytes]]
) -> None:
    # a worker was killed while others went on
    (store.root / "val/image/c/0/0/0/.0.0123456789ab.tmp").write_bytes(b"half")
    receipts = [commit.valid_receipt(store.root, store.plan, span) for span in layout.spans(store.plan)]
    commit.seal(store.root, store.recipe, store.plan, [one for one in receipts if one])
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing a store."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "busy.zarr")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_one_writer_at_a_time_and_a_dead_one_holds_nothing(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(StoreBusyError, match=r"another process is writing .*busy\.zarr"):
        commit.writing(tmp_path / "busy.zarr").__enter__()
    holder.send_signal(signal.SIGKILL)
    assert holder.wait(timeout=30) == -signal.SIGKILL
    with commit.writing(tmp_path / "busy.zarr"):
        pass
    with commit.writing(tmp_path / "busy.zarr"):
        pass


def test_nothing_and_an_empty_folder_and_the_same_store_are_good_targets(
    sound_store: Order, tmp_path: Path
) -> None:
    target.check_target(tmp_path / "new" / "deep.zarr", sound_store.recipe, sound_store.plan)
    target.check_target(tmp_path, sound_store.recipe, sound_store.plan)
    target.check_target(sound_store.root, sound_store.recipe, sound_store.plan)
    # a writer killed before it wrote its plan leaves this
    with commit.writing(tmp_path):
        pass
    target.check_target(tmp_path, sound_store.recipe, sound_store.plan)


def test_a_file_and_a_foreign_folder_are_refused(sound_store: Order, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(WriteError, match="is a file"):
        target.check_target(path, sound_store.recipe, sound_store.plan)
    with pytest.raises(StoreConflictError, match=r"not empty and no lensmill store .*notes\.txt"):
        target.check_target(tmp_path, sound_store.recipe, sound_store.plan)
    assert path.read_text() == "mine"


def test_a_store_of_another_recipe_shows_both_digests(
    sound_store: Order, order_small: Callable[..., Order], tmp_path: Path
) -> None:
    other = order_small(tmp_path / "other.zarr", "seed=7")
    with pytest.raises(StoreConflictError) as caught:
        target.check_target(sound_store.root, other.recipe, other.plan)
    assert sound_store.recipe.digest != other.recipe.digest
    assert sound_store.recipe.digest in str(caught.value)
    assert other.recipe.digest in str(caught.value)


def test_a_store_begun_with_another_shard_size_is_refused(
    sound_store: Order, order_small: Callable[..., Order], tmp_path: Path
) -> None:
    other = order_small(tmp_path / "other.zarr", "storage.shard_images=16")
    assert other.recipe.digest == sound_store.recipe.digest
    with pytest.raises(StoreConflictError, match="--shard-size 8") as caught:
        target.check_target(sound_store.root, other.recipe, other.plan)
    assert "--shard-size 16" in caught.value.expected


def test_a_store_made_with_other_versions_is_refused(sound_store: Order) -> None:
    provenance = sound_store.plan.provenance
    newer = provenance.model_copy(update={"versions": {**provenance.versions, "numpy": "99.0"}})
    plan = sound_store.plan.model_copy(update={"provenance": newer})
    with pytest.raises(StoreConflictError, match=f"numpy {provenance.versions['numpy']}") as caught:
        target.check_target(sound_store.root, sound_store.recipe, plan)
    assert "numpy 99.0" in caught.value.expected


def test_a_broken_plan_is_refused(store: Order) -> None:
    (store.root / commit.PLAN).write_text("{")
    with pytest.raises(StoreDamagedError, match=r"plan\.json is not what lensmill wrote"):
        target.check_target(store.root, store.recipe, store.plan)


def test_checking_writes_nothing(
    store: Order, tmp_path: Path, bytes_of: Callable[[Path], dict[str, bytes]]
) -> None:
    before = bytes_of(tmp_path)
    target.check_target(store.root, store.recipe, store.plan)
    target.check_target(tmp_path / "new.zarr", store.recipe, store.plan)
    target.check_space(tmp_path / "new.zarr", 1)
    assert bytes_of(tmp_path) == before


def test_too_small_a_disk_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"has [\d,.]+ GB free") as caught:
        target.check_space(tmp_path / "deep" / "big.zarr", 10**18)
    assert "1,000,000,000.00 GB" in caught.value.expected


@pytest.mark.parametrize(
    ("free", "says"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_500, "1.50 kB"),
        (2_345_678, "2.35 MB"),
        (7_000_000_000, "7.00 GB"),
        (1_234_000_000_000, "1,234.00 GB"),
    ],
)
def test_space_is_told_in_the_unit_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, says: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(WriteError) as caught:
        target.check_space(tmp_path / "big.zarr", 2 * free + 5_000, "eat less")
    assert str(caught.value).splitlines()[0] == f"{tmp_path} has {says} free"
    assert caught.value.advice == "eat less"


def test_books_are_readable_json(sound_store: Order) -> None:
    for name in (commit.RECIPE, commit.PLAN, commit.MANIFEST, commit.MARKER):
        assert isinstance(json.loads((sound_store.root / name).read_text()), dict)
