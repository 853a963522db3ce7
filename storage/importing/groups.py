"""What a source comes down to: groups of images of one class, each with its label, split and numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import CLASS_LABELS, SPLITS
from schemas.errors import DataError
from schemas.imported import Form
from storage.importing.faults import Fault, counted, lines_of
from storage.importing.images import Images, StackedImages
from storage.importing.tables import Named, Table

MOST_CLASSES = 100
# up to here floats are whole numbers without doubt; NaN is not below it
LARGEST = 2**53


@dataclass(frozen=True)
class Group:
    """Images of one class and split with a row of numbers each."""

    class_name: str
    label: int
    split: str | None
    images: Images
    params: NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """All groups in the order of sample numbers, and what can be said before an image is read."""

    root: Path
    form: Form
    groups: tuple[Group, ...]
    columns: tuple[Named, ...]
    files: tuple[Path, ...]
    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Samples of all groups."""
        return sum(len(group.images) for group in self.groups)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each sample."""
        return np.repeat([one.label for one in self.groups], [len(one.images) for one in self.groups])

    def name(self, sample: int) -> str:
        """What leads a person to a sample by its number."""
        for group in self.groups:
            if sample < len(group.images):
                return group.images.name(sample)
            sample -= len(group.images)
        raise IndexError(sample)


class Labels(NamedTuple):
    """What says the class of each image, and what it is called."""

    name: str
    values: NDArray[Any]


def class_name(text: str, noun: str = "class") -> str:
    """A name as recipes have them, of whatever a folder, a file or a label is called."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"{noun}_{plain}")[:64].rstrip("_")


def length_fault(name: str, shape: tuple[int, ...], stack: str, count: int) -> str | None:
    """What is wrong with an array that should have an entry for each image."""
    if not shape:
        return f"{name} is a single value, {stack} has {counted(count, 'image')}"
    if shape[0] != count:
        entries = counted(shape[0], "entry", "entries")
        return f"{name} has {entries}, {stack} has {counted(count, 'image')}"
    return None


def labels_of_classes(names: Sequence[str], order: Sequence[str]) -> dict[str, int]:
    """By the order that is asked for; else as in every data set of ours if all are known; else by name."""
    if order:
        if sorted(order) != sorted(names):
            raise DataError(
                f"--class-order has {', '.join(order)}",
                expected=f"each class of the source once: {', '.join(sorted(names))}",
            )
        return {name: label for label, name in enumerate(order)}
    if all(name in CLASS_LABELS for name in names):
        return {name: CLASS_LABELS[name] for name in names}
    return {name: label for label, name in enumerate(sorted(names))}


def in_order(groups: Sequence[Group]) -> tuple[Group, ...]:
    """By label, then by split: the order of sample numbers."""
    splits = [None, *SPLITS]
    return tuple(sorted(groups, key=lambda group: (group.label, splits.index(group.split))))


def groups_of_stack(
    stack: str,
    array: object,
    count: int,
    labels: Labels | None,
    table: Table | None,
    order: Sequence[str],
) -> tuple[Group, ...]:
    """The entries of one array, by their labels; without labels they are one class."""
    if not count:
        raise DataError(f"{stack} has no image in it", expected="one image or more")
    faults = _misfits(stack, count, labels, table)
    if faults:
        raise DataError(
            "; ".join(faults),
            expected="one label and one row for each image",
            advice="mend the file, or name another with --labels or --params; nothing was written",
        )
    params = table.values if table is not None else np.empty((count, 0))
    groups = []
    for name, label, positions in _classes(count, labels, order):
        groups.append(Group(name, label, None, StackedImages(stack, array, positions), params[positions]))
    return in_order(groups)


def _misfits(stack: str, count: int, labels: Labels | None, table: Table | None) -> list[str]:
    faults = []
    if labels is not None:
        shape = labels.values.shape
        fault = length_fault(labels.name, shape, stack, count)
        if fault is None and len(shape) > 1:
            fault = f"{labels.name} has shape {shape}, not one label for each image"
        faults += [fault] if fault else []
    if table is not None and len(table.values) != count:
        rows, images = counted(len(table.values), "row"), counted(count, "image")
        faults.append(f"{table.path.name} has {rows}, but {stack} has {images}")
        faults += lines_of(table.faults)
    return faults


def _classes(
    count: int, labels: Labels | None, order: Sequence[str]
) -> list[tuple[str, int, NDArray[np.int64]]]:
    if labels is None:
        if len(order) > 1:
            raise DataError(
                f"--class-order names {len(order)} classes, but no labels are with the images",
                expected="labels, or one name for the one class",
                advice="name the labels with --labels",
            )
        return [((order or ("images",))[0], 0, np.arange(count))]
    found = _whole_numbers(labels)
    values = np.unique(found)
    if len(values) > MOST_CLASSES:
        raise DataError(
            f"{labels.name} has {len(values):,} different values",
            expected=f"at most {MOST_CLASSES}, one for each class",
            advice="name the labels with --labels, and what is a column with --columns",
        )
    if values.dtype.kind in "iub":
        return _numbered_classes(found, values, order)
    names = [
        class_name(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
        for value in values.tolist()
    ]
    if len(set(names)) < len(names):
        raise DataError(f"two labels come down to the same class name: {', '.join(sorted(names))}")
    known = labels_of_classes(names, order)
    places = [np.flatnonzero(found == value) for value in values]
    return [(name, known[name], place) for name, place in zip(names, places, strict=True)]


def _whole_numbers(labels: Labels) -> NDArray[Any]:
    """Labels as they are, but floats as the integers that they stand for."""
    values = labels.values
    if values.dtype.kind in "iubSU":
        return values
    if values.dtype.kind == "f" and (np.abs(values) < LARGEST).all() and (values == np.round(values)).all():
        return values.astype(np.int64)
    raise DataError(
        f"{labels.name} holds {values.dtype}" + (" with fractions" if values.dtype.kind == "f" else ""),
        expected="integers or words, one for each image",
        advice="name the labels with --labels, and what is a column with --columns",
    )


def _numbered_classes(
    labels: NDArray[Any], values: NDArray[Any], order: Sequence[str]
) -> list[tuple[str, int, NDArray[np.int64]]]:
    """Numbers stay the labels that they are; an order names them."""
    numbers = [int(value) for value in values.tolist()]
    if numbers[0] < 0 or numbers[-1] > 999:
        raise DataError(f"labels go from {numbers[0]} to {numbers[-1]}", expected="0 to 999")
    if order and len(order) != len(numbers):
        raise DataError(
            f"--class-order names {len(order)} classes",
            expected=f"a name for each of the labels {', '.join(map(str, numbers))}",
        )
    names = list(order) or [f"class_{number}" for number in numbers]
    places = [np.flatnonzero(labels == value) for value in values]
    return list(zip(names, numbers, places, strict=True))
