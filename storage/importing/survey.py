"""Every image of a source looked at once before anything is written: what it is, and all that is wrong.

Of each image a fingerprint and its numbers are kept, not its pixels: 16 bytes and a few floats.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ColumnSpec
from schemas.errors import DataError
from schemas.imported import ImportOptions
from storage.files.unreadable import UnreadableError, reason
from storage.importing.faults import Fault, counted, lines_of
from storage.importing.groups import Group, Source
from storage.importing.images import Picture
from storage.importing.tables import COPIES, Named, name_faults

Pixels = NDArray[np.float32]
FINGERPRINT_BYTES = 16
MOST_CHANNELS = 32
# the last axis of an image whose channels come last is no longer than this
COLOURS = 4
READ_BYTES = 1 << 20


@dataclass
class Survey:
    """What all images have in common, and what is wrong with some of them."""

    shape: tuple[int, int, int] = (0, 0, 0)
    dtypes: Counter[str] = field(default_factory=Counter)
    lowest: float = np.inf
    highest: float = -np.inf
    # (samples, 2): fingerprints as numbers, in the order of samples
    fingerprints: NDArray[np.uint64] = field(default_factory=lambda: np.empty((0, 2), np.uint64))
    params: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    columns: tuple[ColumnSpec, ...] = ()
    contents_sha256: str = ""
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse_faults(self, root: Path) -> None:
        """All faults in one error."""
        if not self.faults:
            return
        told = [f"  - {line}" for line in lines_of(self.faults)]
        raise DataError(
            "\n".join([f"{root} cannot be imported: {counted(len(self.faults), 'fault')}", *told]),
            where=str(root),
            advice="mend or remove what is named; nothing was written",
        )


def survey(
    source: Source, options: ImportOptions, progress: Callable[[int], None] = lambda _: None
) -> Survey:
    """Read all images of a source."""
    found = Survey(faults=[*source.faults], warnings=[*source.warnings])
    seen, noun = Seen(source.count), _noun(source)
    for group in source.groups:
        for position in range(len(group.images)):
            _look(group, position, options.channels_last, seen, found.faults, noun)
            progress(seen.done)
    _compare_shapes(found, source, seen)
    found.dtypes, found.fingerprints = seen.dtypes, seen.fingerprints
    _add_columns(found, source, options, seen)
    _add_copies(found, source)
    if len(found.dtypes) > 1:
        told = ", ".join(f"{count:,} {dtype}" for dtype, count in found.dtypes.most_common())
        found.warnings.append(f"the images are of several types: {told}; are they in the same unit?")
    found.lowest, found.highest = seen.lowest, seen.highest
    if len({group.class_name for group in source.groups}) == 1:
        found.warnings.append("there is one class: classification and the audit need two")
    if not found.faults:
        found.contents_sha256 = contents_sha256(source)
    return found


class Seen:
    """What is kept of each image, in arrays: some 30 bytes."""

    def __init__(self, count: int) -> None:
        self.done = 0
        self.fingerprints = np.zeros((count, 2), "<u8")
        self.mass = np.full(count, np.nan)
        # position in `shapes`; -1 for an image that cannot be read
        self.shape = np.full(count, -1, np.int16)
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: Counter[str] = Counter()
        self.lowest, self.highest = np.inf, -np.inf

    def add(self, picture: Picture, pixels: Pixels) -> None:
        """The next image."""
        at = self.done
        if pixels.shape not in self.shapes:
            self.shapes.append(pixels.shape)
        self.shape[at] = self.shapes.index(pixels.shape)
        self.fingerprints[at] = np.frombuffer(fingerprint(pixels), "<u8")
        self.mass[at] = np.nan if picture.mass is None else picture.mass
        self.dtypes[str(picture.values.dtype.newbyteorder("="))] += 1
        self.lowest = min(self.lowest, float(pixels.min()))
        self.highest = max(self.highest, float(pixels.max()))


def _noun(source: Source) -> str:
    """What has a name of its own in a source."""
    return "file" if source.form in ("npy_folders", "fits_folders") else "image"


def _look(
    group: Group, position: int, channels_last: bool, seen: Seen, faults: list[Fault], noun: str
) -> None:
    name = group.images.name(position)
    try:
        picture = group.images.read(position)
        if picture.mass is not None and not np.isfinite(picture.mass):
            raise UnreadableError(f"its mass is {picture.mass}")
        seen.add(picture, to_pixels(picture, channels_last))
    # broken files make parsers raise anything
    except Exception as error:
        faults.append(Fault(name, reason(error), getattr(error, "kind", ""), noun))
    seen.done += 1


def fingerprint(pixels: Pixels) -> bytes:
    """Images with the same one are the same."""
    return hashlib.blake2b(pixels.tobytes(), digest_size=FINGERPRINT_BYTES).digest()


def to_pixels(picture: Picture, channels_last: bool) -> Pixels:
    """An image as stores have it, (channels, y, x) in float32; what would not survive is refused."""
    values = picture.values
    if values.dtype.kind not in "fiu":
        raise UnreadableError(f"it holds {values.dtype}, not real numbers")
    if values.ndim == 2:
        values = values[None]
    elif values.ndim == 3 and channels_last:
        values = np.moveaxis(values, -1, 0)
    _check_shape(values.shape, channels_last)
    if not np.isfinite(values).all():
        broken = int((~np.isfinite(values)).sum())
        told = f"{counted(broken, 'pixel')} {'is' if broken == 1 else 'are'} NaN or infinite"
        raise UnreadableError(told, "pixels are NaN or infinite")
    with np.errstate(over="ignore", under="ignore"):
        pixels = np.ascontiguousarray(values, dtype=np.float32)
    _check_fit(values, pixels)
    return pixels


def _check_shape(shape: tuple[int, ...], channels_last: bool) -> None:
    if len(shape) != 3 or 0 in shape:
        raise UnreadableError(f"shape {shape} is no image (y, x) or (channels, y, x)")
    if shape[1] == shape[2] and shape[0] <= MOST_CHANNELS:
        return
    if shape[2] <= COLOURS and shape[0] == shape[1] and not channels_last:
        raise UnreadableError(f"shape {shape} has its channels last: --channels-last")
    if shape[0] > MOST_CHANNELS:
        raise UnreadableError(
            f"shape {shape} has {shape[0]} channels, more than {MOST_CHANNELS}: is it a stack?"
        )
    raise UnreadableError(
        f"{shape[1]} x {shape[2]} pixels, expected square images", "not square, expected square images"
    )


def _check_fit(values: NDArray[Any], pixels: Pixels) -> None:
    if not np.isfinite(pixels).all():
        told = f"values up to {np.abs(values).max():.3g} are too large for float32"
        raise UnreadableError(told, "values are too large for float32")
    if values.dtype.kind in "iu" and not np.array_equal(pixels.astype(np.float64), values.astype(np.float64)):
        told = f"{values.dtype} values up to {np.abs(values).max():,} are not exact in float32"
        raise UnreadableError(told, f"{values.dtype} values are not exact in float32")
    if values.any() and not pixels.any():
        told = f"values up to {np.abs(values).max():.3g} are too small for float32"
        raise UnreadableError(told, "values are too small for float32")


def _compare_shapes(found: Survey, source: Source, seen: Seen) -> None:
    """The shape that most images have is the one that all must have."""
    if not seen.shapes:
        return
    most = int(np.bincount(seen.shape[seen.shape >= 0]).argmax())
    channels, height, width = seen.shapes[most]
    found.shape = (channels, height, width)
    usual = f"most images are {_told(found.shape)} (channels, y, x)"
    found.faults += [
        Fault(
            source.name(int(at)),
            f"{_told(seen.shapes[seen.shape[at]])}, {usual}",
            f"another shape, {usual}",
            _noun(source),
        )
        for at in np.flatnonzero((seen.shape >= 0) & (seen.shape != most))
    ]


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _add_columns(found: Survey, source: Source, options: ImportOptions, seen: Seen) -> None:
    columns = list(source.columns)
    found.params = np.concatenate([group.params for group in source.groups])
    if not np.isnan(seen.mass).all():
        unit = "eV" if options.mass_column.endswith("_ev") else "1"
        columns.append(Named(options.mass_column, unit, "beside the image in its file"))
        found.params = np.column_stack([found.params, seen.mass])
    # in HDF5 and npz they are keys, which were looked up
    asked = options.columns if source.form not in ("hdf5", "npz") else ()
    missing = [name for name in asked if name not in {one.name for one in columns}]
    found.faults += name_faults(columns)
    found.faults += [Fault(name, "no such column beside the images", noun="name") for name in missing]
    found.columns = tuple(
        _column(found, named, found.params[:, at], source, seen) for at, named in enumerate(columns)
    )


def _column(
    found: Survey, named: Named, values: NDArray[np.float64], source: Source, seen: Seen
) -> ColumnSpec:
    """A column applies to the classes that have values in it, and then to each of their samples."""
    label = source.labels
    labels = tuple(int(one) for one in np.unique(label[~np.isnan(values)]))
    if not labels:
        told = f"no value in the whole column ({named.origin})"
        found.faults.append(Fault(named.name, told, noun="column"))
    wrong = ~np.isfinite(values) & np.isin(label, labels) & (seen.shape >= 0)
    others = f"but others of its class have a value ({named.origin})"
    found.faults += [
        Fault(
            source.name(int(at)),
            f"{named.name} is {values[at]}, {others}",
            f"no {named.name}, {others}",
            _noun(source),
        )
        for at in np.flatnonzero(wrong)
    ]
    return ColumnSpec(
        name=named.name,
        unit=named.unit,
        description=f"imported, {named.origin}",
        labels=labels,
        headline=True,
    )


def _add_copies(found: Survey, source: Source) -> None:
    """A column of every imported store: copies in another split leak, and a reader can leave them out."""
    _, which, counts = np.unique(found.fingerprints, axis=0, return_inverse=True, return_counts=True)
    copies = (counts - 1)[which.reshape(-1)]
    found.params = np.column_stack([found.params, copies])
    column = ColumnSpec(
        name=COPIES,
        unit="1",
        description="other images of the source that are the same, pixel by pixel",
        labels=tuple(int(one) for one in np.unique(source.labels)),
        ge=0,
        derived=True,
    )
    found.columns = (*found.columns, column)


def contents_sha256(source: Source) -> str:
    """Of all files of a source with their names, in order."""
    together = hashlib.sha256()
    for path in source.files:
        inside = path.is_relative_to(source.root)
        name = path.relative_to(source.root).as_posix() if inside else path.name
        together.update(f"{name}\0{_file_sha256(path)}\n".encode())
    return together.hexdigest()


def _file_sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            found.update(part)
    return found.hexdigest()
