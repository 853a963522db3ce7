"""The real command, with its own Prefect server and Dask workers: whole, again, killed, interrupted."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.generate import Order
from schemas.errors import StoreUnfinishedError
from storage import commit, layout
from storage.reader import open_store
from storage.verify import verify

Start = Callable[..., Any]
SameArrays = Callable[[Path, Path], None]
BytesOf = Callable[[Path], dict[str, bytes]]

# long enough to be met in the middle: 114 shards
LONG = ("samples_per_class=300",)
SLOW = pytest.mark.slow
# batches, and the rest mapped; or one of them for all shards
USUAL: list[str] = []
ONE_FORM = [["--mapped"], ["--batches"]]


@pytest.fixture(scope="session")
def long_store(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Order:
    """What an uninterrupted run of the long recipe makes."""
    order = order_small(tmp_path_factory.mktemp("long") / "long.zarr", *LONG)
    make_store(order)
    return order


@pytest.fixture
def simulate(start: Start, small_overrides: list[str]) -> Start:
    """Start `lensmill simulate tiny` made small."""

    def run(out: Path, *options: str, overrides: tuple[str, ...] = ()) -> Any:
        changed = [word for one in [*small_overrides, *overrides] for word in ("--set", one)]
        return start("simulate", "tiny", "--out", out, *changed, *options)

    return run


def _ended_well(command: Any) -> str:
    said = command.wait()
    assert said.code == 0, said
    assert "Traceback" not in said.err
    command.wait_until_alone()
    return str(said.out)


def _receipts(root: Path) -> int:
    return sum(1 for _ in (root / commit.RECEIPTS).rglob("*.json"))


def _meet_in_the_middle(command: Any, out: Path) -> None:
    command.wait_until(lambda: _receipts(out) >= 3)


def _assert_unfinished_and_good_so_far(order: Order, out: Path) -> None:
    with pytest.raises(StoreUnfinishedError):
        open_store(out)
    present = [span for span in layout.spans(order.plan) if (out / commit.receipt_path(span)).exists()]
    assert 3 <= len(present) < layout.shard_count(order.plan), "it was not met in the middle"
    assert all(commit.valid_receipt(out, order.plan, span) for span in present)


def test_a_fresh_run_and_another(
    simulate: Start, sound_store: Order, tmp_path: Path, assert_same_arrays: SameArrays, bytes_of: BytesOf
) -> None:
    out = tmp_path / "new" / "small.zarr"
    said = _ended_well(simulate(out, "--workers", "2", "--shard-size", "64"))
    assert "3 of 3 shards made" in said
    assert f"60 images of tiny, digest {sound_store.recipe.digest[:12]}" in said
    assert verify(out).sound
    assert_same_arrays(out, sound_store.root)
    before = bytes_of(out)
    assert "nothing to do: all 3 shards are there and whole" in _ended_well(
        simulate(out, "--workers", "2", "--shard-size", "64")
    )
    assert bytes_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_damaged_shard_is_repaired(
    simulate: Start, store: Order, sound_store: Order, bytes_of: BytesOf
) -> None:
    path = store.root / "train/image/c/2/0/0/0"
    content = bytearray(path.read_bytes())
    content[99] ^= 4
    path.write_bytes(content)
    assert len(verify(store.root).faults) == 1
    assert "1 of 9 shards made" in _ended_well(simulate(store.root, "--workers", "1"))
    assert bytes_of(store.root) == bytes_of(sound_store.root)


@pytest.mark.parametrize("form", [USUAL, *(pytest.param(one, marks=SLOW) for one in ONE_FORM)])
def test_a_killed_driver_leaves_nothing_running_and_is_resumed(
    simulate: Start,
    long_store: Order,
    tmp_path: Path,
    bytes_of: BytesOf,
    assert_same_arrays: SameArrays,
    form: list[str],
) -> None:
    out = tmp_path / "long.zarr"
    command = simulate(out, "--workers", "1", *form, overrides=LONG)
    _meet_in_the_middle(command, out)
    assert command.descendants()
    command.process.kill()
    assert command.wait().code == -signal.SIGKILL
    command.wait_until_alone()
    _assert_unfinished_and_good_so_far(long_store, out)
    kept = _receipts(out)
    said = _ended_well(simulate(out, "--workers", "2", *form, overrides=LONG))
    total = layout.shard_count(long_store.plan)
    made = int(said.split(f" of {total} shards made")[0].split()[-1])
    assert made == total - kept
    assert_same_arrays(out, long_store.root)
    assert bytes_of(out) == bytes_of(long_store.root)


@pytest.mark.parametrize(
    ("to", "form"),
    [
        ("the group, as a terminal does", USUAL),
        pytest.param("the group, as a terminal does", ["--mapped"], marks=SLOW),
        pytest.param("the driver", ["--mapped"], marks=SLOW),
    ],
)
def test_ctrl_c_ends_with_130_and_can_be_resumed(
    simulate: Start,
    simulate_here: Any,
    long_store: Order,
    tmp_path: Path,
    bytes_of: BytesOf,
    to: str,
    form: list[str],
) -> None:
    out = tmp_path / "long.zarr"
    command = simulate(out, "--workers", "1", *form, overrides=LONG)
    _meet_in_the_middle(command, out)
    if to == "the driver":
        command.process.send_signal(signal.SIGINT)
    else:
        os.killpg(command.process.pid, signal.SIGINT)
    said = command.wait()
    command.wait_until_alone()
    assert said.code == 130, said
    assert "Traceback" not in said.err + said.out
    assert "interrupted; finished shards are kept" in said.err
    _assert_unfinished_and_good_so_far(long_store, out)
    simulate_here(Order(out, long_store.recipe, long_store.plan))
    assert bytes_of(out) == bytes_of(long_store.root)


@pytest.mark.slow
@pytest.mark.parametrize("form", [USUAL, *ONE_FORM])
def test_sigterm_ends_cleanly_and_can_be_resumed(
    simulate: Start, simulate_here: Any, long_store: Order, tmp_path: Path, bytes_of: BytesOf, form: list[str]
) -> None:
    out = tmp_path / "long.zarr"
    command = simulate(out, "--workers", "1", *form, overrides=LONG)
    _meet_in_the_middle(command, out)
    command.process.terminate()
    said = command.wait()
    command.wait_until_alone()
    assert said.code != 0
    assert "Traceback" not in said.err + said.out
    _assert_unfinished_and_good_so_far(long_store, out)
    simulate_here(Order(out, long_store.recipe, long_store.plan))
    assert bytes_of(out) == bytes_of(long_store.root)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "shard_size"), [(1, 8), (2, 8), (1, 64)])
def test_workers_and_shards_do_not_matter(
    simulate: Start,
    sound_store: Order,
    tmp_path: Path,
    assert_same_arrays: SameArrays,
    workers: int,
    shard_size: int,
) -> None:
    out = tmp_path / "small.zarr"
    _ended_well(simulate(out, "--workers", str(workers), "--shard-size", str(shard_size)))
    assert_same_arrays(out, sound_store.root)


def _workers(command: Any) -> list[psutil.Process]:
    return [one for one in command.descendants() if any("spawn_main" in word for word in one.cmdline())]


@pytest.mark.slow
@pytest.mark.parametrize("form", [USUAL, *ONE_FORM])
def test_a_killed_worker_is_replaced(
    simulate: Start, long_store: Order, tmp_path: Path, bytes_of: BytesOf, form: list[str]
) -> None:
    out = tmp_path / "long.zarr"
    command = simulate(out, "--workers", "2", *form, overrides=LONG)
    _meet_in_the_middle(command, out)
    random.Random(1).choice(_workers(command)).kill()
    _ended_well(command)
    assert bytes_of(out) == bytes_of(long_store.root)


@pytest.mark.slow
@pytest.mark.parametrize("form", [USUAL, *ONE_FORM])
def test_errors_of_workers_come_home(
    simulate: Start, sound_store: Order, tmp_path: Path, form: list[str]
) -> None:
    out = tmp_path / "small.zarr"
    commit.begin(out, sound_store.recipe, sound_store.plan)
    (out / "val").write_text("in the way")
    command = simulate(out, "--workers", "1", *form)
    said = command.wait()
    command.wait_until_alone()
    assert said.code == 1
    assert said.err.count("error:") == 1
    assert f"cannot write {out / 'val'}" in said.err
    assert "Traceback" not in said.err + said.out


@pytest.mark.slow
def test_two_commands_do_not_write_one_store(simulate: Start, sound_store: Order, tmp_path: Path) -> None:
    out = tmp_path / "small.zarr"
    with commit.writing(out):
        command = simulate(out, "--workers", "1")
        said = command.wait()
    command.wait_until_alone()
    assert said.code == 1
    assert said.err.count("error:") == 1
    assert f"another process is writing {out}" in said.err
    assert "Traceback" not in said.err + said.out
    assert sorted(path.name for path in out.rglob("*")) == ["lensmill", "lock"]
