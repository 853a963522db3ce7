"""How far a training is, for logs: now and then a line with the losses of the last epoch.

A training tells by a function, since it knows nothing of flows, logs or commands.
"""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from flows.telling import journal
from flows.telling.progress import SECONDS_BETWEEN_LINES, Pace, clock
from flows.telling.run_log import in_a_run, run_logger

SHOWN = {"train_loss": "training loss", "val_loss": "validation loss"}


class EpochLines:
    """A line at the first word, at most every ten seconds, and at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pace: Pace | None = None
        self.began, self.said = 0.0, -SECONDS_BETWEEN_LINES

    def __call__(self, done: float, total: int, row: Mapping[str, Any]) -> None:
        """So many epochs of so many are done; `row` is what is known of the last whole one."""
        if self.pace is None:
            # a training that goes on where it was killed has done its first epochs at another time
            self.began, self.pace = done, Pace(1)
        now = time.monotonic()
        if done < total and now - self.said < SECONDS_BETWEEN_LINES:
            return
        self.said = now
        self._say(done, total, row, self.pace)

    def _say(self, done: float, total: int, row: Mapping[str, Any], pace: Pace) -> None:
        rate = pace.rate(done - self.began) if done > self.began else 0.0
        left = (total - done) / rate if rate else None
        losses = {key: row[key] for key in SHOWN if row.get(key) is not None}
        facts = {
            "done": round(done, 3),
            "total": total,
            "unit": "epochs",
            "per_s": round(rate, 6),
            "remaining_s": None if left is None else round(left, 1),
            **losses,
        }
        words = [f"{SHOWN[key]} {value:.4g}" for key, value in losses.items()]
        words += [] if left is None else [f"{clock(left)} left"]
        _write(", ".join((f"{self.name}: {done:.3g} of {total} epochs", *words)), facts)


def _write(text: str, facts: dict[str, Any]) -> None:
    if in_a_run():
        run_logger().log(logging.INFO, text, extra={"facts": facts})
    elif journal.wanted():
        journal.write("info", text, **facts)
    else:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
