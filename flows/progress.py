"""Progress for people: a bar with rate and remaining time on a terminal, now and then a line elsewhere."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# How far the work is, in units of the bar.
Report = Callable[[int], None]
SECONDS_BETWEEN_LINES = 10.0
PATIENCE_SECONDS = 1.0


@contextlib.contextmanager
def progress_bar(what: str, total: int, unit: str, quiet: bool = False) -> Iterator[Report]:
    """Yields a function that is told how far the work is, from the start."""
    console = Console(stderr=True)
    if quiet:
        yield lambda _: None
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
    last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            console.print(f"{what}: {done:,} of {total:,} {unit} {rate(done)}", highlight=False)

    return report


@contextlib.contextmanager
def patience(what: str, quiet: bool = False) -> Iterator[None]:
    """Says what is going on if it takes more than a moment."""
    console = Console(stderr=True)
    timer = threading.Timer(PATIENCE_SECONDS, lambda: console.print(what, highlight=False))
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _rate() -> Callable[[int], str]:
    started, first = time.monotonic(), None

    def rate(done: int) -> str:
        nonlocal first
        first = done if first is None else first
        seconds = time.monotonic() - started
        return f"({(done - first) / seconds:,.0f}/s)" if done > first and seconds > 0 else ""

    return rate
