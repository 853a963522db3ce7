"""Which form a source has, and the source opened in it."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from schemas.errors import DataError
from schemas.imported import ImportOptions
from storage.commit import BOOKS
from storage.foreign import FITS_SUFFIXES, ending, stem
from storage.importing.faults import counted, named
from storage.importing.folders import class_folders, from_folders, visible
from storage.importing.groups import Source
from storage.importing.roles import COLUMN_NAMES, LABEL_NAMES
from storage.importing.stacks import from_class_stacks, from_file, from_hdf5, from_npz
from storage.importing.tables import Table, read_table

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
TABLES = ("params.csv", "params.npy")
LABELS = "labels.npy"
OPTIONS = {"images": "--images", "labels": "--labels", "table": "--params"}
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
    meant = [one for one in _files_beside(path) if one.stem.lower() in (*LABEL_NAMES, *COLUMN_NAMES)]
    tables = [one for one in meant if one.suffix.lower() in (".npy", ".csv")]
    return _with_unused(_open_file(path, options, opened), tables)


def _open_file(path: Path, options: ImportOptions, opened: ExitStack) -> Source:
    suffix = ending(path)
    if suffix in (".npz", *HDF5_SUFFIXES):
        _refuse(options, ("table",), f"{path.name}: its columns are arrays in it, which --columns names")
        return (from_npz if suffix == ".npz" else from_hdf5)(path, options, opened)
    if suffix in (".npy", *FITS_SUFFIXES):
        _refuse(options, ("images",), f"{path.name}, which is one stack of images")
        found = _files_beside(path)
        return from_file(path, options, _table(found, options), _labels(path, found, options), opened)
    raise DataError(f"{path} has no ending that is known", expected=FORMS)


def _refuse(options: ImportOptions, useless: tuple[str, ...], where: str) -> None:
    """An option that would do nothing is a mistake."""
    given = [OPTIONS[name] for name in useless if getattr(options, name) is not None]
    if given:
        raise DataError(
            f"{' and '.join(given)} cannot be used with {where}",
            advice="leave it out, or give another SOURCE",
        )


def _open_folder(root: Path, options: ImportOptions, opened: ExitStack) -> Source:
    if (root / BOOKS).is_dir():
        raise DataError(
            f"{root} is a lensmill store already",
            expected=FORMS,
            advice="use it as it is; `lensmill convert` gives it another form",
        )
    if class_folders(root):
        _refuse(options, ("images", "labels"), f"{root}, whose folders are the classes")
        return from_folders(root, options, _table(visible(root), options))
    files = [one for one in visible(root) if one.is_file()]
    return _with_unused(_open_stacks(root, files, options, opened), files)


def _open_stacks(root: Path, files: list[Path], options: ImportOptions, opened: ExitStack) -> Source:
    whole = [one for one in files if stem(one) == "images" or one.suffix.lower() in (".npz", *HDF5_SUFFIXES)]
    if len(whole) == 1:
        return _open_file(whole[0], options, opened)
    stacks = [one for one in files if one.suffix == ".npy" and one.name not in (*TABLES, LABELS)]
    beside = [one.name for one in files if one.name in (*TABLES, LABELS)]
    if len(stacks) == 1 and not whole and (beside or options.labels or options.table):
        return _open_file(stacks[0], options, opened)
    if stacks and not whole:
        if beside:
            raise DataError(
                f"{root} has a stack for each class, and {named(beside)} beside them",
                expected="stacks alone, or one stack with its labels and columns",
                advice="give the one stack as SOURCE, or move what is beside the stacks away",
            )
        _refuse(options, ("images", "labels", "table"), f"{root}, which has a stack for each class")
        return from_class_stacks(root, stacks, options)
    cubes = [one for one in files if ending(one) in FITS_SUFFIXES]
    if len(cubes) == 1 and not whole:
        return _open_file(cubes[0], options, opened)
    found = ", ".join(one.name for one in files[:5]) or "no file"
    raise DataError(f"{root} has {found}: nothing that can be told to be images", expected=FORMS)


def _files_beside(path: Path) -> list[Path]:
    try:
        return [one for one in visible(path.parent) if one.is_file() and one != path]
    except OSError:
        # a folder that may be entered but not listed
        return []


def _table(files: list[Path], options: ImportOptions) -> Table | None:
    if options.table is not None:
        return read_table(Path(options.table), options.columns)
    found = [one for name in TABLES for one in files if one.name == name and one.is_file()]
    return read_table(found[0], options.columns) if found else None


def _labels(path: Path, files: list[Path], options: ImportOptions) -> Path | None:
    """`labels.npy`, or the one file that is called something alike."""
    if options.labels is not None:
        return Path(options.labels)
    found = [one for one in files if one.suffix == ".npy" and one.stem.lower() in LABEL_NAMES]
    known = [one for one in found if one.name == LABELS] or found
    if len(known) > 1:
        raise DataError(
            f"beside {path.name}, {len(known)} files may be labels: {named([one.name for one in known])}",
            expected="one file of labels",
            advice="name it with --labels",
        )
    return known[0] if known else None


def _with_unused(source: Source, files: list[Path]) -> Source:
    """The same with a warning that names the files of its folder that were left out."""
    used = {one.resolve() for one in source.files}
    unused = [one.name for one in files if one.resolve() not in used]
    if not unused:
        return source
    told = (
        f"{counted(len(unused), 'file')} of {source.root} not used: {named(unused)} (--labels and --params)"
    )
    return replace(source, warnings=(*source.warnings, told))
