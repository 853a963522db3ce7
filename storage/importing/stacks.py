"""Images stacked in arrays: .npy, .npz, HDF5, FITS cubes. Only labels and numbers are loaded whole."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from schemas.imported import Form, ImportOptions
from storage.files.array_file import mapped
from storage.files.unreadable import UnreadableError
from storage.foreign import FITS_SUFFIXES, ending, open_cube
from storage.importing.archives import hdf5_arrays, npz_arrays, refusal, whole
from storage.importing.faults import Fault
from storage.importing.groups import (
    Group,
    Labels,
    Source,
    class_name,
    groups_of_stack,
    in_order,
    labels_of_classes,
    length_fault,
)
from storage.importing.images import StackedImages
from storage.importing.roles import roles_of, told_columns, told_unused
from storage.importing.tables import Named, Table, structured

SHAPES = "(images, y, x) or (images, channels, y, x)"
Stack = Any


def from_file(
    path: Path, options: ImportOptions, table: Table | None, labels: Path | None, opened: ExitStack
) -> Source:
    """A .npy stack or a FITS cube, with labels and a table in files of their own."""
    is_fits = ending(path) in FITS_SUFFIXES
    try:
        stack = open_cube(path, opened) if is_fits else mapped(path)
    except (OSError, UnreadableError) as error:
        raise refusal(path, error, f"images of shape {SHAPES}") from error
    if len(stack.shape) < 3:
        raise DataError(f"{path.name} has shape {stack.shape}", expected=SHAPES)
    known = None
    if labels is not None:
        known = Labels(labels.name, np.asarray(mapped(labels)))
    elif table is not None and table.labels is not None:
        known = Labels(f"the label column of {table.path.name}", table.labels)
    groups = groups_of_stack(path.name, stack, stack.shape[0], known, table, options.class_order)
    files = [path, *([labels] if labels else []), *([table.path] if table else [])]
    return Source(
        path.parent,
        "fits_cube" if is_fits else "npy_stacks",
        groups,
        table.columns if table else (),
        tuple(files),
        table.faults if table else (),
        told_columns([one.name for one in table.columns]) if table and known is None else (),
    )


def from_class_stacks(root: Path, paths: Sequence[Path], options: ImportOptions) -> Source:
    """One .npy stack for each class, named after it."""
    stacks = {class_name(path.stem): (path, mapped(path)) for path in paths}
    if len(stacks) < len(paths):
        raise DataError(f"two stacks in {root} come down to the same class name")
    flat = [f"{path.name}: shape {stack.shape}" for path, stack in stacks.values() if stack.ndim < 3]
    if flat:
        raise DataError(
            "; ".join(flat),
            expected=f"a stack for each class, {SHAPES}",
            where=str(root),
            advice="if it is one stack with its labels, call them images.npy and labels.npy",
        )
    empty = tuple(Fault(path.name, "no image in it") for path, stack in stacks.values() if not len(stack))
    labels = labels_of_classes(list(stacks), options.class_order)
    groups = [
        Group(
            name,
            labels[name],
            None,
            StackedImages(path.name, stack, np.arange(len(stack))),
            np.empty((len(stack), 0)),
        )
        for name, (path, stack) in stacks.items()
        if len(stack)
    ]
    return Source(root, "npy_stacks", in_order(groups), (), tuple(paths), empty)


def from_npz(path: Path, options: ImportOptions, opened: ExitStack) -> Source:
    """Arrays of a .npz file."""
    return _from_arrays(path, "npz", npz_arrays(path, opened), options)


def from_hdf5(path: Path, options: ImportOptions, opened: ExitStack) -> Source:
    """Data sets of an HDF5 file."""
    return _from_arrays(path, "hdf5", hdf5_arrays(path, opened), options)


def _from_arrays(path: Path, form: Form, arrays: Mapping[str, Stack], options: ImportOptions) -> Source:
    roles = roles_of(path, arrays, options)
    images = arrays[roles.images]
    count = images.shape[0]
    table = _table(path, roles.columns, arrays, roles.images, count)
    labels = None if roles.labels is None else Labels(roles.labels, whole(path, roles.labels, arrays))
    groups = groups_of_stack(f"{path.name}:{roles.images}", images, count, labels, table, options.class_order)
    warnings = told_unused(path, arrays, roles.unused)
    warnings += told_columns(roles.columns) if labels is None else ()
    return Source(path.parent, form, groups, table.columns, (path,), warnings=warnings)


def _table(path: Path, keys: Sequence[str], arrays: Mapping[str, Stack], images: str, count: int) -> Table:
    """Columns out of arrays: numbers, several in a row, or named fields."""
    names: list[Named] = []
    values: list[NDArray[np.float64]] = []
    faults: list[str] = []
    for key in keys:
        one = arrays[key]
        fault = length_fault(key, one.shape, images, count)
        if fault is None and one.dtype.names is None and (len(one.shape) > 2 or one.dtype.kind not in "fiu"):
            fault = f"{key} is {one.dtype}{one.shape}, not a number or a row of them for each image"
        if fault:
            faults.append(fault)
            continue
        array, name = whole(path, key, arrays), key.rsplit("/", 1)[-1]
        if array.dtype.names:
            part = structured(path, array)
            names += part.columns
            values.append(part.values)
            continue
        wide = array.reshape(count, -1).astype(np.float64)
        names += [
            Named(name if array.ndim == 1 else f"{name}_{k}", "1", path.name) for k in range(wide.shape[1])
        ]
        values.append(wide)
    if faults:
        raise DataError(
            f"{path.name}: {'; '.join(faults)}",
            expected=f"numbers, one row for each of {count:,} images",
            advice="mend the file, or name others with --columns",
        )
    return Table(path, tuple(names), np.concatenate(values, axis=1) if values else np.empty((count, 0)))
