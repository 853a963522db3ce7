"""What predictions are made of: files of images and splits of stores, all looked at before any is used."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import DataError, LensmillError
from schemas.run import RunRecord
from storage.commit import PLAN
from storage.files.place import Root, place
from storage.foreign import FITS_SUFFIXES
from storage.importing.faults import counted, named
from storage.importing.sources import HDF5_SUFFIXES
from storage.importing.unlabelled import ImageStack, Inside, image_files, open_images
from storage.reader import open_store
from train.data import Samples, check_split, labels_of, load_samples

MOST_LINES = 40
# WCS and headers are rounded; a thousandth of the side of an image is less than a pixel
SAME_SCALE = 1e-2
# squeezed images show rounder or longer lenses than there are
MOST_SQUEEZED = 5e-2


@dataclass(frozen=True)
class Wanted:
    """Which part of each file or store is meant."""

    split: str
    inside: Inside


@dataclass(frozen=True)
class Input:
    """Images of one file or store, without them."""

    path: Root
    images: int
    # along x and y
    pixel_sides_arcsec: tuple[float, float] | None
    warnings: tuple[str, ...] = ()


def open_input(
    record: RunRecord, path: Root, wanted: Wanted, opened: ExitStack
) -> tuple[ImageStack | Samples, Input]:
    """Images that fit the model, to be read while `opened` is, and what is known of them."""
    if (path / PLAN).is_file():
        store = open_store(path)
        check_split(store, wanted.split)
        samples = load_samples(store, wanted.split, labels_of(store, None))
        check_shape(record, samples.shape[1:], str(path))
        side = store.pixel_scale_arcsec
        return samples, Input(path, len(samples), None if side is None else (side, side))
    if not isinstance(path, Path):
        raise DataError(
            f"cannot read images from {path}",
            expected="a .npy file or a lensmill store",
            advice="fetch the file first: only stores are read from S3",
        )
    stack = open_images(path, opened, record.data.image_shape[0], wanted.inside)
    check_shape(record, stack.shape[1:], str(path))
    _check_square(record, stack)
    return stack, Input(path, len(stack), stack.pixel_sides_arcsec, stack.warnings)


def _check_square(record: RunRecord, stack: ImageStack) -> None:
    """Refuse images that are squeezed one way, where those of the training were not."""
    sides, trained = stack.pixel_sides_arcsec, record.data.pixel_scale_arcsec
    if trained and sides and max(sides) > (1 + MOST_SQUEEZED) * min(sides):
        raise DataError(
            f"pixels are {_told(sides)} in {stack.path}",
            expected=f"sides alike within {MOST_SQUEEZED:.0%}; they were {trained:.4g} arcsec in training",
            where=str(stack.path),
            advice="resample the images to square pixels, or correct the header (CD, CDELT) if it is wrong",
        )


def _told(sides: tuple[float, float]) -> str:
    if max(sides) <= (1 + SAME_SCALE) * min(sides):
        return f"{math.prod(sides) ** 0.5:.4g} arcsec"
    return f"{sides[0]:.4g} x {sides[1]:.4g} arcsec (x, y)"


def look_at(record: RunRecord, given: Sequence[str | Root], wanted: Wanted) -> list[Input]:
    """All files and stores, folders as the files in them; every one that cannot be used is told."""
    found, faults = [], []
    paths = list(_spread(given))
    _check_of_use(paths, wanted.inside)
    for path in paths:
        try:
            with ExitStack() as opened:
                found.append(open_input(record, path, wanted, opened)[1])
        except LensmillError as error:
            faults.append((path, error))
    if len(faults) == 1:
        raise faults[0][1]
    if faults:
        raise _together(record, faults, len(faults) + len(found))
    return found


def _check_of_use(paths: Sequence[Root], inside: Inside) -> None:
    """An option that would do nothing is a mistake."""
    for option, given, suffixes, forms in (
        ("--dataset", inside.dataset, (".npz", *HDF5_SUFFIXES), "an HDF5 or .npz file"),
        ("--hdu", inside.hdu, FITS_SUFFIXES, "a FITS file"),
    ):
        if given is not None and not any(str(path).lower().endswith(suffixes) for path in paths):
            raise DataError(
                f"{option} {given} is given, and none of the files is {forms}",
                expected=f"{forms} with such a part",
                advice=f"leave {option} out",
            )


def _spread(given: Sequence[str | Root]) -> Iterator[Root]:
    for path in map(place, given):
        if isinstance(path, Path) and not (path / PLAN).is_file():
            yield from image_files(path)
        else:
            yield path


def _together(record: RunRecord, faults: Sequence[tuple[Root, LensmillError]], count: int) -> DataError:
    """What most files lack stands once below; a file that needs something else says so in its line."""
    alike = {error.expected for _, error in faults}
    expected = alike.pop() if len(alike) == 1 else _expected_shape(record)
    lines = []
    for path, error in faults[:MOST_LINES]:
        told = error.found if str(path) in error.found else f"{path}: {error.found}"
        own = f"; expected {error.expected}" if error.expected not in ("", expected) else ""
        lines.append(f"  - {told}{own}")
    if len(faults) > MOST_LINES:
        lines.append(f"  - and {len(faults) - MOST_LINES:,} more")
    return DataError(
        f"{len(faults):,} of {counted(count, 'file')} cannot be used:\n" + "\n".join(lines),
        expected=expected,
        advice="mend these files, or leave them out; nothing was predicted",
    )


def remarks(record: RunRecord, inputs: Sequence[Input]) -> Iterator[str]:
    """What is odd: pixels of another size than those of the training, and units of files left out."""
    trained = record.data.pixel_scale_arcsec
    other: dict[str, list[str]] = {}
    for one in inputs:
        sides = one.pixel_sides_arcsec
        if trained and sides and any(abs(side / trained - 1) > SAME_SCALE for side in sides):
            other.setdefault(_told(sides), []).append(str(one.path))
    for scale, paths in other.items():
        yield f"pixels are {scale} in {named(paths)} and were {trained:.4g} arcsec in training"
    alike: dict[str, list[str]] = {}
    for one in inputs:
        for told in one.warnings:
            alike.setdefault(told, []).append(str(one.path))
    yield from list(alike)[:3]
    if len(alike) > 3:
        yield f"and {len(alike) - 3:,} more files with several images (--hdu)"


def check_shape(record: RunRecord, shape: tuple[int, ...], where: str) -> None:
    """Refuse images (channels, y, x) that the model was not made for."""
    expected = record.data.image_shape
    if shape == expected:
        return
    bands = ", ".join(record.data.bands) or "those of the training data"
    advice = "cut or bin them to that size, or train a model on images of theirs"
    if (shape[-1], *shape[:-1]) == expected:
        advice = "the channels stand last: give numpy.moveaxis(images, -1, 1)"
    elif shape[0] != expected[0]:
        advice = f"give (images, channels, y, x) with these channels: {bands}"
    raise DataError(
        f"images of {' x '.join(map(str, shape))} (channels, y, x)",
        expected=_expected_shape(record),
        where=where,
        advice=advice,
    )


def _expected_shape(record: RunRecord) -> str:
    return f"{' x '.join(map(str, record.data.image_shape))}, as in the training data"
