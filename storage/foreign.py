"""Other people's files of one image: a point spread function in .npy or FITS, an image in FITS."""

import io
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError

FITS_SUFFIXES = (".fits", ".fit")
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
        content = io.BytesIO(path.read_bytes())
        values = np.asarray(np.load(content, allow_pickle=False) if suffix == ".npy" else read_fits(content))
    # broken files make parsers raise anything
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise _refusal(path, f"the PSF kernel {path} cannot be read: {reason}") from error
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        found = f"{values.dtype} of shape {values.shape}"
        raise _refusal(path, f"the PSF kernel {path} holds {found}")
    return values.astype(np.float64)


def _check_file(path: Path) -> None:
    try:
        missing = None if path.is_file() else "is no file" if path.exists() else "does not exist"
        size = 0 if missing else path.stat().st_size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _refusal(path, f"the PSF kernel {path} cannot be read: {reason}") from error
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

    with warnings.catch_warnings():
        # what is odd but readable is read
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        with fits.open(content) as units:
            for unit in units:
                if unit.is_image and unit.data is not None:
                    return np.asarray(unit.data)
    raise ValueError("it has no image")


def open_cube(path: Path, stack: ExitStack) -> Any:
    """The first image with three axes or more in a file, to be read plane by plane while `stack` is open."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        units = stack.enter_context(fits.open(path, memmap=True))
        for unit in units:
            if unit.is_image and len(unit.shape) >= 3:
                return unit.section
    raise ValueError("it has no image with three axes")
