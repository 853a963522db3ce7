"""Progress that is told elsewhere: right, now and then, and never in the way of the work."""

import logging
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from flows.telling import bulletin, progress
from flows.telling.bulletin import Bulletin
from flows.telling.progress import Pace, clock

ARTIFACT = uuid.uuid4()


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """As the module `time` has it."""
        return self.now


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of both modules."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(bulletin, "time", clock)
    return clock


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What is logged outside of a flow run."""
    found: list[logging.LogRecord] = []
    handler, log = logging.Handler(), logging.getLogger("lensmill")
    handler.emit = found.append  # type: ignore[method-assign]
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield found
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


class Page:
    """Prefect's page, as far as progress goes."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def create(self, _: str) -> uuid.UUID:
        """A new artifact."""
        self.gate.wait(30)
        return ARTIFACT

    def update(self, artifact: uuid.UUID, percent: float, about: str) -> None:
        """News of it."""
        assert artifact == ARTIFACT
        self.told.append((percent, about))


def _bulletin(page: Any, shards: int = 10, images: int = 1000) -> Bulletin:
    return Bulletin(shards, images, "s.zarr", page.create, page.update)


def test_pace_and_clock(clocks: Clock) -> None:
    pace = Pace(100)
    assert (pace.rate(0), pace.remaining_s(0)) == (0.0, None)
    clocks.now = 4.0
    assert pace.rate(20) == 5.0
    assert pace.remaining_s(20) == 16.0
    assert [clock(seconds) for seconds in (0, 0.2, 59.5, 3600, 90_061)] == [
        "0:00:00",
        "0:00:01",
        "0:01:00",
        "1:00:00",
        "25:01:01",
    ]


def test_shards_rate_and_remaining_time_are_told(clocks: Clock, lines: list[logging.LogRecord]) -> None:
    page = Page()
    with _bulletin(page) as told:
        clocks.now = 2.0
        told.tell(1, 100)
        clocks.now = 20.0
        told.tell(10, 1000)
    assert page.told[-1] == (100.0, "10 of 10 shards, 1,000 of 1,000 images, 50 images/s, 0:00:00 left")
    said = [line.getMessage() for line in lines]
    assert said[0] == "1 of 10 shards, 100 of 1,000 images, 50 images/s, 0:00:18 left"
    facts = lines[0].facts  # type: ignore[attr-defined]
    assert facts["remaining_s"] == 18.0
    assert (facts["done"], facts["total"], facts["store"], facts["per_s"]) == (100, 1000, "s.zarr", 50.0)


def test_long_work_is_not_told_by_the_second(clocks: Clock, lines: list[logging.LogRecord]) -> None:
    day = 86_400
    told = _bulletin(Page(), day, 100 * day)
    for second in range(1, day + 1):
        clocks.now = float(second)
        told.tell(second, 100 * second)
    assert 100 < len(lines) < 200
    assert lines[-1].getMessage().startswith("86,400 of 86,400 shards")
    # the page is told more often, where the newest replaces the one before
    assert day / 6 < told.news.qsize() < day / 5 + 10


class Gone:
    """A server that is not there."""

    def create(self, _: str) -> uuid.UUID:
        """Refused."""
        raise ConnectionError("All connection attempts failed")

    update: Any = None


def test_a_server_that_is_gone_costs_one_line(clocks: Clock, lines: list[logging.LogRecord]) -> None:
    with _bulletin(Gone()) as told:
        for shard in range(1, 11):
            clocks.now += 6.0
            told.tell(shard, 100 * shard)
    warned = [line.getMessage() for line in lines if line.levelno == logging.WARNING]
    assert warned == [
        "Prefect's page does not get the progress: All connection attempts failed; the work goes on"
    ]


def test_a_slow_server_keeps_nobody_waiting(clocks: Clock, lines: list[logging.LogRecord]) -> None:
    page = Page()
    page.gate.clear()
    with _bulletin(page) as told:
        for shard in range(1, 11):
            clocks.now += 6.0
            told.tell(shard, 100 * shard)
        page.gate.set()
    assert len(page.told) <= 3, "what is old by then is not sent"
    assert page.told[-1][0] == 100.0
