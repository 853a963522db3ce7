"""Everything below a folder verified: damage is named, what is unfinished or set aside is no fault."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import unattended, verifying
from flows.generate import Order
from flows.verifying import headline, inspect, refuse_damage, verify_all_flow
from schemas.errors import StoreDamagedError, StoreMissingError, StoreUnreachableError
from storage import commit
from storage.upkeep.inventory import stores_below
from storage.upkeep.versions import catch_up, note
from storage.verify import verify
from tests.flows.run_logs import RunLog
from tests.s3 import S3

PIXELS = "train/image/c/0/0/0/0"


@pytest.fixture
def folder(sound_store: Order, tmp_path: Path) -> Path:
    """A sound store, a damaged one two folders down, an unfinished one."""
    for name in ("a.zarr", "deep/er/b.zarr", "c.zarr"):
        ignored = shutil.ignore_patterns(commit.VERIFICATION.name)
        shutil.copytree(sound_store.root, tmp_path / name, ignore=ignored)
    _damage(tmp_path / "deep/er/b.zarr")
    commit.unseal(tmp_path / "c.zarr")
    return tmp_path


def _damage(store: Path) -> None:
    content = bytearray((store / PIXELS).read_bytes())
    content[100] ^= 1
    (store / PIXELS).write_bytes(content)


def _states(folder: Path, **options: Any) -> dict[str, str]:
    found = inspect(folder, **options)
    return {str(Path(one.path).relative_to(folder)): one.state for one in found.checked}


def test_every_store_is_looked_at(folder: Path) -> None:
    assert _states(folder) == {"a.zarr": "sound", "c.zarr": "unfinished", "deep/er/b.zarr": "damaged"}
    # for those who look later
    assert json.loads((folder / "deep/er/b.zarr" / commit.VERIFICATION).read_text())["faults"] == 1


def test_damage_is_an_error_that_names_all_of_it(folder: Path) -> None:
    shutil.copytree(folder / "deep/er/b.zarr", folder / "d.zarr")
    with pytest.raises(StoreDamagedError, match="2 of 4 stores and runs are damaged") as caught:
        verify_all_flow.fn(str(folder))
    assert "d.zarr: shard 0 of train" in str(caught.value)
    assert "b.zarr: shard 0 of train" in str(caught.value)
    assert "lensmill repair STORE" in caught.value.advice
    found = inspect(folder)
    assert headline(found).startswith(f"{folder}: 2 damaged, 1 sound, 1 unfinished, 0.00 GB")


def test_what_is_damaged_is_repaired_when_asked(folder: Path, repair_here: Any) -> None:
    found = verify_all_flow.fn(str(folder), repair=True)
    assert sorted(one.state for one in found.checked) == ["repaired", "sound", "unfinished"]
    assert verify(folder / "deep/er/b.zarr").sound


def test_what_cannot_be_repaired_stays_damaged(folder: Path, repair_here: Any) -> None:
    (folder / "deep/er/b.zarr/train/image/stray").write_text("x")
    (found,) = inspect(folder, repair=True).bad
    assert (found.state, found.path) == ("damaged", str(folder / "deep/er/b.zarr"))


def test_versions_that_are_set_aside_are_no_news(folder: Path) -> None:
    (folder / "deep/er/b.zarr").rename(folder / "deep/er/v0001.zarr")
    catch_up(folder / "deep/er")
    assert _states(folder)["deep/er/v0001.zarr"] == "damaged"
    note(folder / "deep/er", 1, state="damaged", reason="known")
    assert _states(folder)["deep/er/v0001.zarr"] == "set aside"
    refuse_damage(inspect(folder))
    # a book that cannot be read hides nothing
    (folder / "deep/er/lineage.json").write_text("{")
    assert _states(folder)["deep/er/v0001.zarr"] == "damaged"


def test_weights_of_runs_are_compared_with_their_record(
    tmp_path: Path, run_folder: Callable[[Path], Path]
) -> None:
    for name in ("sound", "changed", "lost", "torn"):
        run_folder(tmp_path / name)
    (tmp_path / "changed/weights.safetensors").write_bytes(b"others")
    (tmp_path / "lost/weights.safetensors").unlink()
    (tmp_path / "torn/run.json").write_text("{")
    assert _states(tmp_path) == {"changed": "damaged", "lost": "damaged", "sound": "sound", "torn": "damaged"}


# -- what goes away meanwhile


def _meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[Path], None], after: bool) -> None:
    """Something happens to a store before or after its verification."""

    def look(root: Path, *_: Any) -> Any:
        if not after:
            happens(root)
        found = verify(root)
        happens(root)
        return found

    monkeypatch.setattr(verifying, "verify", look)


@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_is_removed_meanwhile_is_no_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    damaged = folder / "deep/er/b.zarr"
    _meanwhile(
        monkeypatch, lambda one: shutil.rmtree(one) if one == damaged and one.exists() else None, after
    )
    assert _states(folder)["deep/er/b.zarr"] == "removed"
    refuse_damage(inspect(folder))
    assert not damaged.exists(), "nothing is left of it, no record either"


def test_a_removal_under_way_is_no_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _meanwhile(monkeypatch, lambda one: commit.unseal(one) if one.name == "b.zarr" else None, True)
    assert _states(folder)["deep/er/b.zarr"] == "removed"


def test_a_run_that_is_removed_meanwhile_is_no_fault(
    tmp_path: Path, run_folder: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run")
    monkeypatch.setattr(verifying, "_runs_below", lambda _: iter([run, tmp_path / "gone"]))
    assert _states(tmp_path) == {"run": "sound", "gone": "removed"}


@pytest.fixture
def unattended_log(monkeypatch: pytest.MonkeyPatch) -> RunLog:
    """The log of a run that a worker started and that does not wait long."""
    log = RunLog()
    monkeypatch.setenv(unattended.STARTED_BY_A_WORKER, "0")
    monkeypatch.setattr(unattended, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(unattended, "get_run_logger", lambda: log)
    return log


def _away(monkeypatch: pytest.MonkeyPatch, times: int, names: tuple[str, ...]) -> None:
    """The server does not answer so often when it is asked for these stores."""
    left = dict.fromkeys(names, times)

    def look(root: Path, *_: Any) -> Any:
        if left.get(root.name, 0):
            left[root.name] -= 1
            raise StoreUnreachableError("no answer")
        return verify(root)

    monkeypatch.setattr(verifying, "verify", look)


def test_a_server_that_is_back_is_no_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch, unattended_log: RunLog
) -> None:
    _away(monkeypatch, 2, ("a.zarr",))
    assert _states(folder)["a.zarr"] == "sound"
    assert unattended_log.lines == ["StoreUnreachableError: no answer; again in 0 s"] * 2


def test_a_server_that_stays_away_is_waited_for_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, unattended_log: RunLog
) -> None:
    _away(monkeypatch, 99, ("a.zarr", "b.zarr"))
    found = inspect(folder)
    assert [one.state for one in found.checked] == ["unreachable", "unfinished", "unreachable"]
    assert len(unattended_log.lines) == 2
    with pytest.raises(StoreUnreachableError, match="2 of 3 stores and runs cannot be reached"):
        refuse_damage(found)


def test_damage_is_told_although_a_server_is_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _away(monkeypatch, 99, ("a.zarr",))
    with pytest.raises(StoreDamagedError, match=r"2 of 3 .* are damaged or cannot be reached \(1\)"):
        refuse_damage(inspect(folder))


def test_a_listing_is_asked_for_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, unattended_log: RunLog
) -> None:
    calls: list[int] = []

    def listed(root: Path) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise StoreUnreachableError("no answer")
        return stores_below(root)

    monkeypatch.setattr(verifying, "stores_below", listed)
    assert len(inspect(folder).checked) == 3


def test_stores_behind_links_are_found_once(folder: Path, tmp_path: Path) -> None:
    (folder / "again.zarr").symlink_to(folder / "a.zarr")
    (folder / "deep/round").symlink_to(folder)
    found = [one.name for one in stores_below(folder)]
    assert sorted(found) in (["a.zarr", "b.zarr", "c.zarr"], ["again.zarr", "b.zarr", "c.zarr"])
    assert list(stores_below(folder / "a.zarr")) == [folder / "a.zarr"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreMissingError, match="no folder"):
        inspect(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert headline(inspect(tmp_path / "empty")).startswith(f"{tmp_path / 'empty'}: nothing is there")


def test_stores_on_s3_are_found(
    s3: S3, sound_store: Order, bytes_of: Callable[..., dict[str, bytes]]
) -> None:
    root = s3.new_root("all")
    for path, content in bytes_of(sound_store.root).items():
        (root / "one.zarr" / path).put(content)
    (found,) = inspect(root).checked
    assert (found.path, found.state, found.rows) == (str(root / "one.zarr"), "sound", 60)


def test_the_command(lensmill: Callable[..., Any], folder: Path, repair_here: Any) -> None:
    said = lensmill("verify", folder, "--all")
    assert said.code == 1
    assert "1 of 3 stores and runs is damaged" in said.err
    assert "unfinished" in said.out
    assert "Traceback" not in said.err
    said = lensmill("verify", folder, "--all", "--repair", "--json")
    assert said.code == 0, said
    assert {one["state"] for one in json.loads(said.out)["checked"]} == {"repaired", "sound", "unfinished"}
    assert lensmill("verify", folder / "a.zarr", "--repair").code == 2
