"""Contestants timed in turn, so that whatever else the machine does hits all of them alike."""

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LEAST_IMAGES = 8


@dataclass
class Contestant:
    """Something that makes a number of images, or does one step of it."""

    name: str
    # number of images -> None, or its own count of the seconds
    run: Callable[[int], object]
    most: int = 4096
    least: int = LEAST_IMAGES
    own_clock: bool = False
    images: int = 0
    us_per_image: list[float] = field(default_factory=list)
    cpu_share: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Microseconds per image."""
        return statistics.median(self.us_per_image)

    def calibrate(self, seconds: float) -> None:
        """Choose a power of two of images that takes about so long; the first call fills caches."""
        self._seconds(self.least)
        self.images = self.least
        while True:
            taken = max(self._seconds(self.images), 1e-6)
            if taken >= 0.7 * seconds or self.images >= self.most:
                return
            larger = self.images << max(1, int(0.7 * seconds / taken).bit_length() - 1)
            self.images = min(self.most, larger)

    def measure(self) -> None:
        """One round."""
        busy = time.process_time()
        taken = self._seconds(self.images)
        self.cpu_share.append((time.process_time() - busy) / taken)
        self.us_per_image.append(1e6 * taken / self.images)

    def _seconds(self, images: int) -> float:
        gc.collect()
        gc.disable()
        try:
            started = time.perf_counter()
            answer = self.run(images)
            taken = time.perf_counter() - started
        finally:
            gc.enable()
        return float(answer) if self.own_clock else taken  # type: ignore[arg-type]


def compete(contestants: Sequence[Contestant], rounds: int, seconds: float) -> None:
    """All contestants once per round, in alternating order."""
    for one in contestants:
        one.calibrate(seconds)
    for number in range(rounds):
        for one in contestants if number % 2 == 0 else reversed(contestants):
            one.measure()


def ratio(one: Contestant, other: Contestant) -> dict[str, float]:
    """How many times longer `one` takes than `other`: of the medians, and its spread over the rounds."""
    each = [a / b for a, b in zip(one.us_per_image, other.us_per_image, strict=True)]
    return {"of_medians": one.median / other.median, "least": min(each), "most": max(each)}


def use_one_core(core: int | None) -> int | None:
    """Pin this process and its children; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen
