"""The images of a FITS file: which of its units they are in, and how large their pixels are."""

import math
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import DataError
from storage.files.unreadable import SHOWN_BYTES, UnreadableError
from storage.foreign import GZIP_BEGINS, check_packed, reading_fits

ARCSEC_PER_DEGREE = 3600.0
# what some pipelines write beside a WCS, or instead of one; arcsec
SCALE_KEYWORDS = ("PIXSCALE", "PIXELSCL", "PIXSCAL1", "D001SCAL")


@dataclass(frozen=True)
class FitsImage:
    """One unit with an image, to be read in parts while its file is open."""

    section: Any
    shape: tuple[int, ...]
    # along x and y
    pixel_sides_arcsec: tuple[float, float] | None
    beside: tuple[str, ...]


def open_fits_image(path: Path, opened: ExitStack, hdu: str | None = None) -> FitsImage:
    """The image in a unit, named or numbered; left out, the one called SCI or else the first with an image.

    `beside` names the other units that have images.
    """
    from astropy.io import fits

    with path.open("rb") as file:
        begins = file.read(SHOWN_BYTES)
        check_packed(file, begins)
    with reading_fits(begins):
        units = opened.enter_context(fits.open(path, memmap=True))
        with_image = [at for at, unit in enumerate(units) if unit.is_image and len(unit.shape) >= 2]
        packed = begins.startswith(GZIP_BEGINS)
    at = _chosen(path, units, with_image, hdu)
    unit = units[at]
    if not packed:
        _check_length(unit, path.stat().st_size)
    beside = tuple(_told(units, other) for other in with_image if other != at)
    return FitsImage(unit.section, tuple(unit.shape), _pixel_sides(unit.header), beside)


def _chosen(path: Path, units: Any, with_image: Sequence[int], hdu: str | None) -> int:
    if hdu is None:
        if not with_image:
            raise UnreadableError("it has no image")
        science = [at for at in with_image if units[at].name == "SCI"]
        return (science or list(with_image))[0]
    found = [at for at in with_image if hdu == str(at) or hdu.upper() == units[at].name]
    if not found:
        names = ", ".join(_told(units, at) for at in with_image) or "no image"
        raise DataError(
            f"{path} has no image in HDU {hdu}",
            expected=f"number or name of one of its images: {names}",
            where=str(path),
            advice="correct --hdu, or leave it out",
        )
    return found[0]


def _told(units: Any, at: int) -> str:
    name = units[at].name
    return f"{at} ({name})" if name else str(at)


def _check_length(unit: Any, size: int) -> None:
    """astropy reads what is left of a file that is cut short, and fails in the middle of it."""
    info = unit.fileinfo()
    promised = info["datLoc"] + info["datSpan"]
    if promised > size:
        raise UnreadableError(f"it is cut off: {size:,} of {promised:,} bytes", "it is cut off")


def _pixel_sides(header: Any) -> tuple[float, float] | None:
    """Sides of a pixel along x and y, arcsec: by a WCS on the sky, else by CD or CDELT, else by a keyword."""
    sides = _sides_of_wcs(header) or _sides_of_steps(header)
    if sides is not None:
        return sides
    for name in SCALE_KEYWORDS:
        if isinstance(header.get(name), int | float) and header[name] > 0:
            return float(header[name]), float(header[name])
    return None


def _sides_of_wcs(header: Any) -> tuple[float, float] | None:
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sky = WCS(header).celestial
            x, y = map(float, proj_plane_pixel_scales(sky)) if sky.naxis == 2 else (0.0, 0.0)
        # broken headers make it raise anything; a prediction does not need them
        except Exception:
            return None
    return (x * ARCSEC_PER_DEGREE, y * ARCSEC_PER_DEGREE) if x > 0 and y > 0 else None


def _sides_of_steps(header: Any) -> tuple[float, float] | None:
    """Steps along the axes without a word on what the axes are; in degrees unless they say otherwise."""
    unit = str(header.get("CUNIT1", "deg")).strip().lower()
    factor = {"deg": ARCSEC_PER_DEGREE, "degree": ARCSEC_PER_DEGREE, "arcsec": 1.0}.get(unit)
    x, y = (_step(header, axis) for axis in (1, 2))
    if factor is None or not x:
        return None
    return x * factor, (y or x) * factor


def _step(header: Any, axis: int) -> float | None:
    """How far a pixel is from the next one along an axis; 1 is what stands where nobody knew."""
    column = [header.get(f"CD{row}_{axis}", 0.0) for row in (1, 2)]
    column = column if any(column) else [header.get(f"CDELT{axis}", 0.0)]
    if not all(isinstance(one, int | float) for one in column):
        return None
    size = math.hypot(*column)
    return None if size == 1 else size
