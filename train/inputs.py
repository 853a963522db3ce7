"""What predictions are made of: files of images and splits of stores, all looked at before any is used."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import DataError, LensmillError
from schemas.run import RunRecord
from storage.commit import PLAN
from storage.importing.faults import counted, named
from storage.importing.unlabelled import ImageStack, Inside, image_files, open_images
from storage.place import Root, place
from storage.reader import open_store
from train.data import Samples, check_split, labels_of, load_samples

MOST_LINES = 40
# WCS and headers are rounded; a thousandth of the side of an image is less than a pixel
SAME_SCALE = 1e-2


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
    pixel_scale_arcsec: float | None
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
        return samples, Input(path, len(samples), store.pixel_scale_arcsec)
    if not isinstance(path, Path):
        raise DataError(
            f"cannot read images from {path}",
            expected="a .npy file or a lensmill store",
            advice="fetch the file first: only stores are read from S3",
        )
    stack = open_images(path, opened, record.data.image_shape[0], wanted.inside)
    check_shape(record, stack.shape[1:], str(path))
    return stack, Input(path, len(stack), stack.pixel_scale_arcsec, stack.warnings)


def look_at(record: RunRecord, given: Sequence[str | Root], wanted: Wanted) -> list[Input]:
    """All files and stores, folders as the files in them; every one that cannot be used is told."""
    found, faults = [], []
    for path in _spread(given):
        try:
            with ExitStack() as opened:
                found.append(open_input(record, path, wanted, opened)[1])
        except LensmillError as error:
            faults.append((path, error))
    if len(faults) == 1:
        raise faults[0][1]
    if faults:
        raise _together(faults, len(faults) + len(found))
    return found


def _spread(given: Sequence[str | Root]) -> Iterator[Root]:
    for path in map(place, given):
        if isinstance(path, Path) and not (path / PLAN).is_file():
            yield from image_files(path)
        else:
            yield path


def _together(faults: Sequence[tuple[Root, LensmillError]], count: int) -> DataError:
    lines = []
    for path, error in faults[:MOST_LINES]:
        told = error.found if str(path) in error.found else f"{path}: {error.found}"
        lines.append(f"  - {told}")
    if len(faults) > MOST_LINES:
        lines.append(f"  - and {len(faults) - MOST_LINES:,} more")
    expected = {error.expected for _, error in faults}
    return DataError(
        f"{len(faults):,} of {counted(count, 'file')} cannot be used:\n" + "\n".join(lines),
        expected=expected.pop() if len(expected) == 1 else "images that the model was made for",
        advice="mend these files, or leave them out; nothing was predicted",
    )


def remarks(record: RunRecord, inputs: Sequence[Input]) -> Iterator[str]:
    """What is odd: pixels of another size than those of the training, and units of files left out."""
    trained = record.data.pixel_scale_arcsec
    other: dict[str, list[str]] = {}
    for one in inputs:
        here = one.pixel_scale_arcsec
        if here and trained and abs(here / trained - 1) > SAME_SCALE:
            other.setdefault(f"{here:.4g}", []).append(str(one.path))
    for scale, paths in other.items():
        yield f"pixels are {scale} arcsec in {named(paths)} and were {trained:.4g} arcsec in training"
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
    if shape[0] != expected[0]:
        advice = f"give (images, channels, y, x) with these channels: {bands}"
    raise DataError(
        f"images of {' x '.join(map(str, shape))} (channels, y, x)",
        expected=" x ".join(map(str, expected)) + ", as in the training data",
        where=where,
        advice=advice,
    )
