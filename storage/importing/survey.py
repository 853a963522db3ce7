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
from storage.importing.groups import Group, Source
from storage.importing.images import Picture
from storage.importing.tables import Named, name_faults

Pixels = NDArray[np.float32]
FINGERPRINT_BYTES = 16
MOST_CHANNELS = 32
# the last axis of an image whose channels come last is no longer than this
COLOURS = 4
MOST_TOLD = 200
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
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse_faults(self, root: Path) -> None:
        """All faults in one error."""
        if not self.faults:
            return
        told = [f"  - {fault}" for fault in self.faults[:MOST_TOLD]]
        more = [f"  - and {len(self.faults) - MOST_TOLD:,} more"] if len(self.faults) > MOST_TOLD else []
        count = f"{len(self.faults):,} fault{'s' if len(self.faults) > 1 else ''}"
        raise DataError(
            "\n".join([f"{root} cannot be imported: {count}", *told, *more]),
            where=str(root),
            advice="mend or remove what is named; nothing was written",
        )


def survey(
    source: Source, options: ImportOptions, progress: Callable[[int], None] = lambda _: None
) -> Survey:
    """Read all images of a source."""
    found = Survey(faults=[*source.faults], warnings=[*source.warnings])
    seen = Seen(source.count)
    for group in source.groups:
        for position in range(len(group.images)):
            _look(group, position, options.channels_last, seen, found.faults)
            progress(seen.done)
    _compare_shapes(found, source, seen)
    _add_columns(found, source, options, seen)
    found.dtypes, found.fingerprints = seen.dtypes, seen.fingerprints
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


def _look(group: Group, position: int, channels_last: bool, seen: Seen, faults: list[str]) -> None:
    name = group.images.name(position)
    try:
        picture = group.images.read(position)
        if picture.mass is not None and not np.isfinite(picture.mass):
            raise ValueError(f"its mass is {picture.mass}")
        seen.add(picture, to_pixels(picture, channels_last))
    # broken files make parsers raise anything
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        faults.append(f"{name}: {reason}")
    seen.done += 1


def fingerprint(pixels: Pixels) -> bytes:
    """Images with the same one are the same."""
    return hashlib.blake2b(pixels.tobytes(), digest_size=FINGERPRINT_BYTES).digest()


def to_pixels(picture: Picture, channels_last: bool) -> Pixels:
    """An image as stores have it, (channels, y, x) in float32; what would not survive is refused."""
    values = picture.values
    if values.dtype.kind not in "fiu":
        raise ValueError(f"it holds {values.dtype}, not numbers")
    if values.ndim == 2:
        values = values[None]
    elif values.ndim == 3 and channels_last:
        values = np.moveaxis(values, -1, 0)
    _check_shape(values.shape, channels_last)
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum()):,} pixels are NaN or infinite")
    with np.errstate(over="ignore", under="ignore"):
        pixels = np.ascontiguousarray(values, dtype=np.float32)
    _check_fit(values, pixels)
    return pixels


def _check_shape(shape: tuple[int, ...], channels_last: bool) -> None:
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"shape {shape} is no image (y, x) or (channels, y, x)")
    if shape[1] == shape[2] and shape[0] <= MOST_CHANNELS:
        return
    if shape[2] <= COLOURS and shape[0] == shape[1] and not channels_last:
        raise ValueError(f"shape {shape} has its channels last: --channels-last")
    if shape[0] > MOST_CHANNELS:
        raise ValueError(f"shape {shape} has {shape[0]} channels, more than {MOST_CHANNELS}: is it a stack?")
    raise ValueError(f"{shape[1]} x {shape[2]} pixels are no square, which training and pictures need")


def _check_fit(values: NDArray[Any], pixels: Pixels) -> None:
    if not np.isfinite(pixels).all():
        raise ValueError(f"values up to {np.abs(values).max():.3g} are too large for float32")
    if values.dtype.kind in "iu" and not np.array_equal(pixels.astype(np.float64), values.astype(np.float64)):
        raise ValueError(f"{values.dtype} values up to {np.abs(values).max():,} are not exact in float32")
    if values.any() and not pixels.any():
        raise ValueError(f"values up to {np.abs(values).max():.3g} are too small for float32")


def _compare_shapes(found: Survey, source: Source, seen: Seen) -> None:
    """The shape that most images have is the one that all must have."""
    if not seen.shapes:
        return
    most = int(np.bincount(seen.shape[seen.shape >= 0]).argmax())
    channels, height, width = seen.shapes[most]
    found.shape = (channels, height, width)
    found.faults += [
        f"{source.name(int(at))}: {_told(seen.shapes[seen.shape[at]])}, most images are {_told(found.shape)}"
        " (channels, y, x)"
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
    found.faults += name_faults(columns) + [f"{name}: no such column beside the images" for name in missing]
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
        found.faults.append(f"{named.name}: no value in the whole column ({named.origin})")
    wrong = ~np.isfinite(values) & np.isin(label, labels) & (seen.shape >= 0)
    found.faults += [
        f"{source.name(int(at))}: {named.name} is {values[at]}, but others of its class have a value"
        f" ({named.origin})"
        for at in np.flatnonzero(wrong)
    ]
    return ColumnSpec(
        name=named.name,
        unit=named.unit,
        description=f"imported, {named.origin}",
        labels=labels,
        headline=True,
    )


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
