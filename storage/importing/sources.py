"""Which form a source has, and the source opened in it."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from schemas.errors import DataError
from schemas.imported import ImportOptions
from storage.foreign import FITS_SUFFIXES
from storage.importing.folders import class_folders, from_folders, visible
from storage.importing.groups import Source
from storage.importing.stacks import from_class_stacks, from_file, from_hdf5, from_npz
from storage.importing.tables import Table, read_table

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
TABLES = ("params.csv", "params.npy")
LABELS = "labels.npy"
FORMS = (
    "folders of .npy or FITS files, one for each class (below train, val and test if they are there);"
    " images.npy or images.fits with labels.npy and params.csv; one .npy stack for each class; .npz; .h5"
)


@contextlib.contextmanager
def open_source(path: Path, options: ImportOptions) -> Iterator[Source]:
    """The groups of a source. Its files stay open for as long as the context."""
    with ExitStack() as opened:
        yield _open(path, options, opened)


def _open(path: Path, options: ImportOptions, opened: ExitStack) -> Source:
    if path.is_dir():
        return _open_folder(path, options, opened)
    if not path.is_file():
        raise DataError(f"there is nothing at {path}", expected=FORMS)
    return _open_file(path, options, opened)


def _open_file(path: Path, options: ImportOptions, opened: ExitStack) -> Source:
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        return from_hdf5(path, options, opened)
    if suffix == ".npz":
        return from_npz(path, options, opened)
    if suffix in (".npy", *FITS_SUFFIXES):
        return from_file(path, options, _table(path.parent, options), _labels(path.parent, options), opened)
    raise DataError(f"{path} has no ending that is known", expected=FORMS)


def _open_folder(root: Path, options: ImportOptions, opened: ExitStack) -> Source:
    if class_folders(root):
        return from_folders(root, options, _table(root, options))
    files = [one for one in visible(root) if one.is_file()]
    whole = [one for one in files if one.stem == "images" or one.suffix.lower() in (".npz", *HDF5_SUFFIXES)]
    if len(whole) == 1:
        return _open_file(whole[0], options, opened)
    stacks = [one for one in files if one.suffix == ".npy" and one.name not in (*TABLES, LABELS)]
    if stacks and not whole:
        return from_class_stacks(root, stacks, options)
    cubes = [one for one in files if one.suffix.lower() in FITS_SUFFIXES]
    if len(cubes) == 1 and not whole:
        return _open_file(cubes[0], options, opened)
    found = ", ".join(one.name for one in files[:5]) or "no file"
    raise DataError(f"{root} has {found}: nothing that can be told to be images", expected=FORMS)


def _table(root: Path, options: ImportOptions) -> Table | None:
    if options.table is not None:
        return read_table(Path(options.table), options.columns)
    found = [root / name for name in TABLES if (root / name).is_file()]
    return read_table(found[0], options.columns) if found else None


def _labels(root: Path, options: ImportOptions) -> Path | None:
    if options.labels is not None:
        return Path(options.labels)
    return root / LABELS if (root / LABELS).is_file() else None
