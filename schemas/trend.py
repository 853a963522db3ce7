"""Scores of one experiment over versions of its data, and whether the newest fell behind.

Each version has test samples of its own, so nothing can be paired: the interval of a difference follows from
the two intervals (MOVER: Zou & Donner 2008, Stat. Med. 27, 1693). They are of the samples alone. What comes
and goes with each training is seen in how far earlier versions are apart: from the third version on, the
newest must lie outside of what they predict for one more (Student's t).
"""

from collections.abc import Sequence
from statistics import NormalDist, mean, stdev
from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.frozen import Frozen
from schemas.metrics import Interval, Score
from schemas.store import Digest

# The intervals of scores are of 95%.
TAIL = 0.025
# Its quantiles of Student's t for 1, 2, 3... degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


class Point(Frozen):
    """What an experiment scored on one version."""

    version: int = Field(ge=1)
    made: AwareDatetime | None
    lineage: Digest
    experiment_digest: Digest
    scores: tuple[Score, ...]
    packages: dict[str, str] = Field(default={}, description="that made the data, and that trained")
    report: str = Field(description="folder of the report")


class Change(Frozen):
    """A score of a version beside the last one that was no regression."""

    version: int
    score: Score
    against: int | None = Field(default=None, description="None: the first of its kind")
    difference: Interval | None = Field(default=None, description="minus that one")
    verdict: Literal["first", "as before", "better", "worse"]

    def __str__(self) -> str:
        value = self.score.value.value
        if self.difference is None:
            return f"{self.score.name} is {value:.4g} on version {self.version}"
        one, unit = self.difference, "" if self.score.unit == "1" else f" {self.score.unit}"
        before = value - one.value
        told = f"{one.value:+.3g}, 95% {one.low:+.3g} to {one.high:+.3g}"
        names = f"from {before:.4g} on version {self.against} to {value:.4g} on version {self.version}"
        return f"{self.score.name} went {names}{unit} ({told})"


def comparable(points: Sequence[Point], since: int) -> tuple[Point, ...]:
    """Those that the newest may be compared with, itself included: of its recipe and experiment."""
    if not points:
        return ()
    newest = max(points, key=lambda one: one.version)
    same = (
        one
        for one in points
        if (one.lineage, one.experiment_digest) == (newest.lineage, newest.experiment_digest)
        and one.version >= since
    )
    return tuple(sorted(same, key=lambda one: one.version))


def changes(points: Sequence[Point], tolerance: float) -> tuple[Change, ...]:
    """Each score of each version, in order; one that is worse is nothing to measure the next one by.

    `tolerance` is a share of what the earlier score gained over knowing nothing.
    """
    found: list[Change] = []
    for name in dict.fromkeys(score.name for one in points for score in one.scores):
        before: list[tuple[int, Score]] = []
        for one in points:
            score = next((score for score in one.scores if score.name == name), None)
            if score is None:
                continue
            change = _change(one.version, score, before, tolerance, len(one.scores))
            found.append(change)
            if change.verdict != "worse":
                before.append((one.version, score))
    return tuple(sorted(found, key=lambda one: one.version))


def _change(
    version: int, score: Score, before: Sequence[tuple[int, Score]], tolerance: float, looked_at: int
) -> Change:
    if not before:
        return Change(version=version, score=score, verdict="first")
    number, earlier = before[-1]
    apart = difference(score.value, earlier.value, looked_at)
    allowed = tolerance * abs(earlier.value.value - earlier.chance)
    low, high = predicted([one.value.value for _, one in before])
    up = apart.low > allowed and score.value.value > high
    down = apart.high < -allowed and score.value.value < low
    better, worse = (up, down) if score.better == "higher" else (down, up)
    return Change(
        version=version,
        score=score,
        against=number,
        difference=apart,
        verdict="better" if better else "worse" if worse else "as before",
    )


def difference(one: Interval, other: Interval, looked_at: int = 1) -> Interval:
    """One minus the other, of samples that have nothing to do with each other.

    Where several scores are looked at, the interval is wider: one look in twenty is wrong, not one score.
    """
    normal = NormalDist()
    wider = normal.inv_cdf(1 - TAIL / looked_at) / normal.inv_cdf(1 - TAIL)
    value = one.value - other.value
    below = wider * _length(one.value - one.low, other.high - other.value)
    above = wider * _length(one.high - one.value, other.value - other.low)
    return Interval(value=value, low=value - below, high=value + above)


def predicted(values: Sequence[float]) -> tuple[float, float]:
    """Where one more value lies with 95%, as these vary; of a single one nothing is known of that."""
    count, middle = len(values), mean(values)
    if count < 2:
        return middle, middle
    quantile = STUDENT[min(count - 1, len(STUDENT)) - 1]
    half = quantile * stdev(values) * (1 + 1 / count) ** 0.5
    return middle - half, middle + half


def _length(*sides: float) -> float:
    # an interval that was rounded may miss its value by a last digit
    return float(sum(max(side, 0.0) ** 2 for side in sides) ** 0.5)
