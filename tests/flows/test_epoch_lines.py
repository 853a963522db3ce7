"""Lines of a training: at first, now and then, at the end, with what is known."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flows.telling import epochs, journal, progress
from flows.telling.epochs import EpochLines

ROW = {"epoch": 1, "train_loss": 0.51234, "val_loss": None, "seconds": 3.0}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """As the module `time` has it."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    monkeypatch.setattr(epochs, "time", found)
    return found


def _objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def as_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(journal.VARIABLE, journal.JSON)


@pytest.mark.usefixtures("as_objects")
def test_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    tell = EpochLines("mine")
    tell(0.25, 4, {})
    for step in range(1, 6):
        clock.now = 1000 + 5 * step
        tell(0.25 + step / 4, 4, ROW if step >= 3 else {})
    clock.now += 1
    tell(4, 4, ROW | {"val_loss": 0.4})
    lines = _objects(capsys)
    assert [one["done"] for one in lines] == [0.25, 0.75, 1.25, 4]
    first, second, third, last = lines
    assert first["message"] == "mine: 0.25 of 4 epochs"
    assert "remaining_s" not in first
    # half an epoch in ten seconds
    assert (second["per_s"], second["remaining_s"]) == (0.05, 65.0)
    assert third["message"] == "mine: 1.25 of 4 epochs, training loss 0.5123, 0:00:55 left"
    assert (third["train_loss"], third["unit"], third["total"]) == (0.51234, "epochs", 4)
    assert "val_loss" not in third
    assert last["message"] == "mine: 4 of 4 epochs, training loss 0.5123, validation loss 0.4, 0:00:00 left"


def test_a_file_gets_the_words_alone(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(journal.VARIABLE, raising=False)
    EpochLines("mine")(2, 2, ROW)
    assert capsys.readouterr().err == "mine: 2 of 2 epochs, training loss 0.5123\n"


@pytest.mark.usefixtures("as_objects")
def test_what_was_done_before_a_kill_says_nothing_of_the_pace(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    tell = EpochLines("mine")
    tell(90, 100, ROW)
    clock.now += 50
    tell(91, 100, ROW)
    assert _objects(capsys)[-1]["remaining_s"] == 450.0


def test_in_a_run_it_is_a_line_of_its_log(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(epochs, "in_a_run", lambda: True)
    with caplog.at_level(logging.INFO):
        EpochLines("mine")(2, 2, ROW)
    (record,) = caplog.records
    assert record.getMessage().startswith("mine: 2 of 2 epochs, training loss 0.5123")
    assert record.__dict__["facts"]["total"] == 2
