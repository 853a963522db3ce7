"""Histograms as shapes in the coordinates of an SVG drawing."""

import math
from typing import NamedTuple

import numpy as np

from schemas.page import PageColumn
from storage.page.numbers import spell

WIDTH, HEIGHT = 320, 132
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 14, 22
FLOOR = HEIGHT - BOTTOM
MOST_TICKS = 5
# of the room of a value that its bars fill
FILLED = 0.8


class Tick(NamedTuple):
    """A mark on the axis."""

    x: float
    text: str
    anchor: str


class Plot(NamedTuple):
    """A drawing: an outline for each class that has values, and marks."""

    outlines: tuple[tuple[int, str], ...]
    ticks: tuple[Tick, ...]
    highest: str


def draw_plot(column: PageColumn) -> Plot:
    """Each class by the share of its samples in each bin, so that classes of any size can be compared."""
    totals = [sum(one) for one in column.counts]
    shares = [
        [count / total for count in one] for one, total in zip(column.counts, totals, strict=True) if total
    ]
    present = [position for position, total in enumerate(totals) if total]
    if not present:
        return Plot((), (), "")
    highest = max(max(one) for one in shares)
    if column.scale == "values":
        drawn = [
            (position, _bars(one, highest, place, len(present)))
            for place, (position, one) in enumerate(zip(present, shares, strict=True))
        ]
    else:
        across = [_place(column, edge) for edge in column.edges]
        drawn = [
            (position, _steps(across, one, highest)) for position, one in zip(present, shares, strict=True)
        ]
    return Plot(tuple(drawn), _ticks(column), f"{spell(100 * highest, 2)}%")


def _steps(across: list[float], shares: list[float], highest: float) -> str:
    path = [f"M{across[0]:.1f} {FLOOR}"]
    for left, right, share in zip(across, across[1:], shares, strict=False):
        top = _height(share, highest)
        path.append(f"L{left:.1f} {top:.1f}L{right:.1f} {top:.1f}")
    return "".join([*path, f"L{across[-1]:.1f} {FLOOR}"])


def _bars(shares: list[float], highest: float, place: int, of: int) -> str:
    """The bars of one class, beside those of the others."""
    room = (WIDTH - LEFT - RIGHT) / len(shares)
    width = min(room * FILLED / of, 26.0)
    path = []
    for k, share in enumerate(shares):
        left = LEFT + (k + 0.5) * room + (place - of / 2) * width
        top = _height(share, highest)
        path.append(f"M{left:.1f} {FLOOR}V{top:.1f}H{left + width * 0.9:.1f}V{FLOOR}Z")
    return "".join(path)


def _height(share: float, highest: float) -> float:
    return FLOOR - (FLOOR - TOP) * share / highest


def _place(column: PageColumn, value: float) -> float:
    """Where a value is on the axis."""
    low, high = column.edges[0], column.edges[-1]
    if column.scale == "log":
        value, low, high = math.log(value), math.log(low), math.log(high)
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)


def _ticks(column: PageColumn) -> tuple[Tick, ...]:
    if column.scale == "values":
        room = (WIDTH - LEFT - RIGHT) / len(column.edges)
        step = math.ceil(len(column.edges) / (MOST_TICKS + 1))
        shown = list(enumerate(column.edges))[::step]
        return tuple(Tick(LEFT + (k + 0.5) * room, spell(value, 4), "middle") for k, value in shown)
    low, high = column.edges[0], column.edges[-1]
    values = decades(low, high) if column.scale == "log" else round_numbers(low, high)
    # neighbours must not read the same
    digits = 3 + max(0, math.ceil(math.log10(max(map(abs, (low, high))) / (high - low))))
    return tuple(_tick(_place(column, value), spell(value, digits)) for value in values)


def _tick(x: float, text: str) -> Tick:
    """Words at the ends stay inside."""
    reach = 3.2 * len(text)
    anchor = "start" if x - reach < 0 else "end" if x + reach > WIDTH else "middle"
    return Tick(x, text, anchor)


def round_numbers(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, three to five of them."""
    rough = (high - low) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten, or steps between them where there are few."""
    reach = math.log10(high / low)
    steps = ((3, (1,)), (1.5, (1, 3)), (0.9, (1, 2, 5)), (0, (1, 2, 3, 4, 6, 8)))
    factors = next(factors for least, factors in steps if reach >= least)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**power for power in powers for factor in factors]
    found = [value for value in found if low <= value <= high]
    step = math.ceil(len(found) / (MOST_TICKS + 1))
    return [float(np.format_float_scientific(value, 2)) for value in found[::step]]
