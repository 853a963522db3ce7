"""What is wrong with a source: each fault by its place, equal ones together, in few lines."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# equal faults beyond so many share a line that names so many
NAMED = 3
MOST_LINES = 40


class Fault(NamedTuple):
    """One thing that is wrong at one place. `kind` says it without figures; equal kinds are told together."""

    place: str
    told: str
    kind: str = ""
    noun: str = "file"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def named(places: Sequence[str]) -> str:
    """The first few of many names."""
    more = f" and {len(places) - NAMED:,} more" if len(places) > NAMED else ""
    return ", ".join(places[:NAMED]) + more


def lines_of(faults: Iterable[Fault]) -> list[str]:
    """All faults in a bounded number of lines."""
    lines: list[str] = []
    left = 0
    for alike in _together(list(faults)):
        here = _lines(alike)
        if left or len(lines) + len(here) > MOST_LINES:
            left += len(alike)
        else:
            lines += here
    return [*lines, f"and {counted(left, 'other fault')}"] if left else lines


def _together(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Faults that read the same, if they are many; of the rest, those of the same kind."""
    same = Counter((one.noun, one.told) for one in faults)
    found: dict[tuple[str, str], list[Fault]] = {}
    for one in faults:
        many = same[one.noun, one.told] > NAMED
        found.setdefault((one.noun, one.told if many else one.kind or one.told), []).append(one)
    return list(found.values())


def _lines(alike: Sequence[Fault]) -> list[str]:
    first = alike[0]
    if len(alike) <= NAMED:
        return [f"{one.place}: {one.told}" for one in alike]
    same = all(one.told == first.told for one in alike)
    places = named([one.place for one in alike])
    return [f"{counted(len(alike), first.noun)}: {first.told if same else first.kind}: {places}"]
