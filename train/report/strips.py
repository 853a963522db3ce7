"""How the model compares: on one line chance, what is simpler, the model, and the best that is possible."""

from typing import NamedTuple

from schemas.metrics import Interval, Score
from schemas.numbers import BLIND_AUC, words_of
from schemas.report import Baseline, Bound, Report
from storage.page.numbers import shown_unit
from train.report.tables import said

# More targets than these are read from the table.
MOST_STRIPS = 8
# of the line, so that marks at its ends are whole
MARGIN = 3.0
BASELINES = {"components": "principal components", "shuffled": "labels shuffled", "constant": "a constant"}


class Mark(NamedTuple):
    """A place on the line, in percent of its length, with the ends of its interval."""

    kind: str
    words: str
    value: str
    at: float
    low: float
    high: float
    interval: str = ""


class Strip(NamedTuple):
    """A line of marks on which further right is better."""

    title: str
    marks: tuple[Mark, ...]
    end: str
    # from where on nothing can be better; None where nothing holds so strictly
    beyond: float | None = None

    @property
    def alt(self) -> str:
        """What is seen, from left to right."""
        told = ", ".join(f"{one.words} {one.value}" for one in self.marks)
        return f"{self.title}, further right is better: {told}"


class _Line(NamedTuple):
    """From the worst value that is shown to the best that there is."""

    worst: float
    best: float
    name: str
    unit: str

    def at(self, value: float) -> float:
        part = (value - self.worst) / ((self.best - self.worst) or 1.0)
        return round(MARGIN + (100 - 2 * MARGIN) * min(max(part, 0.0), 1.0), 2)

    def text(self, value: float) -> str:
        return f"{said(self.name, value)} {shown_unit(self.unit)}".rstrip()

    def mark(self, kind: str, words: str, value: float | Interval) -> Mark:
        if not isinstance(value, Interval):
            at = self.at(value)
            return Mark(kind, words, self.text(value), at, at, at)
        low, high = sorted((self.at(value.low), self.at(value.high)))
        interval = f"{said(self.name, value.low)} to {said(self.name, value.high)}"
        return Mark(kind, words, self.text(value.value), self.at(value.value), low, high, interval)


def strips(report: Report) -> tuple[Strip, ...]:
    """One for each score, then one for each class that the best observer was asked about."""
    found = [_of_score(one, report.baselines) for one in report.scores]
    found += [_of_bound(one) for one in report.bounds]
    return tuple(found[:MOST_STRIPS])


def _of_score(score: Score, baselines: tuple[Baseline, ...]) -> Strip:
    simpler = [(one, beside) for one in baselines for beside in one.scores if beside.name == score.name]
    name, _, of = score.name.partition(".")
    known = [score.value.value, score.value.low, score.value.high, score.chance]
    known += [beside.value.value for _, beside in simpler]
    line = _line(name, score, known)
    marks = [line.mark("chance", "chance" if score.better == "higher" else "a constant", score.chance)]
    marks += [
        line.mark(one.kind, BASELINES[one.kind], beside.value)
        for one, beside in simpler
        if not (one.kind == "constant" and abs(beside.value.value - score.chance) < 1e-9)
    ]
    marks.append(line.mark("model", "model", score.value))
    return Strip(f"{words_of(name)} {of}".rstrip(), _in_order(marks), _end(line))


def _of_bound(one: Bound) -> Strip:
    line = _Line(min(BLIND_AUC, one.model.low, one.ideal.low) - 0.02, 1.0, "auc", "1")
    marks = [
        line.mark("chance", "chance", BLIND_AUC),
        line.mark("model", "model", one.model),
        line.mark("ideal", "best possible", one.ideal),
    ]
    title = f"AUC of {one.name} against {one.against}"
    return Strip(title, _in_order(marks), _end(line), line.at(one.ideal.value) if one.holds else None)


def _line(name: str, score: Score, known: list[float]) -> _Line:
    """Scores end at 1, errors at 0; chance is always in sight."""
    if score.better == "lower":
        return _Line(1.05 * max(known), 0.0, name, score.unit)
    best = max(1.0, *known)
    return _Line(min(known) - 0.04 * (best - min(known)), best, name, score.unit)


def _end(line: _Line) -> str:
    return f", up to {line.best:g}" if line.best else ", up to no error at all"


def _in_order(marks: list[Mark]) -> tuple[Mark, ...]:
    return tuple(sorted(marks, key=lambda one: one.at))
