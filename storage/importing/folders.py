"""Classes as folders with a file for each image, below folders for train, val and test if there are any."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from schemas.dataset import SPLITS
from schemas.errors import DataError
from schemas.imported import Form, ImportOptions
from storage.foreign import FITS_SUFFIXES, ending
from storage.importing.faults import Fault, counted, named
from storage.importing.groups import Group, Source, class_name, in_order, labels_of_classes
from storage.importing.images import FileImages
from storage.importing.tables import Named, Table

SUFFIXES: dict[str, Form] = {".npy": "npy_folders", **dict.fromkeys(FITS_SUFFIXES, "fits_folders")}


def visible(folder: Path) -> list[Path]:
    """What is in a folder, by name, without what is hidden."""
    return sorted(one for one in folder.iterdir() if not one.name.startswith((".", "_")))


def class_folders(root: Path) -> list[tuple[str | None, Path]]:
    """Every class folder with the split that it is in."""
    folders = [one for one in visible(root) if one.is_dir()]
    if folders and all(one.name in SPLITS for one in folders):
        return [(split.name, one) for split in folders for one in visible(split) if one.is_dir()]
    return [(None, one) for one in folders]


def from_folders(root: Path, options: ImportOptions, table: Table | None) -> Source:
    """A group for each class and split. Empty folders and stray files are told, not skipped in silence."""
    faults: list[Fault] = []
    ignored: list[str] = []
    found: list[tuple[str, str | None, list[str]]] = []
    forms: set[Form] = set()
    for split, folder in class_folders(root):
        names: list[str] = []
        for path in visible(folder):
            form = SUFFIXES.get(ending(path)) if path.is_file() else None
            relative = path.relative_to(root).as_posix()
            (ignored if form is None else names).append(relative)
            forms |= {form} if form else set()
        if not names:
            place = folder.relative_to(root).as_posix()
            faults.append(Fault(place, "no .npy or FITS file in it", noun="folder"))
        found.append((class_name(folder.name), split, names))
    if len(forms) > 1:
        faults.append(Fault(root.name, "some images are .npy and some FITS: import them one after the other"))
    faults += _same_names(found)
    if not forms:
        raise DataError(f"no image in {root}", expected="folders of .npy or FITS files, one for each class")
    labels = labels_of_classes(sorted({name for name, _, _ in found}), options.class_order)
    groups = list(_groups(root, [one for one in found if one[2]], labels, table, faults))
    names_of_all = [name for _, _, names in found for name in names]
    faults += table.doubts(names_of_all) if table else []
    return Source(
        root,
        min(forms),
        in_order(groups),
        _columns(table),
        (*(root / name for name in names_of_all), *([table.path] if table else [])),
        (*faults, *(table.faults if table else ())),
        (*_left_out(ignored), *(table.idle(names_of_all) if table else ())),
    )


def _left_out(ignored: list[str]) -> tuple[str, ...]:
    if not ignored:
        return ()
    verbs = "is no .npy or FITS file and was" if len(ignored) == 1 else "are no .npy or FITS files and were"
    return (f"{counted(len(ignored), 'entry', 'entries')} {verbs} left out: {named(ignored)}",)


def _groups(
    root: Path,
    found: list[tuple[str, str | None, list[str]]],
    labels: dict[str, int],
    table: Table | None,
    faults: list[Fault],
) -> Iterator[Group]:
    if table is not None and table.files is None:
        raise DataError(f"{table.path.name} does not say which file a row is of", expected="a column `file`")
    for name, split, files in found:
        params = np.empty((len(files), 0))
        if table is not None:
            params, missing = table.of_files(files)
            faults += missing
        yield Group(name, labels[name], split, FileImages(root, files), params)


def _columns(table: Table | None) -> tuple[Named, ...]:
    return table.columns if table else ()


def _same_names(found: list[tuple[str, str | None, list[str]]]) -> list[Fault]:
    seen = [(name, split) for name, split, _ in found]
    twice = sorted({name for name, split in seen if seen.count((name, split)) > 1})
    return [Fault(name, "two folders come down to this class name", noun="name") for name in twice]
