"""Tables that fit the terminal, or the 80 columns of a pipe: nothing is cut, and names stay in one piece."""

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


def lined_up(headings: Row, rows: Sequence[Row], named: int = 1, title: str | None = None) -> Table:
    """A table whose first `named` columns are names: what stands behind them folds first.

    Cells are taken literally; rich would swallow a unit in brackets as markup.
    """
    table = Table(
        title=None if title is None else Text(title),
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    for place, width in enumerate(_widths(headings, rows)):
        # a name that takes more than half of the width leaves too little for the rest
        whole = width <= (out.width // 2 if place < named else SHORT)
        table.add_column(Text(headings[place]), no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


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
