"""The folder of one rebuilt sample: arrays for numpy, a table and a page of parameters for everything."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PlaceError, WriteError
from schemas.sample import SampleSheet
from storage.catalogue import Table
from storage.files.durable import write_whole
from storage.pictures.portrait import portrait

ARRAYS = ("image", "noise_free", "convergence", "deflection")


def check_folder(folder: Path) -> None:
    """Refuse a path that holds anything: nothing is overwritten."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise PlaceError(
            f"{folder} {'is not empty' if folder.is_dir() else 'is a file'}",
            expected="an empty or new folder",
            advice="choose another --out",
        )


def write_folder(
    folder: Path,
    sheet: SampleSheet,
    arrays: Mapping[str, NDArray[Any]],
    subhalos: Table,
    normalised: bool = False,
) -> list[Path]:
    """Arrays of one sample (components, y, x), its subhalos, its parameters and a picture of all.

    `normalised` images have another unit than `noise_free`.
    """
    check_folder(folder)
    files = {f"{name}.npy": _npy(arrays[name]) for name in ARRAYS}
    files["subhalos.csv"] = _csv(subhalos)
    files["sample.png"] = portrait(sheet, arrays, normalised)
    files["parameters.json"] = sheet.to_json().encode()
    was_there = folder.is_dir()
    try:
        for name, content in files.items():
            write_whole(folder / name, content)
    except WriteError as error:
        _take_back(folder, list(files), was_there)
        raise WriteError(
            error.found,
            expected=f"a folder that can be written, with {_kilobytes(files)} kB to spare",
            advice="free space or mend permissions, or choose another --out",
        ) from error
    return [folder / name for name in files]


def _take_back(folder: Path, names: list[str], was_there: bool) -> None:
    """Some of a sample's files without the others would pass for all of them."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if not was_there and folder.is_dir():
        folder.rmdir()


def _kilobytes(files: Mapping[str, bytes]) -> int:
    return sum(map(len, files.values())) // 1000 + 1


def _npy(array: NDArray[Any]) -> bytes:
    into = io.BytesIO()
    np.save(into, array, allow_pickle=False)
    return into.getvalue()


def _csv(table: Table) -> bytes:
    """All digits of every number; empty where a parameter does not apply."""
    into = io.StringIO()
    writer = csv.writer(into, lineterminator="\n")
    writer.writerow(table)
    columns = [values.tolist() for values in table.values()]
    for row in zip(*columns, strict=True):
        writer.writerow("" if isinstance(one, float) and math.isnan(one) else one for one in row)
    return into.getvalue().encode()
