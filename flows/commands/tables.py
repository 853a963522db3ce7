"""Tables that fit the terminal, or the 80 columns of a pipe: nothing is cut, and names stay in one piece."""

import re
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from flows.commands.app import out

Row = Sequence[str]
# Between two columns, one of it the box's own; and what the box has at both sides together.
GAP, EDGES = 2, 2
# What is not worth folding.
SHORT = 8
_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*(?:e[-+]?\d+)?|inf|nan)%?"
# A broken number reads as another one.
NUMERIC = re.compile(rf"{_NUMBER}(?: to {_NUMBER})?", re.IGNORECASE)


def lined_up(headings: Row, rows: Sequence[Row], named: int = 1, title: str | None = None) -> Table:
    """A table whose first `named` columns are names: what stands behind them folds first, but no number.

    Cells are taken literally; rich would swallow a unit in brackets as markup.
    """
    table = Table(
        title=None if title is None else Text(title),
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    columns = list(zip(headings, *rows, strict=True))
    widths = _kept_widths(columns, named)
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(Text(heading), width=width, no_wrap=False, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _kept_widths(columns: Sequence[Row], named: int) -> list[int | None]:
    """What columns take that do not give way; None for those that fold to the room that is left.

    Where numbers leave no room for whole names, names fold between their words; where a word is too long even
    for that, intervals fold between their ends.
    """
    wide = [max(map(cell_len, column)) for column in columns]
    # a name that takes more than half of the width leaves too little for the rest, and so does a heading
    half = out.width // 2
    kept = [
        width <= (half if place < named or _numeric(column) else SHORT)
        for place, (column, width) in enumerate(zip(columns, wide, strict=True))
    ]
    if _room(wide, kept) < 0:
        kept[0] = False
        if _room(wide, kept) + SHORT < _longest_word(columns[0]):
            wide = [
                _longest_word(column) if place >= named and _numeric(column) else width
                for place, (column, width) in enumerate(zip(columns, wide, strict=True))
            ]
    return [width if whole else None for width, whole in zip(wide, kept, strict=True)]


def _numeric(column: Row) -> bool:
    """Whether all that stands below the heading is numbers or intervals, or nothing."""
    return all(NUMERIC.fullmatch(cell) for cell in column[1:] if cell)


def _longest_word(column: Row) -> int:
    return max(cell_len(word) for cell in column for word in cell.split(" "))


def _room(wide: Sequence[int], kept: Sequence[bool]) -> int:
    """What is left where each column that folds takes but a little."""
    taken = (width if whole else min(width, SHORT) for width, whole in zip(wide, kept, strict=True))
    return out.width - EDGES - sum(taken) - GAP * (len(wide) - 1)


def facts() -> Table:
    """What is known of one thing, a row each: its name, and its value as rich's markup."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    return table


def in_blocks(headings: Row, rows: Sequence[Row], index: int = 1) -> Iterator[Table]:
    """A table of many columns as several, one below the other, each with the first `index` columns."""
    widths = _widths(headings, rows)
    block: list[int] = []
    for place in range(index, len(headings)):
        taken = EDGES + sum(widths[one] + GAP for one in (*range(index), *block))
        if block and taken + widths[place] > out.width:
            yield _columns(headings, rows, [*range(index), *block])
            block = []
        block.append(place)
    yield _columns(headings, rows, [*range(index), *block])


def _columns(headings: Row, rows: Sequence[Row], places: Sequence[int]) -> Table:
    return lined_up([headings[one] for one in places], [[row[one] for one in places] for row in rows])


def _widths(headings: Row, rows: Sequence[Row]) -> list[int]:
    """What each column takes where nothing folds."""
    return [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
