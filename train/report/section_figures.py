"""Drawings of what needs only the numbers of a report, as shapes of an SVG that follow light and dark."""

import math
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import NamedTuple

from schemas.metrics import AnomalyMetrics, ClassificationMetrics, RegressionMetrics
from schemas.report import Bin, Dependence, Report
from storage.page.numbers import shown_unit, spell
from storage.page.plots import decades, round_numbers

WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 24
FLOOR = HEIGHT - BOTTOM
# What is drawn keeps so far from the axes: points at their ends would cover numbers.
INSET = 10
# of a number left of the axis; longer ones would be cut off
MOST_LETTERS = 7
# Beyond this ratio of its ends an axis is logarithmic.
WIDE = 30.0
# A direction has no ratio, however near to zero its smallest value is.
ANGLES = ("rad", "deg")
# between the points of two classes that have the same bins
BESIDE = 5.0
# A trend that comes about so often without one is none.
CHANCE = 0.05
# classes have one of so many colours
COLOURS = 8
Place = Callable[[float], float]


class Shape(NamedTuple):
    """An element with its look, its places and what is written in it."""

    tag: str
    look: str
    places: dict[str, float | str]
    text: str = ""


class Drawing(NamedTuple):
    """A picture with what is seen in it."""

    title: str
    unit: str
    alt: str
    shapes: tuple[Shape, ...]
    legend: tuple[tuple[str, str], ...]
    note: str = ""
    width: float = WIDTH
    height: float = HEIGHT


class _Axes(NamedTuple):
    """Where values are in the drawing."""

    across: Place
    up: Place
    shapes: tuple[Shape, ...]
    note: str


def draw_dependences(report: Report) -> tuple[Drawing, ...]:
    """A drawing for each column and score, the classes in their colours."""
    colours, units = _colours(report), _units(report)
    filled = [one for one in report.dependences if one.bins]
    order = list(dict.fromkeys(_subject(one) for one in filled))
    ranked = sorted(filled, key=lambda one: order.index(_subject(one)))
    return tuple(_dependence(list(group), colours, units) for _, group in groupby(ranked, key=_subject))


def _subject(one: Dependence) -> tuple[str, str]:
    return one.column, one.score


def _colours(report: Report) -> dict[str | None, str]:
    """The same class in the same colour everywhere."""
    metrics, names = report.metrics, list[str]()
    if isinstance(metrics, ClassificationMetrics):
        names = list(metrics.auc)
    elif isinstance(metrics, AnomalyMetrics):
        names = list(metrics.score)
    return {name: f"k{at % COLOURS}" for at, name in enumerate(names)}


def _units(report: Report) -> dict[str, str]:
    """Of scores that have one: errors are in the unit that is learned."""
    metrics = report.metrics
    targets = metrics.targets if isinstance(metrics, RegressionMetrics) else ()
    return {f"MAE of {one.target}": shown_unit(one.unit) for one in targets}


def _dependence(filled: list[Dependence], colours: dict[str | None, str], units: dict[str, str]) -> Drawing:
    first = filled[0]
    bins = [part for one in filled for part in one.bins]
    ideals = [value for one in filled for value in one.ideal if value is not None]
    axes = _axes(
        [part.low for part in bins] + [part.high for part in bins],
        [value for part in bins for value in (part.score.low, part.score.high)] + ideals,
        angle=first.unit in ANGLES,
    )
    shapes, legend = list(axes.shapes), []
    for at, one in enumerate(filled):
        look = colours.get(one.class_name, "k7" if one.class_name else "whole")
        aside = (at - (len(filled) - 1) / 2) * BESIDE
        shapes += [*_ideal(one, look, axes), *(s for part in one.bins for s in _bin(part, look, axes, aside))]
        legend.append((look, one.class_name or "all"))
    if ideals:
        legend.append(("ideal", "best possible"))
    return Drawing(
        title=first.column,
        unit=shown_unit(first.unit),
        alt=f"{first.score} by {first.column}: {'; '.join(_told(one) for one in filled)}",
        shapes=tuple(shapes),
        legend=tuple(legend) if len(legend) > 1 or first.class_name else (),
        note=_note(filled, units.get(first.score, ""), axes.note),
    )


def _note(filled: list[Dependence], unit: str, axis: str) -> str:
    chances = [one.p_value for one in filled]
    by_chance = all(chance is not None and chance > CHANCE for chance in chances)
    score = f"{filled[0].score} in {unit}" if unit else filled[0].score
    told = (score, axis, f"{filled[0].better} is better", "no trend beyond chance" if by_chance else "")
    return "; ".join(one for one in told if one)


