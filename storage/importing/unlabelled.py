"""Images of a file that nobody has labelled, read a few at a time: what predictions are made of."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from storage.files.array_file import header_of, mapped
from storage.files.unreadable import reason
from storage.foreign import FITS_SUFFIXES, ending
from storage.importing.archives import hdf5_arrays, npz_arrays
from storage.importing.fits_images import open_fits_image
from storage.importing.folders import visible
from storage.importing.images import read_picture
from storage.importing.roles import listed
from storage.importing.sources import HDF5_SUFFIXES

SUFFIXES = (".npy", ".npz", *FITS_SUFFIXES, *HDF5_SUFFIXES)
SHAPES = "real numbers of shape (y, x), (images, y, x) or (images, channels, y, x)"
FORMS = "a .npy file or a lensmill store; or .npz, FITS, HDF5, or a folder of such files"
SCALE_ATTRIBUTES = ("pixel_scale_arcsec", "pixel_scale", "pixscale")


@dataclass(frozen=True)
class ImageStack:
    """Images (images, channels, y, x); a slice of them is read when it is asked for, as float32."""

    path: Path
    shape: tuple[int, int, int, int]
    # (images, ...), or one image without such an axis
    source: Any = field(repr=False)
    single: bool = False
    # along x and y
    pixel_sides_arcsec: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        first, last, _ = rows.indices(len(self))
        try:
            values = np.asarray(self.source[:] if self.single else self.source[first:last])
        # parts of a file are read only now, and h5py and astropy raise anything
        except Exception as error:
            raise _unreadable(self.path, f"it is damaged among the images {first} to {last - 1}") from error
        # what came out of a pickle cannot be written, which torch takes amiss; infinity is told later
        with np.errstate(over="ignore"):
            return np.require(values.reshape(-1, *self.shape[1:]), np.float32, ["C", "W"])


@dataclass(frozen=True)
class Inside:
    """Which part of a file is meant, where it has several."""

    dataset: str | None = None
    hdu: str | None = None


def image_files(path: Path) -> list[Path]:
    """The file, or the files of a folder that have images by their names."""
    if not path.is_dir():
        return [path]
    found = [one for one in visible(path) if one.is_file() and ending(one) in SUFFIXES]
    return found or [path]


def open_images(path: Path, opened: ExitStack, channels: int = 1, inside: Inside | None = None) -> ImageStack:
    """The images of a file while `opened` is; `channels` is how many an image should have.

    Three axes are (images, y, x), but (channels, y, x) in a FITS file with that many channels.
    """
    inside, suffix = inside or Inside(), ending(path)
    if suffix not in SUFFIXES or not path.is_file():
        raise _no_images(path)
    try:
        if suffix == ".npy":
            return _npy_stack(path)
        if suffix in FITS_SUFFIXES:
            return _fits_stack(path, opened, channels, inside.hdu)
        return _array_stack(path, opened, inside.dataset)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, reason(error), getattr(error, "advice", "")) from error


def _no_images(path: Path) -> DataError:
    told, advice = (
        f"cannot read images from {path}",
        "make a store of it: `lensmill import SOURCE --out STORE`",
    )
    if path.is_dir():
        told = f"cannot read images from the folder {path}: it has no file of them"
        advice = "name the files, or the folder that they are in"
    elif not path.exists():
        told, advice = f"cannot read {path}: there is no such file", "check the path"
    elif path.suffix == ".gz":
        advice = "unpack it: only FITS files are read packed"
    return DataError(told, expected=FORMS, advice=advice)


def _npy_stack(path: Path) -> ImageStack:
    """An image with its mass beside it, as DeepLense keeps them, is a stack of one."""
    if header_of(path).dtype.hasobject:
        with path.open("rb") as file:
            found = read_picture(file, path.stat().st_size)
        return _stack(path, found.values if found.mass is None else found.values[None])
    return _stack(path, mapped(path))


def _fits_stack(path: Path, opened: ExitStack, channels: int, hdu: str | None) -> ImageStack:
    found = open_fits_image(path, opened, hdu)
    told: tuple[str, ...] = ()
    if found.beside and hdu is None:
        told = (f"{path.name} has other images as well, in HDU {', '.join(found.beside)} (--hdu)",)
    one_image = len(found.shape) == 3 and channels > 1 and found.shape[0] == channels
    shape = (1, *found.shape) if one_image else _four(path, found.shape, "numbers")
    single = one_image or len(found.shape) == 2
    return ImageStack(path, shape, found.section, single, found.pixel_sides_arcsec, told)  # type: ignore[arg-type]


def _array_stack(path: Path, opened: ExitStack, dataset: str | None) -> ImageStack:
    arrays = (npz_arrays if path.suffix.lower() == ".npz" else hdf5_arrays)(path, opened)
    array = arrays[_key(path, arrays, dataset)]
    return _stack(path, array, _attribute(array))


def _key(path: Path, arrays: Mapping[str, Any], asked: str | None) -> str:
    if asked is not None and asked.strip("/") in arrays:
        return asked.strip("/")
    numbers = {key: one for key, one in arrays.items() if one.dtype.kind in "fiu"}
    found = [key for key, one in numbers.items() if len(one.shape) in (3, 4)]
    found = found or [key for key, one in numbers.items() if len(one.shape) == 2]
    if asked is None and len(found) == 1:
        return found[0]
    if asked is not None:
        raise DataError(
            f"{path} has no array {asked!r}",
            expected=f"one of its arrays: {listed(arrays)}",
            where=str(path),
            advice="correct --dataset, or leave it out",
        )
    raise DataError(
        f"{path} has {len(found)} arrays that may be images",
        expected=f"one array, {SHAPES}; the file has {listed(arrays)}",
        where=str(path),
        advice="name it with --dataset" if found else "save the images as such an array",
    )


def _attribute(array: Any) -> float | None:
    """What an HDF5 file says of its pixels, at the array or at its root."""
    for holder in (array, getattr(array, "file", None)):
        attributes = getattr(holder, "attrs", {})
        for name in SCALE_ATTRIBUTES:
            value = np.asarray(attributes.get(name, np.nan))
            if value.size == 1 and value.dtype.kind in "fiu" and value.item() > 0:
                return float(value.item())
    return None


def _stack(path: Path, array: Any, scale: float | None = None) -> ImageStack:
    told = f"{array.dtype}"
    if array.dtype.kind not in "fiu":
        raise _strange(path, tuple(array.shape), told)
    sides = None if scale is None else (scale, scale)
    return ImageStack(path, _four(path, tuple(array.shape), told), array, len(array.shape) == 2, sides)


def _four(path: Path, shape: tuple[int, ...], told: str) -> tuple[int, int, int, int]:
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise _strange(path, shape, told)
    by_axes = {2: (1, 1, *shape), 3: (shape[0], 1, *shape[1:]), 4: shape}
    return by_axes[len(shape)]  # type: ignore[return-value]


def _strange(path: Path, shape: tuple[int, ...], told: str) -> DataError:
    return DataError(
        f"{path} holds {told} of shape {shape}",
        expected=SHAPES,
        where=str(path),
        advice="save the images alone, each with as many axes as that",
    )


def _unreadable(path: Path, told: str, advice: str = "") -> DataError:
    forms = "of plain numbers, or of an image and its mass" if path.suffix == ".npy" else "of images"
    return DataError(
        f"cannot read {path}: {told}",
        expected=f"a {ending(path)} file {forms}",
        where=str(path),
        advice=advice or "fetch or make the file again",
    )
