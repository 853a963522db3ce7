"""What a source comes down to: groups of images of one class, each with its label, split and numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import CLASS_LABELS, SPLITS
from schemas.errors import DataError
from schemas.imported import Form
from storage.importing.images import Images, StackedImages
from storage.importing.tables import Named, Table

MOST_CLASSES = 100


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
    faults: tuple[str, ...] = ()
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


def class_name(text: str) -> str:
    """A name as recipes have them, of whatever a folder or a label is called."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"class_{plain}")[:64].rstrip("_")


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
    labels: NDArray[np.generic] | None,
    table: Table | None,
    order: Sequence[str],
) -> tuple[Group, ...]:
    """The entries of one array, by their labels; without labels they are one class."""
    faults = []
    if labels is not None and labels.shape != (count,):
        faults.append(f"labels have shape {labels.shape}, but {stack} has {count:,} images")
    if table is not None and len(table.values) != count:
        faults.append(f"{table.path.name} has {len(table.values):,} rows, but {stack} has {count:,} images")
    if faults:
        raise DataError("; ".join(faults), expected="one label and one row for each image")
    params = table.values if table is not None else np.empty((count, 0))
    groups = []
    for name, label, positions in _classes(count, labels, order):
        groups.append(Group(name, label, None, StackedImages(stack, array, positions), params[positions]))
    return in_order(groups)


def _classes(
    count: int, labels: NDArray[np.generic] | None, order: Sequence[str]
) -> list[tuple[str, int, NDArray[np.int64]]]:
    if labels is None:
        (name,) = order or ("images",)
        return [(name, 0, np.arange(count))]
    values = np.unique(labels)
    if len(values) > MOST_CLASSES:
        raise DataError(
            f"the labels have {len(values):,} different values", expected=f"at most {MOST_CLASSES}"
        )
    if values.dtype.kind in "iub":
        return _numbered_classes(labels, values, order)
    names = [
        class_name(value.decode() if isinstance(value, bytes) else str(value)) for value in values.tolist()
    ]
    if len(set(names)) < len(names):
        raise DataError(f"two labels come down to the same class name: {', '.join(sorted(names))}")
    known = labels_of_classes(names, order)
    places = [np.flatnonzero(labels == value) for value in values]
    return [(name, known[name], place) for name, place in zip(names, places, strict=True)]


def _numbered_classes(
    labels: NDArray[np.generic], values: NDArray[np.generic], order: Sequence[str]
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
