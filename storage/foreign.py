"""Other people's files of one image: a point spread function in .npy or FITS, an image in FITS."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError
from storage.array_file import read_array
from storage.unreadable import SHOWN_BYTES, UnreadableError, not_a, reason

FITS_SUFFIXES = (".fits", ".fit")
# plain, or packed with gzip
FITS_BEGINS = (b"SIMPLE", b"\x1f\x8b")
MOST_BYTES = 64_000_000
_EXPECTED = "a two-dimensional array of numbers in a .npy or FITS file"


def read_kernel(path: Path) -> NDArray[np.float64]:
    """The image in a file, as float64; what it holds is not judged here."""
    _check_file(path)
    suffix = path.suffix.lower()
    if suffix not in (".npy", *FITS_SUFFIXES):
        raise _refusal(path, f"the PSF kernel {path} is neither .npy nor FITS by its name")
    try:
        # from memory, so that no failure leaves the file open
        content = path.read_bytes()
        file = io.BytesIO(content)
        values = read_array(file, len(content)) if suffix == ".npy" else read_fits(file)
    # broken files make parsers raise anything
    except Exception as error:
        raise _refusal(path, f"the PSF kernel {path} cannot be read: {reason(error)}") from error
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        found = f"{values.dtype} of shape {values.shape}"
        raise _refusal(path, f"the PSF kernel {path} holds {found}")
    return values.astype(np.float64)


def _check_file(path: Path) -> None:
    try:
        missing = None if path.is_file() else "is no file" if path.exists() else "does not exist"
        size = 0 if missing else path.stat().st_size
    except (OSError, ValueError) as error:
        raise _refusal(path, f"the PSF kernel {path} cannot be read: {reason(error)}") from error
    if missing:
        raise _refusal(path, f"the PSF kernel {path} {missing}")
    if size > MOST_BYTES:
        raise _refusal(path, f"the PSF kernel {path} has {size:,} bytes")


def _refusal(path: Path, found: str) -> RecipeError:
    return RecipeError(
        found,
        expected=f"{_EXPECTED}, below {MOST_BYTES // 1_000_000} MB",
        where=f"instrument.psf.path, looked for at {path.absolute()}",
        advice="a path counts from the recipe's folder, one given by --set from the working directory",
    )


def read_fits(content: io.BytesIO) -> NDArray[Any]:
    """The first image of the file."""
    from astropy.io import fits

    with reading_fits(content.getvalue()[:SHOWN_BYTES]), fits.open(content) as units:
        for unit in units:
            if unit.is_image and unit.data is not None:
                return np.asarray(unit.data)
    raise UnreadableError("it has no image")


def open_cube(path: Path, stack: ExitStack) -> Any:
    """The first image with three axes or more in a file, to be read plane by plane while `stack` is open."""
    from astropy.io import fits

    with path.open("rb") as file:
        begins = file.read(SHOWN_BYTES)
    with reading_fits(begins):
        units = stack.enter_context(fits.open(path, memmap=True))
        for unit in units:
            if unit.is_image and len(unit.shape) >= 3:
                return unit.section
    raise UnreadableError("it has no image with three axes")


@contextlib.contextmanager
def reading_fits(begins: bytes) -> Iterator[None]:
    """astropy warns of what it can read and raises anything of the rest, with advice for programs."""
    from astropy.utils.exceptions import AstropyUserWarning

    # it would open an archive as well, and lose files that it unpacks
    if not begins.startswith(FITS_BEGINS):
        raise not_a("FITS file", begins)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        try:
            yield
        except Exception as error:
            if begins.startswith(b"SIMPLE"):
                raise UnreadableError("it is a FITS file that is cut off or damaged") from error
            raise not_a("FITS file", begins) from error
