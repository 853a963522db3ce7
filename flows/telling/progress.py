"""Progress for people: a bar with rate and remaining time on a terminal, now and then a line elsewhere.

With `--log json` each of those lines is an object for a machine to read.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.telling import journal

# How far the work is, in units of the bar.
Report = Callable[[int], None]
SECONDS_BETWEEN_LINES = 10.0
PATIENCE_SECONDS = 1.0


class Pace:
    """How fast some work goes, and so how long it will take, from when it began."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.started = time.monotonic()

    def rate(self, done: float) -> float:
        """Units per second since the start; 0 while nothing is known."""
        seconds = time.monotonic() - self.started
        return done / seconds if done and seconds > 0 else 0.0

    def remaining_s(self, done: float) -> float | None:
        """Seconds that the rest will take at this pace, if there is one yet."""
        rate = self.rate(done)
        return (self.total - done) / rate if rate else None


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, rounded up: work that goes on is not said to be over."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@contextlib.contextmanager
def progress_bar(what: str, total: int, unit: str, quiet: bool = False) -> Iterator[Report]:
    """Yields a function that is told how far the work is, from the start."""
    console = Console(stderr=True)
    if quiet:
        yield lambda _: None
    elif journal.wanted():
        yield _objects(what, total, unit)
    elif console.is_terminal:
        yield from _bar(console, what, total, unit)
    else:
        yield _lines(console, what, total, unit)


def _bar(console: Console, what: str, total: int, unit: str) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(what, total=total, rate="")
        rate = _rate()
        yield lambda done: progress.update(bar, completed=done, rate=rate(done))


def _lines(console: Console, what: str, total: int, unit: str) -> Report:
    rate = _rate()

    def line(done: int) -> None:
        told = (f"{what}: {done:,} of {total:,} {unit}", rate(done))
        console.print(" ".join(filter(None, told)), highlight=False)

    return _now_and_then(line)


def _objects(what: str, total: int, unit: str) -> Report:
    pace = Pace(total)

    def line(done: int) -> None:
        left = pace.remaining_s(done)
        journal.write(
            "info",
            what,
            done=done,
            total=total,
            unit=unit,
            per_s=round(pace.rate(done), 3),
            remaining_s=None if left is None else round(left, 1),
        )

    return _now_and_then(line)


def _now_and_then(line: Report) -> Report:
    last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            line(done)

    return report


@contextlib.contextmanager
def patience(what: str, quiet: bool = False) -> Iterator[None]:
    """Says what is going on if it takes more than a moment."""
    timer = threading.Timer(PATIENCE_SECONDS, _say, (what,))
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(what: str) -> None:
    if journal.wanted():
        journal.write("info", what)
    else:
        Console(stderr=True).print(what, highlight=False)


def _rate() -> Callable[[int], str]:
    started, first = time.monotonic(), None

    def rate(done: int) -> str:
        nonlocal first
        first = done if first is None else first
        seconds = time.monotonic() - started
        return f"({(done - first) / seconds:,.0f}/s)" if done > first and seconds > 0 else ""

    return rate
