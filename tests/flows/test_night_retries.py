"""Nights that nobody watches: they wait for their turn, and go on with what a lost server interrupted."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import generate, regenerate, unattended
from flows.generate import DatasetSummary
from flows.lineages import judging
from flows.regenerate import regenerate_flow
from flows.unattended import STARTED_BY_A_WORKER
from schemas.errors import SampleError, ShardError, StoreUnreachableError
from schemas.lineage import Keep
from storage import commit
from storage.files import lease
from storage.files.place import Root
from storage.upkeep.versions import LOCK, numbers, read_book, version_name
from storage.verify import verify
from tests.flows.run_logs import RunLog
from tests.s3 import S3

ONE = Keep(last=1, weeks=0, months=0)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RunLog:
    """The log of a night that a worker started and that does not wait long."""
    found = RunLog()
    monkeypatch.setenv(STARTED_BY_A_WORKER, "0")
    monkeypatch.setattr(unattended, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(unattended, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(unattended, "get_run_logger", lambda: found)
    # it would ask a server, and Prefect start one
    monkeypatch.setattr(unattended, "label_run", lambda: None)
    return found


@pytest.fixture
def night(
    monkeypatch: pytest.MonkeyPatch, simulate_here: Any, small_overrides: list[str]
) -> Callable[..., DatasetSummary]:
    """A night in this process, without Prefect and Dask."""
    monkeypatch.setattr(regenerate, "simulate_flow", generate.simulate_flow.fn)

    def make(folder: Root, keep: Keep = ONE) -> DatasetSummary:
        made: DatasetSummary = regenerate_flow.fn(
            "tiny", str(folder), 1, small_overrides, audit=False, keep=keep
        )
        return made

    return make


def _lost_once(function: Callable[..., Any], after: bool = False) -> Callable[..., Any]:
    """A function whose server is away the first time, before or after it has done its work."""
    calls: list[int] = []

    def run(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        found = function(*arguments, **more) if after or len(calls) > 1 else None
        if len(calls) == 1:
            raise StoreUnreachableError("no answer")
        return found

    return run


STEPS = [
    (regenerate, "catch_up", False),
    (regenerate, "settle", True),
    (generate, "_make", False),
    (judging, "faults_of", False),
    (judging, "name_latest", False),
    (judging, "name_latest", True),
]


@pytest.mark.parametrize(("module", "name", "after"), STEPS)
def test_a_night_that_loses_its_server_goes_on_and_makes_one_version(
    night: Callable[..., DatasetSummary],
    log: RunLog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    after: bool,
) -> None:
    night(tmp_path)
    monkeypatch.setattr(module, name, _lost_once(getattr(module, name), after))
    made = night(tmp_path)
    assert made.store == str(tmp_path / version_name(2))
    assert [one.state for one in read_book(tmp_path).versions] == ["removed", "good"]
    assert (tmp_path / "latest").read_text() == "v0002.zarr\n"
    assert verify(tmp_path / version_name(2)).sound
    assert log.lines == ["StoreUnreachableError: no answer; again in 0 s"]


def test_a_night_that_is_tried_again_remembers_that_the_book_was_lost(
    night: Callable[..., DatasetSummary], log: RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(tmp_path)
    (tmp_path / "lineage.json").unlink()
    monkeypatch.setattr(regenerate, "settle", _lost_once(regenerate.settle, after=True))
    night(tmp_path)
    assert len(log.lines) == 1
    assert numbers(tmp_path) == [1, 2], "what the book pinned is not known"


def test_somebody_who_watches_is_told_at_once(
    night: Callable[..., DatasetSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regenerate, "settle", _lost_once(regenerate.settle))
    with pytest.raises(StoreUnreachableError):
        night(tmp_path)


def test_two_nights_at_once_take_turns(
    night: Callable[..., DatasetSummary], log: RunLog, tmp_path: Path
) -> None:
    made: list[DatasetSummary] = []
    waiting = threading.Thread(target=lambda: made.append(night(tmp_path, Keep())))
    with commit.writing(tmp_path, LOCK):
        waiting.start()
        while not log.lines and waiting.is_alive():
            time.sleep(0.01)
        assert numbers(tmp_path) == []
    waiting.join(120)
    assert [Path(one.store).name for one in made] == [version_name(1)]
    assert "waiting for its turn: another process is writing" in log.lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["faults_of", "name_latest"])
def test_a_night_on_a_server_that_shuts_us_out_for_a_while(
    night: Callable[..., DatasetSummary], log: RunLog, s3: S3, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    # the lock cannot be given back meanwhile, and lapses
    monkeypatch.setattr(lease, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(unattended, "LOOK_SECONDS", 1.0)
    root, real, begun = s3.new_root("lineage"), getattr(judging, step), []
    with contextlib.ExitStack() as outage:

        def shut_out(*arguments: Any) -> Any:
            if not begun:
                begun.append(outage.enter_context(s3.closed_to_strangers()))
            return real(*arguments)

        monkeypatch.setattr(judging, step, shut_out)
        monkeypatch.setattr(log, "warning", lambda *said: (log.info(*said), outage.close()))
        made = night(root)
    assert made.store == str(root / version_name(1))
    assert (root / "latest").read_bytes() == b"v0001.zarr\n"
    assert [one.state for one in read_book(root).versions] == ["good"]
    again, *waits = log.lines
    assert "denies access" in again
    assert all("waiting for its turn" in one for one in waits)


# -- nights that fail


def test_a_sample_that_fails_in_the_simulator_ends_its_version(
    night: Callable[..., DatasetSummary], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(generate, "_make", _raising(SampleError("1 shard could not be made: ...")))
        with pytest.raises(SampleError):
            night(tmp_path)
    assert night(tmp_path).store.endswith("v0002.zarr")
    assert [one.state for one in read_book(tmp_path).versions] == ["left", "good"]


def test_workers_that_died_leave_a_version_to_the_next_night(
    night: Callable[..., DatasetSummary], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(generate, "_make", _raising(ShardError("its worker died 4 times")))
        with pytest.raises(ShardError):
            night(tmp_path)
    assert night(tmp_path).store.endswith("v0001.zarr")


def test_an_error_without_words_is_the_one_that_is_raised(
    night: Callable[..., DatasetSummary], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(regenerate, "settle", _raising(TimeoutError("")))
    with pytest.raises(TimeoutError):
        night(tmp_path)


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail
