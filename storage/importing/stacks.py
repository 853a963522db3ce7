"""Images stacked in arrays: .npy, .npz, HDF5, FITS cubes. Only labels and numbers are loaded whole."""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from schemas.imported import ImportOptions
from storage.foreign import FITS_SUFFIXES, open_cube
from storage.importing.groups import Group, Source, class_name, groups_of_stack, in_order, labels_of_classes
from storage.importing.images import StackedImages
from storage.importing.tables import Named, Table, structured

LABEL_NAMES = ("label", "labels", "class", "classes", "target", "targets", "y")
# bytes of decompressed chunks that h5py keeps, since rows are in another order than the file
CHUNK_CACHE_BYTES = 256 << 20
Stack = Any


def mapped(path: Path) -> Stack:
    """An array in a .npy file, not read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array: {error}") from error


def from_file(
    path: Path, options: ImportOptions, table: Table | None, labels: Path | None, opened: ExitStack
) -> Source:
    """A .npy stack or a FITS cube, with labels and a table in files of their own."""
    is_fits = path.suffix.lower() in FITS_SUFFIXES
    try:
        stack = open_cube(path, opened) if is_fits else mapped(path)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(stack.shape) < 3:
        raise DataError(
            f"{path.name} has shape {stack.shape}", expected="(images, y, x) or (images, channels, y, x)"
        )
    known = np.asarray(mapped(labels)) if labels else table.labels if table else None
    groups = groups_of_stack(path.name, stack, stack.shape[0], known, table, options.class_order)
    files = [path, *([labels] if labels else []), *([table.path] if table else [])]
    return Source(
        path.parent,
        "fits_cube" if is_fits else "npy_stacks",
        groups,
        table.columns if table else (),
        tuple(files),
        table.faults if table else (),
    )


def from_class_stacks(root: Path, paths: Sequence[Path], options: ImportOptions) -> Source:
    """One .npy stack for each class, named after it."""
    stacks = {class_name(path.stem): (path, mapped(path)) for path in paths}
    if len(stacks) < len(paths):
        raise DataError(f"two stacks in {root} come down to the same class name")
    flat = [f"{path.name}: shape {stack.shape}" for path, stack in stacks.values() if stack.ndim < 3]
    if flat:
        raise DataError(
            "; ".join(flat), expected="(images, y, x) or (images, channels, y, x)", where=str(root)
        )
    empty = tuple(f"{path.name}: no image in it" for path, stack in stacks.values() if not len(stack))
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
    """Members are unpacked to a temporary folder and mapped there: a zip file cannot be."""
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="lensmill-npz-")))
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for number, member in enumerate(archive.infolist()):
                into = folder / f"{number}.npy"
                with archive.open(member) as packed, into.open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
                arrays[member.filename.removesuffix(".npy")] = mapped(into)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return _from_arrays(path, arrays, options)


def from_hdf5(path: Path, options: ImportOptions, opened: ExitStack) -> Source:
    """Data sets of an HDF5 file, wherever in it."""
    import h5py

    arrays: dict[str, Any] = {}

    def keep(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset) and found.shape is not None:
            text = h5py.check_string_dtype(found.dtype) is not None
            arrays[name] = found.asstr()[:].astype(str) if text and found.ndim == 1 else found

    try:
        file = opened.enter_context(h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES))
        file.visititems(keep)
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error
    source = _from_arrays(path, arrays, options)
    return Source(source.root, "hdf5", source.groups, source.columns, source.files, source.faults)


def _from_arrays(path: Path, arrays: Mapping[str, Stack], options: ImportOptions) -> Source:
    images = _images_key(path, arrays, options.images)
    count = arrays[images].shape[0]
    labels = _labels_key(path, arrays, count, options.labels, (images, *options.columns))
    asked = [_known(path, arrays, key) for key in options.columns]
    free = [key for key, one in arrays.items() if one.shape == (count,) and _is_float(one)]
    keys = asked or [key for key in free if key not in (images, labels)]
    table = _table(path, {key: arrays[key] for key in keys}, count)
    known = None if labels is None else np.asarray(arrays[labels][:])
    groups = groups_of_stack(
        f"{path.name}:{images}", arrays[images], count, known, table, options.class_order
    )
    return Source(path.parent, "npz", groups, table.columns, (path,))


def _is_float(array: Stack) -> bool:
    return bool(array.dtype.kind == "f")


def _images_key(path: Path, arrays: Mapping[str, Stack], asked: str | None) -> str:
    if asked is not None:
        return _known(path, arrays, asked)
    found = [key for key, one in arrays.items() if len(one.shape) in (3, 4) and one.dtype.kind in "fiu"]
    if len(found) != 1:
        raise DataError(
            f"{path.name} has {len(found)} arrays that may be images ({', '.join(found)})",
            expected="one array (images, y, x) or (images, channels, y, x)",
            advice=f"name it with --images; the file has {_listed(arrays)}",
        )
    return found[0]


def _labels_key(
    path: Path, arrays: Mapping[str, Stack], count: int, asked: str | None, taken: Sequence[str]
) -> str | None:
    if asked is not None:
        return _known(path, arrays, asked)
    fitting = [
        key
        for key, one in arrays.items()
        if one.shape == (count,) and one.dtype.kind in "iubSU" and key not in taken
    ]
    found = [key for key in fitting if key.rsplit("/", 1)[-1].lower() in LABEL_NAMES] or fitting
    if len(found) > 1:
        raise DataError(
            f"{path.name} has {len(found)} arrays that may be labels: {', '.join(found)}",
            expected="one array of integers or names, one for each image",
            advice="name it with --labels",
        )
    return found[0] if found else None


def _known(path: Path, arrays: Mapping[str, Stack], key: str) -> str:
    if key.strip("/") not in arrays:
        raise DataError(f"{path.name} has no array {key!r}", expected=f"one of {_listed(arrays)}")
    return key.strip("/")


def _listed(arrays: Mapping[str, Stack]) -> str:
    return ", ".join(f"{key} {tuple(one.shape)}" for key, one in arrays.items()) or "no array"


def _table(path: Path, arrays: Mapping[str, Stack], count: int) -> Table:
    """Columns out of arrays: numbers, several in a row, or named fields."""
    names: list[Named] = []
    values: list[NDArray[np.float64]] = []
    for key, one in arrays.items():
        array, name = np.asarray(one[:]), key.rsplit("/", 1)[-1]
        if array.dtype.names:
            part = structured(path, array)
            names += part.columns
            values.append(part.values)
            continue
        if len(array) != count or array.ndim > 2 or array.dtype.kind not in "fiu":
            raise DataError(
                f"{key} of {path.name} is {array.dtype}{array.shape}",
                expected=f"numbers, one row for each of {count:,} images",
            )
        wide = array.reshape(count, -1).astype(np.float64)
        names += [
            Named(name if array.ndim == 1 else f"{name}_{k}", "1", path.name) for k in range(wide.shape[1])
        ]
        values.append(wide)
    return Table(path, tuple(names), np.concatenate(values, axis=1) if values else np.empty((count, 0)))
