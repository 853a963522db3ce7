"""Numbers beside images: from a CSV file with a header, or from a structured .npy file."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from schemas.imported import COLUMN
from storage.files.array_file import mapped
from storage.files.unreadable import SHOWN_BYTES, not_a, reason
from storage.importing.faults import Fault, counted, named

HEADER = re.compile(r"\s*(?P<name>[^\[\]]+?)\s*(?:\[(?P<unit>[^\]]*)\])?\s*")
# columns that are no numbers of a sample
FILE_COLUMNS = ("file", "filename", "path", "name")
LABEL_COLUMNS = ("label", "class", "labels", "classes")
# what every imported store has
COPIES = "copies"
TAKEN = ("sample_id", "label", COPIES)


@dataclass(frozen=True)
class Named:
    """A column to be: its name, unit and where it stands."""

    name: str
    unit: str
    origin: str


@dataclass(frozen=True)
class Table:
    """Rows of numbers. `files` and `labels`, if there are any, say of which image and class each row is."""

    path: Path
    columns: tuple[Named, ...]
    values: NDArray[np.float64]
    files: tuple[str, ...] | None = None
    labels: NDArray[Any] | None = None
    faults: tuple[Fault, ...] = field(default=())

    def of_files(self, names: Sequence[str]) -> tuple[NDArray[np.float64], list[Fault]]:
        """The rows that belong to these files, NaN and a fault for each that has none."""
        rows = {one: row for row, one in enumerate(self.files or ())}
        found = np.full((len(names), len(self.columns)), np.nan)
        faults = []
        for position, name in enumerate(names):
            row = rows.get(name, rows.get(Path(name).name))
            if row is None:
                faults.append(Fault(name, f"{self.path.name} has no row for it"))
            else:
                found[position] = self.values[row]
        return found, faults

    def doubts(self, names: Sequence[str]) -> list[Fault]:
        """Files with more than one row, and rows that more than one file could have."""
        rows = Counter(self.files or ())
        twice = [name for name, count in rows.items() if count > 1]
        alike = Counter(Path(name).name for name in names if name not in rows)
        shared = [name for name, count in alike.items() if count > 1 and name in rows]
        own, path = self.path.name, "it must say their paths below the source"
        return [Fault(name, f"{own} has more than one row for it") for name in twice] + [
            Fault(name, f"{own} has a row for more than one file of this name: {path}") for name in shared
        ]

    def idle(self, names: Sequence[str]) -> list[str]:
        """Warnings: what is in the table of folders and not used."""
        known = {*names, *(Path(name).name for name in names)}
        rows = [one for one in self.files or () if one not in known]
        told = []
        if rows:
            told.append(
                f"{self.path.name}: {counted(len(rows), 'row')} of files that are not there: {named(rows)}"
            )
        if self.labels is not None:
            told.append(f"{self.path.name}: its labels are not used, the folders say the classes")
        return told


def read_table(path: Path, chosen: Sequence[str] = ()) -> Table:
    """A table by the ending of its file."""
    if path.suffix.lower() == ".npy":
        return structured(path, mapped(path), chosen)
    if path.suffix.lower() != ".csv":
        raise DataError(f"the table {path} is neither .csv nor .npy by its name")
    return _read_csv(path, chosen)


def structured(path: Path, array: NDArray[Any], chosen: Sequence[str] = ()) -> Table:
    """The fields of a structured array."""
    names = array.dtype.names
    if names is None or array.ndim != 1:
        raise DataError(
            f"{path} holds {array.dtype} of shape {array.shape}",
            expected="a structured array with named fields, one row per image",
        )
    label = next((name for name in names if name.lower() in LABEL_COLUMNS), None)
    kept = [name for name in names if name != label and (not chosen or _split(name)[0] in chosen)]
    strange = [f"{name} {array.dtype[name]}" for name in kept if array.dtype[name].kind not in "fiub"]
    if strange:
        raise DataError(
            f"{path.name} has fields that are no columns: {', '.join(strange)}",
            expected="one number in each field, and labels in a field `label` or `class`",
            advice="leave them out, or choose others with --columns",
        )
    values = [np.asarray(array[name], dtype=np.float64) for name in kept]
    return Table(
        path,
        tuple(Named(*_split(name), path.name) for name in kept),
        np.stack(values, axis=1) if values else np.empty((len(array), 0)),
        labels=None if label is None else np.asarray(array[label]),
    )


def _lines_of_csv(path: Path) -> list[list[str]]:
    """Header and rows; empty lines are none."""
    try:
        with path.open("rb") as file:
            begins = file.read(SHOWN_BYTES)
        if not begins:
            raise not_a("CSV table", begins)
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                return [row for row in csv.reader(file) if row] or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            raise not_a("CSV table in UTF-8", begins) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"the table {path} cannot be read: {reason(error)}",
            expected="a header of names and a line of numbers for each image, with commas",
            advice=getattr(error, "advice", "") or "mend the path, or make the file again",
        ) from error


def _read_csv(path: Path, chosen: Sequence[str]) -> Table:
    header, *rows = _lines_of_csv(path)
    names = [_split(name)[0] for name in header]
    faults = _ragged(path, rows, len(header))
    rows = [row for row in rows if len(row) == len(header)]
    key = next((at for at, name in enumerate(names) if name.lower() in FILE_COLUMNS), None)
    label = next((at for at, name in enumerate(names) if name.lower() in LABEL_COLUMNS), None)
    kept = [at for at, name in enumerate(names) if at not in (key, label) and (not chosen or name in chosen)]
    values = np.full((len(rows), len(kept)), np.nan)
    for column, at in enumerate(kept):
        for number, row in enumerate(rows):
            place = f"{names[at]} in row {number + 1} of {path.name}"
            values[number, column] = _number(row[at], place, faults)
    return Table(
        path,
        tuple(Named(*_split(header[at]), path.name) for at in kept),
        values,
        None if key is None else tuple(row[key].strip() for row in rows),
        None if label is None else _labels(path, [row[label].strip() for row in rows], faults),
        tuple(faults),
    )


def _ragged(path: Path, rows: Sequence[Sequence[str]], cells: int) -> list[Fault]:
    lines = [str(at) for at, row in enumerate(rows, start=2) if len(row) != cells]
    told = f"{counted(len(lines), 'row')} of other than {counted(cells, 'cell')} (line {named(lines)})"
    return [Fault(path.name, told)] if lines else []


def _labels(path: Path, words: list[str], faults: list[Fault]) -> NDArray[Any]:
    """Words, or whole numbers if all are, also where a program wrote them as `1.0`."""
    faults += [
        Fault(f"row {row + 1} of {path.name}", "no label in it", noun="row")
        for row, word in enumerate(words)
        if not word
    ]
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return np.array(words)
    whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()
    return numbers.astype(np.int64) if whole else np.array(words)


def _number(text: str, place: str, faults: list[Fault]) -> float:
    """An empty cell is NaN: the column does not apply."""
    if not text.strip():
        return float("nan")
    try:
        return float(text)
    except ValueError:
        faults.append(Fault(place, f"{text!r} is no number", "is no number", "cell"))
        return float("nan")


def _split(header: str) -> tuple[str, str]:
    found = HEADER.fullmatch(header)
    return (found["name"], (found["unit"] or "").strip() or "1") if found else (header, "1")


def name_faults(columns: Sequence[Named]) -> list[Fault]:
    """Names that a column cannot have, or that stand twice."""
    names = [one.name for one in columns]
    allowed = f"letters, digits and _, but not {', '.join(TAKEN)}"
    faults = [
        Fault(one.origin, f"{one.name!r} cannot name a column: {allowed}", "names no column", "name")
        for one in columns
        if not re.fullmatch(COLUMN, one.name) or one.name in TAKEN
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    return faults + [Fault(name, "more than one column has this name", noun="name") for name in twice]
