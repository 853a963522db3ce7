"""Other people's files of one image: a point spread function in .npy or FITS, an image in FITS."""

import contextlib
import gzip
import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError
from storage.files.array_file import read_array
from storage.files.unreadable import SHOWN_BYTES, UnreadableError, not_a, reason

FITS_SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz")
GZIP_BEGINS = b"\x1f\x8b"
FITS_BEGINS = (b"SIMPLE", GZIP_BEGINS)
READ_BYTES = 1 << 20
MOST_UNPACKED = 256_000_000
MOST_BYTES = 64_000_000
_EXPECTED = "a two-dimensional array of numbers in a .npy or FITS file"


def ending(path: Path) -> str:
    """How a file's name ends, in lower case; both endings where FITS is packed, as in .fits.gz."""
    both = "".join(path.suffixes[-2:]).lower()
    return both if both in FITS_SUFFIXES else path.suffix.lower()


def stem(path: Path) -> str:
    """A file's name without how it ends."""
    return path.name[: len(path.name) - len(ending(path))]


def read_kernel(path: Path) -> NDArray[np.float64]:
    """The image in a file, as float64; what it holds is not judged here."""
    _check_file(path)
    suffix = ending(path)
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

    content = _unpacked(content)
    begins = content.getvalue()[:SHOWN_BYTES]
    with reading_fits(begins), fits.open(content) as units:
        for unit in units:
            if unit.is_image and unit.data is not None:
                return np.asarray(unit.data)
    raise UnreadableError("it has no image")


def open_cube(path: Path, stack: ExitStack) -> Any:
    """The first image with three axes or more in a file, to be read plane by plane while `stack` is open."""
    from astropy.io import fits

    with path.open("rb") as file:
        begins = file.read(SHOWN_BYTES)
        check_packed(file, begins)
    with reading_fits(begins):
        units = stack.enter_context(fits.open(path, memmap=True))
        for unit in units:
            if unit.is_image and len(unit.shape) >= 3:
                return unit.section
    raise UnreadableError(
        "it has no image with three axes",
        advice="give a stack of images, or a folder in which each class has a folder of images",
    )


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
            raise UnreadableError("it is packed, and what is in it is no FITS file") from error


def _unpacked(content: io.BytesIO) -> io.BytesIO:
    """The same where it is not packed. Few bytes may unpack to more than the memory."""
    if not content.getvalue().startswith(GZIP_BEGINS):
        return content
    with gzip.open(content) as packed, _reading_packed():
        found = packed.read(MOST_UNPACKED + 1)
    if len(found) > MOST_UNPACKED:
        raise UnreadableError(f"it unpacks to more than {MOST_UNPACKED:,} bytes, too many for one image")
    return io.BytesIO(found)


@contextlib.contextmanager
def _reading_packed() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableError("it is a packed file that is cut off or damaged") from error


def check_packed(file: IO[bytes], begins: bytes) -> None:
    """Read a packed file to its end, where its checksum is: astropy takes what comes out before."""
    if not begins.startswith(GZIP_BEGINS):
        return
    file.seek(0)
    with gzip.open(file) as packed, _reading_packed():
        while packed.read(READ_BYTES):
            pass
