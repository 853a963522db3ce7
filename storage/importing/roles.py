"""Which array of a file is what: images, labels, columns, or nothing that anybody asked for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from schemas.errors import DataError
from schemas.imported import ImportOptions
from storage.importing.faults import counted
from storage.importing.groups import length_fault

SURE_LABELS = ("label", "labels", "class", "classes")
LABEL_NAMES = (*SURE_LABELS, "target", "targets", "y")
COLUMN_NAMES = ("params", "param", "parameters", "parameter", "columns", "column", "catalogue", "catalog")
# words that say nothing of what an array is, as in `train_labels`
FILLERS = frozenset({"train", "val", "valid", "validation", "test", "all", "image", "images", "true"})
SHOWN = 8


class Roles(NamedTuple):
    """Keys of a file."""

    images: str
    labels: str | None
    columns: tuple[str, ...]
    unused: tuple[str, ...]


def roles_of(path: Path, arrays: Mapping[str, Any], options: ImportOptions) -> Roles:
    """What each array is. One that is meant for the images, but has another length, is refused."""
    images = _images_key(path, arrays, options.images)
    count = arrays[images].shape[0]
    asked = tuple(_known(path, arrays, key) for key in options.columns)
    labels = _labels_key(path, arrays, count, options.labels, (images, *asked))
    free = [key for key, one in arrays.items() if one.shape == (count,) and one.dtype.kind == "f"]
    columns = asked or tuple(key for key in free if key not in (images, labels))
    unused = tuple(key for key in arrays if key not in (images, labels, *columns))
    faults = list(
        _misfits({key: arrays[key] for key in unused}, images, arrays[images].shape, labels, options)
    )
    if faults:
        raise DataError(
            f"{path.name}: " + "; ".join(faults),
            expected="one entry for each image in labels and columns",
            where=str(path),
            advice="mend the file, or name what to use with --labels and --columns; nothing was written",
        )
    return Roles(images, labels, columns, unused)


def looks_like(key: str, names: Sequence[str]) -> bool:
    """Whether a key says no more than one of these names, as `data/y_train` says `y`."""
    words = [word for word in re.split(r"[^a-z]+", key.rsplit("/", 1)[-1].lower()) if word]
    said = [word for word in words if word not in FILLERS]
    return bool(said) and all(word in names for word in said)


def _misfits(
    unused: Mapping[str, Any], images: str, shape: tuple[int, ...], labels: str | None, options: ImportOptions
) -> Iterator[str]:
    """Arrays that nobody would leave out on purpose. What the options name is the choice of the user."""
    sure = options.labels is not None or (labels is not None and looks_like(labels, LABEL_NAMES))
    open_labels, open_columns = not sure, not options.columns
    guess = open_columns and options.labels is None
    for key, one in unused.items():
        named = (open_labels and looks_like(key, LABEL_NAMES)) or (
            open_columns and looks_like(key, COLUMN_NAMES)
        )
        fault = length_fault(key, one.shape, images, shape[0])
        if fault and (named or (guess and _nearly(one, shape))):
            yield fault
        elif not fault and open_labels and looks_like(key, SURE_LABELS):
            yield f"{key} is {one.dtype}{one.shape}, not one integer or word for each image"


def _nearly(array: Any, images: tuple[int, ...]) -> bool:
    """Almost as many entries as images, and not the length of one of their axes."""
    return (
        len(array.shape) == 1
        and array.dtype.kind in "fiubSU"
        and images[0] / 2 <= array.shape[0] <= 2 * images[0]
        and array.shape[0] not in images[1:]
    )


def told_columns(names: Sequence[str]) -> tuple[str, ...]:
    """A warning where no labels are known, but a column is called like some."""
    alike = [name for name in names if looks_like(name, LABEL_NAMES)]
    told = f"{' and '.join(alike)} became {counted(len(alike), 'column')}, not the classes of the images"
    return (f"{told} (--labels names integers or words)",) if alike else ()


def told_unused(path: Path, arrays: Mapping[str, Any], unused: Sequence[str]) -> tuple[str, ...]:
    """A warning that names what was left out."""
    if not unused:
        return ()
    told = listed({key: arrays[key] for key in unused})
    return (
        f"{path.name}: {counted(len(unused), 'array')} not used: {told}"
        " (--labels and --columns take what belongs to the images)",
    )


def _images_key(path: Path, arrays: Mapping[str, Any], asked: str | None) -> str:
    if asked is not None:
        key = _known(path, arrays, asked)
        if len(arrays[key].shape) not in (3, 4):
            raise DataError(
                f"{key} of {path.name} has shape {tuple(arrays[key].shape)}",
                expected="(images, y, x) or (images, channels, y, x)",
                advice=f"name another with --images; the file has {listed(arrays)}",
            )
        return key
    found = [key for key, one in arrays.items() if len(one.shape) in (3, 4) and one.dtype.kind in "fiu"]
    if len(found) != 1:
        names = f" ({', '.join(found)})" if found else ""
        raise DataError(
            f"{path.name} has {counted(len(found), 'array')} that may be images{names}",
            expected="one array of real numbers, (images, y, x) or (images, channels, y, x)",
            advice=f"name it with --images; the file has {listed(arrays)}",
        )
    return found[0]


def _labels_key(
    path: Path, arrays: Mapping[str, Any], count: int, asked: str | None, taken: Sequence[str]
) -> str | None:
    if asked is not None:
        return _known(path, arrays, asked)
    fitting = {key: one for key, one in arrays.items() if one.shape == (count,) and key not in taken}
    named = [key for key in fitting if looks_like(key, LABEL_NAMES)]
    found = [key for key in named if fitting[key].dtype.kind in "iubSU" or looks_like(key, SURE_LABELS)]
    found = found or [key for key, one in fitting.items() if one.dtype.kind in "iubSU"]
    if len(found) > 1:
        raise DataError(
            f"{path.name} has {len(found)} arrays that may be labels: {', '.join(found)}",
            expected="one array of integers or names, one for each image",
            advice="name it with --labels",
        )
    return found[0] if found else None


def _known(path: Path, arrays: Mapping[str, Any], key: str) -> str:
    if key.strip("/") not in arrays:
        raise DataError(f"{path.name} has no array {key!r}", expected=f"one of {listed(arrays)}")
    return key.strip("/")


def listed(arrays: Mapping[str, Any]) -> str:
    """Names and shapes of arrays, the first few if there are many."""
    told = [f"{key} {tuple(one.shape)}" for key, one in arrays.items()]
    more = f" and {len(told) - SHOWN:,} more" if len(told) > SHOWN else ""
    return (", ".join(told[:SHOWN]) or "no array") + more
