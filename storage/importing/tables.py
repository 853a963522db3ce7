"""Numbers beside images: from a CSV file with a header, or from a structured .npy file."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from schemas.imported import COLUMN

HEADER = re.compile(r"\s*(?P<name>[^\[\]]+?)\s*(?:\[(?P<unit>[^\]]*)\])?\s*")
# columns that are no numbers of a sample
FILE_COLUMNS = ("file", "filename", "path", "name")
LABEL_COLUMNS = ("label", "class")


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
    faults: tuple[str, ...] = field(default=())

    def of_files(self, names: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
        """The rows that belong to these files, NaN and a fault for each that has none."""
        rows = {one: row for row, one in enumerate(self.files or ())}
        found = np.full((len(names), len(self.columns)), np.nan)
        faults = []
        for position, name in enumerate(names):
            row = rows.get(name, rows.get(Path(name).name))
            if row is None:
                faults.append(f"{name}: {self.path.name} has no row for it")
            else:
                found[position] = self.values[row]
        return found, faults


def read_table(path: Path, chosen: Sequence[str] = ()) -> Table:
    """A table by the ending of its file."""
    if path.suffix.lower() == ".npy":
        return structured(path, _loaded(path), chosen)
    if path.suffix.lower() != ".csv":
        raise DataError(f"the table {path} is neither .csv nor .npy by its name")
    return _read_csv(path, chosen)


def _loaded(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the table {path} cannot be read: {error}") from error


def structured(path: Path, array: NDArray[Any], chosen: Sequence[str] = ()) -> Table:
    """The fields of a structured array."""
    names = array.dtype.names
    if names is None or array.ndim != 1:
        raise DataError(
            f"{path} holds {array.dtype} of shape {array.shape}",
            expected="a structured array with named fields, one row per image",
        )
    label = next((name for name in LABEL_COLUMNS if name in names), None)
    kept = [name for name in names if name != label and (not chosen or _split(name)[0] in chosen)]
    values = [np.asarray(array[name], dtype=np.float64) for name in kept]
    return Table(
        path,
        tuple(Named(*_split(name), path.name) for name in kept),
        np.stack(values, axis=1) if values else np.empty((len(array), 0)),
        labels=None if label is None else np.asarray(array[label]),
    )


def _read_csv(path: Path, chosen: Sequence[str]) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table {path} cannot be read: {error}") from error
    names = [_split(name)[0] for name in header]
    ragged = [str(at) for at, row in enumerate(rows, start=2) if len(row) != len(header)]
    faults = (
        [f"{path.name}: {len(ragged)} rows have not {len(header)} cells (line {ragged[0]})"] if ragged else []
    )
    rows = [row for row in rows if len(row) == len(header)]
    key = next((names.index(name) for name in FILE_COLUMNS if name in names), None)
    label = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
    kept = [at for at, name in enumerate(names) if at not in (key, label) and (not chosen or name in chosen)]
    values = np.full((len(rows), len(kept)), np.nan)
    for column, at in enumerate(kept):
        for number, row in enumerate(rows):
            values[number, column] = _number(row[at], f"{path.name}, row {number + 1}, {names[at]}", faults)
    return Table(
        path,
        tuple(Named(*_split(header[at]), path.name) for at in kept),
        values,
        None if key is None else tuple(row[key].strip() for row in rows),
        None if label is None else _labels([row[label].strip() for row in rows]),
        tuple(faults),
    )


def _labels(words: list[str]) -> NDArray[Any]:
    return np.array([int(word) for word in words] if all(word.isdigit() for word in words) else words)


def _number(text: str, where: str, faults: list[str]) -> float:
    """An empty cell is NaN: the column does not apply."""
    if not text.strip():
        return float("nan")
    try:
        return float(text)
    except ValueError:
        faults.append(f"{where}: {text!r} is no number")
        return float("nan")


def _split(header: str) -> tuple[str, str]:
    found = HEADER.fullmatch(header)
    return (found["name"], (found["unit"] or "").strip() or "1") if found else (header, "1")


def name_faults(columns: Sequence[Named]) -> list[str]:
    """Names that a column cannot have, or that stand twice."""
    names = [one.name for one in columns]
    faults = [
        f"{one.origin}: {one.name!r} is no name for a column (letters, digits and _)"
        for one in columns
        if not re.fullmatch(COLUMN, one.name) or one.name in ("sample_id", "label")
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    return faults + [f"{name}: more than one column has this name" for name in twice]