def _told(one: Dependence) -> str:
    """The first and the last bin say which way it goes."""
    ends = [one.bins[0], one.bins[-1]]
    said = " and ".join(
        f"{spell(part.score.value)} at {spell(part.low)} to {spell(part.high)}" for part in ends
    )
    return f"{one.class_name or 'all classes'} {said}"


def _bin(part: Bin, look: str, axes: _Axes, aside: float) -> Iterable[Shape]:
    left, right = axes.across(part.low), axes.across(part.high)
    middle, height = (left + right) / 2 + aside, axes.up(part.score.value)
    yield _line(f"level {look}", left, right, height, height)
    yield _line(f"spread {look}", middle, middle, axes.up(part.score.low), axes.up(part.score.high))
    yield Shape("circle", f"point {look}", {"cx": _short(middle), "cy": _short(height), "r": 3.5})


def _ideal(one: Dependence, look: str, axes: _Axes) -> Iterable[Shape]:
    for part, value in zip(one.bins, one.ideal, strict=False):
        if value is not None:
            height = axes.up(value)
            yield _line(f"best {look}", axes.across(part.low), axes.across(part.high), height, height)


# -- axes


def _axes(xs: list[float], ys: list[float], angle: bool = False) -> _Axes:
    """Both axes with round numbers; logarithmic across where values span much and are no angle."""
    wide = not angle and min(xs) > 0 and max(xs) > WIDE * min(xs)
    x, x_ticks = _scale(xs, LEFT + INSET, WIDTH - RIGHT - INSET, logarithmic=wide)
    y, y_ticks = _scale(_padded(ys), FLOOR - INSET, TOP)
    shapes = [_line("axis", LEFT, WIDTH - RIGHT, FLOOR, FLOOR)]
    texts, note = _heights(y_ticks)
    for value, text in zip(y_ticks, texts, strict=True):
        shapes.append(_line("top", LEFT, WIDTH - RIGHT, y(value), y(value)))
        shapes.append(_text(LEFT - 5, y(value) + 4, text, "end"))
    x_ticks = _apart(x_ticks)
    for value, text in zip(x_ticks, _told_apart(x_ticks), strict=True):
        shapes.append(_line("axis", x(value), x(value), FLOOR, FLOOR + 4))
        shapes.append(_text(x(value), FLOOR + 15, text, _anchor(x(value))))
    return _Axes(x, y, tuple(shapes), note)


def _told_apart(ticks: list[float]) -> list[str]:
    """Numbers with as many digits as it takes for no two to read the same."""
    spelt = ([spell(one, digits) for one in ticks] for digits in range(3, 16))
    return next((texts for texts in spelt if len(set(texts)) == len(texts)), list(map(str, ticks)))


def _heights(ticks: list[float]) -> tuple[list[str], str]:
    """The same; where that leaves no room, how far they are from the last one, and that it is so in words."""
    texts = _told_apart(ticks)
    if max(map(len, texts), default=0) <= MOST_LETTERS:
        return texts, ""
    power = 10.0 ** math.floor(math.log10(ticks[1] - ticks[0]))
    away = [round((one - ticks[-1]) / power) + 0.0 for one in ticks]
    return [spell(one) for one in away], f"heights as difference from {texts[-1]}, in {spell(power)}"


def _scale(
    values: list[float], start: float, end: float, logarithmic: bool = False
) -> tuple[Place, list[float]]:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low or 1) / 10, high + abs(high or 1) / 10
    shown = math.log if logarithmic else float
    first, last = shown(low), shown(high)

    def place(value: float) -> float:
        return start + (end - start) * (shown(value) - first) / (last - first)

    return place, decades(low, high) if logarithmic else round_numbers(low, high)


def _padded(values: list[float]) -> list[float]:
    """A little more than what is drawn, but no share above 1 and no error below 0."""
    low, high = min(values), max(values)
    room = 0.08 * ((high - low) or abs(high) or 1.0)
    top = min(high + room, 1.0) if high <= 1 else high + room
    return [max(low - room, 0.0) if low >= 0 else low - room, top]


def _apart(ticks: list[float]) -> list[float]:
    """Every second of many: long numbers would touch."""
    return ticks[::2] if len(ticks) > 5 else ticks


def _anchor(x: float) -> str:
    return "end" if x > WIDTH - RIGHT - 12 else "middle"


def _line(look: str, x1: float, x2: float, y1: float, y2: float) -> Shape:
    return Shape("line", look, {"x1": _short(x1), "x2": _short(x2), "y1": _short(y1), "y2": _short(y2)})


def _text(x: float, y: float, text: str, anchor: str) -> Shape:
    return Shape("text", "", {"x": _short(x), "y": _short(y), "text-anchor": anchor}, text)


def _short(value: float) -> float:
    return round(value, 1)
