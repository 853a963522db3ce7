"""Runs that nobody watches: they wait for their turn, try again what passes, and say why they failed."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.context import FlowRunContext

from flows import unattended
from flows.unattended import STARTED_BY_A_WORKER, persevering, told, turn, within
from schemas.errors import FlowError, RecipeError, StoreBusyError, StoreUnreachableError
from storage import commit
from tests.flows.run_logs import RunLog


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RunLog:
    """What the run said; it waits for nothing."""
    found = RunLog()
    monkeypatch.setattr(unattended, "get_run_logger", lambda: found)
    return found


@pytest.fixture
def by_a_worker(monkeypatch: pytest.MonkeyPatch, log: RunLog) -> None:
    """As in a process that a worker started."""
    monkeypatch.setenv(STARTED_BY_A_WORKER, "0")
    monkeypatch.setattr(unattended, "LOOK_SECONDS", 0.01)


# -- a turn


def test_a_command_is_refused_at_once(tmp_path: Path, log: RunLog) -> None:
    with turn(tmp_path), pytest.raises(StoreBusyError), turn(tmp_path):
        pytest.fail("two writers at a time")
    with turn(tmp_path):
        pass
    assert not log.lines


@pytest.mark.usefixtures("by_a_worker")
def test_a_run_waits_until_the_other_one_has_ended(tmp_path: Path, log: RunLog) -> None:
    order: list[str] = []

    def second() -> None:
        with turn(tmp_path):
            order.append("second")

    with turn(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        while not log.lines:
            time.sleep(0.01)
        order.append("first")
    waiting.join(30)
    assert order == ["first", "second"]
    assert len(log.lines) == 1
    assert "waiting for its turn: another process is writing" in log.lines[0]


@pytest.mark.usefixtures("by_a_worker")
def test_other_stores_are_not_waited_for(tmp_path: Path, log: RunLog) -> None:
    with turn(tmp_path / "a"), turn(tmp_path / "b"):
        assert not log.lines


@pytest.mark.usefixtures("by_a_worker")
def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unattended, "TURN_HOURS", 0.05 / 3600)
    with turn(tmp_path), pytest.raises(StoreBusyError), turn(tmp_path):
        pytest.fail("two writers at a time")


@pytest.mark.usefixtures("by_a_worker")
def test_an_error_inside_a_turn_is_no_reason_to_wait(tmp_path: Path, log: RunLog) -> None:
    with pytest.raises(StoreBusyError, match="mine"), turn(tmp_path):
        raise StoreBusyError("mine")
    with commit.writing(tmp_path):
        assert not log.lines


# -- trying again


def _failing(times: int, error: Exception) -> tuple[Callable[[], int], list[int]]:
    calls: list[int] = []

    def function() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return 3

    return persevering(function), calls


@pytest.mark.usefixtures("by_a_worker")
def test_what_passes_is_tried_again(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(unattended.time, "sleep", pauses.append)
    function, calls = _failing(2, StoreUnreachableError("no answer", where="s3://bucket"))
    assert function() == 3
    assert len(calls) == 3
    assert pauses == [60, 300]
    assert log.lines[0] == "StoreUnreachableError: no answer; again in 60 s"
    function, calls = _failing(9, ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError):
        function()
    assert len(calls) == 4


@pytest.mark.usefixtures("by_a_worker")
def test_tries_do_not_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unattended.time, "sleep", lambda _: None)
    function, calls = _failing(9, StoreUnreachableError("no answer"))
    with pytest.raises(StoreUnreachableError):
        persevering(function)()
    assert len(calls) == 4


@pytest.mark.usefixtures("by_a_worker")
@pytest.mark.parametrize("error", [RecipeError("bad"), FlowError("dead"), OSError("full"), ValueError("bug")])
def test_what_stays_is_not_tried_again(error: Exception) -> None:
    function, calls = _failing(1, error)
    with pytest.raises(type(error)):
        function()
    assert len(calls) == 1


def test_a_command_tries_once() -> None:
    function, calls = _failing(1, StoreUnreachableError("no answer"))
    with pytest.raises(StoreUnreachableError):
        function()
    assert len(calls) == 1


# -- what a failed run says


def test_outside_of_a_run_an_error_is_raised() -> None:
    @told
    def function() -> int:
        raise RecipeError("bad")

    with pytest.raises(RecipeError):
        function()


def test_in_a_run_it_is_the_message_of_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    @told
    def function(error: Exception | None) -> int:
        if error:
            raise error
        return 3

    monkeypatch.setattr(FlowRunContext, "get", lambda: object())
    state: Any = function(RecipeError("bad", expected="good", where="here", advice="mend it"))
    assert state.is_failed()
    assert state.message == "bad\n  expected: good\n  where:    here\n  to do:    mend it"
    assert function(None) == 3
    with pytest.raises(ValueError, match="bug"):
        function(ValueError("bug"))


def test_a_flow_keeps_its_form() -> None:
    @flow
    @told
    @persevering
    def one(number: int = 3) -> int:
        """One.

        Args:
            number: Of something.
        """
        return number

    assert one.parameters.properties["number"]["description"] == "Of something."


# -- a limit


def _sleep_lightly() -> None:
    # outside of a main thread nothing wakes a sleeper
    for _ in range(1200):
        time.sleep(0.05)


def test_a_limit_ends_what_takes_longer() -> None:
    with pytest.raises(FlowError, match=r"the nap took longer than 0.001 minutes"), within(0.001, "the nap"):
        _sleep_lightly()
    with within(None, "nothing"), within(1, "nothing"):
        pass
    with pytest.raises(TimeoutError, match="of somebody else"), within(1, "nothing"):
        raise TimeoutError("of somebody else")
