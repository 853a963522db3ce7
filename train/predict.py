"""From a run folder and images to predictions."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from schemas.errors import DataError, RecipeWarning
from storage.files.place import Root, local
from storage.importing.unlabelled import ImageStack, Inside
from train.data import Samples, chunks
from train.images import Pixels
from train.inputs import MOST_LINES, Wanted, check_shape, look_at, open_input, remarks
from train.models.autoencoders import Autoencoder
from train.records.predictions_file import check_place, write_table
from train.records.run_folder import Run, device, load_run

BATCH = 256
# broken images that a message names
MOST_NUMBERS = 20
# Told the number of images; gives what is told how many of them are done.
Bar = Callable[[int], AbstractContextManager[Callable[[int], object]]]


@contextlib.contextmanager
def _no_bar(_: int) -> Iterator[Callable[[int], object]]:
    yield lambda _: None


def predict(
    run: str | Path,
    files: Sequence[str | Root] | str | Root,
    out: str | Path | None = None,
    split: str = "test",
    *,
    dataset: str | None = None,
    hdu: str | None = None,
    skip_bad: bool = False,
    bar: Bar = _no_bar,
) -> pa.Table:
    """A row per image of files, folders of files or stores, with what the model says; written to `out`.

    `run` may be an exported folder as well. `out` ends in .parquet or .csv. Of a store, the images of one
    split are taken; of HDF5 and .npz files the array `dataset`, of FITS files the unit `hdu`. Images with NaN
    are refused, or with `skip_bad` left empty. `bar` is told how many images there are, then how far it is.
    """
    loaded, out = load_run(local(run)), None if out is None else local(out)
    paths = [files] if isinstance(files, str | Root) else files
    if out is not None:
        check_place(out)
    wanted = Wanted(split, Inside(dataset, hdu))
    inputs = look_at(loaded.record, paths, wanted)
    for told in remarks(loaded.record, inputs):
        warnings.warn(told, RecipeWarning, stacklevel=2)
    tables, broken = [], []
    with bar(sum(one.images for one in inputs)) as report:
        before = 0
        for one in inputs:
            with ExitStack() as opened:
                images, _ = open_input(loaded.record, one.path, wanted, opened)
                passed = pass_through(loaded, images, partial(_report_from, report, before))
            broken.append((str(one.path), passed.broken))
            if skip_bad or not len(passed.broken):
                tables.append(_table(loaded, str(one.path), passed, skip_bad))
            before += one.images
    if not skip_bad:
        _refuse_all(broken)
    table = pa.concat_tables(tables)
    if out is not None:
        write_table(table, out)
    return table


def _report_from(report: Callable[[int], object], before: int, done: int) -> None:
    report(before + done)


def _table(run: Run, path: str, passed: "Passed", skip_bad: bool) -> pa.Table:
    """Images with NaN have a fault in place of predictions."""
    count = len(passed.output)
    bad = np.zeros(count, bool)
    bad[passed.broken] = True
    columns: dict[str, Any] = {"file": [path] * count, "image": np.arange(count)}
    if skip_bad:
        columns["fault"] = pa.array(np.where(bad, "NaN or infinity", ""), mask=~bad)
    for name, values in run.objective.predictions(passed.output[~bad]).items():
        whole = np.zeros(count, values.dtype)
        whole[~bad] = values
        columns[name] = pa.array(whole, mask=bad)
    return pa.table(columns)


@dataclass(frozen=True)
class Passed:
    """What the network gave, which images had no finite numbers, and how long it took."""

    output: NDArray[np.float64]
    broken: NDArray[np.int64]
    seconds: float


def outputs(run: Run, images: Pixels | Samples, where: str = "") -> tuple[NDArray[np.float64], float]:
    """What the network gives for each image, and milliseconds per image, without the time of reading.

    Images that the model was not made for, and such with NaN or infinity, are refused.
    """
    check_shape(run.record, images.shape[1:], where)
    prepare(run, (min(len(images), BATCH), *images.shape[1:]))
    passed = pass_through(run, images)
    _refuse(passed.broken, where)
    return passed.output, 1000 * passed.seconds / len(passed.output)


def prepare(run: Run, shape: tuple[int, ...]) -> None:
    """Bring the network to its device; the first call there prepares what later ones use."""
    network = run.network.to(device())
    with torch.inference_mode():
        network(torch.zeros(shape, device=device()))


def pass_through(
    run: Run, images: Pixels | ImageStack | Samples, report: Callable[[int], object] = lambda _: None
) -> Passed:
    """What the network gives for images of its shape, a batch at a time."""
    network = run.network.to(device())
    collected: list[NDArray[np.float32]] = []
    broken: list[NDArray[np.int64]] = []
    seconds, done = 0.0, 0
    with torch.inference_mode():
        for some in chunks(images, BATCH, device()):
            broken.append(done + _broken(some))
            started = time.perf_counter()
            collected.append(network(some).float().cpu().numpy())
            seconds += time.perf_counter() - started
            done += len(some)
            report(done)
    return Passed(np.concatenate(collected).astype(np.float64), np.concatenate(broken), seconds)


def _broken(images: torch.Tensor) -> NDArray[np.int64]:
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    return np.flatnonzero(~finite.cpu().numpy())


def _refuse(broken: NDArray[np.int64], where: str) -> None:
    if len(broken):
        raise DataError(
            _told(broken),
            where=where,
            advice="leave these images out, or put numbers where they have none",
        )


def _refuse_all(broken: Sequence[tuple[str, NDArray[np.int64]]]) -> None:
    """All images of all files that have no finite numbers, in one message."""
    found = [(path, numbers) for path, numbers in broken if len(numbers)]
    if not found:
        return
    lines = [f"{path}: {_told(numbers)}" for path, numbers in found[:MOST_LINES]]
    if len(found) > MOST_LINES:
        lines.append(f"and {len(found) - MOST_LINES:,} more files")
    raise DataError(
        lines[0] if len(lines) == 1 else "in several files:\n" + "\n".join(f"  - {line}" for line in lines),
        expected="finite numbers in all pixels, as float32 can hold them",
        where=", ".join(path for path, _ in found[:3]),
        advice="put numbers where they have none, or predict the other images: --skip-bad",
    )


def _told(broken: NDArray[np.int64]) -> str:
    told = "1 image holds" if len(broken) == 1 else f"{len(broken):,} images hold"
    more = "" if len(broken) == 1 else f"; all: {_numbers(broken)}"
    return f"{told} NaN or infinity (the first is image {broken[0]}{more})"


def _numbers(broken: NDArray[np.int64]) -> str:
    left = len(broken) - MOST_NUMBERS
    told = ", ".join(map(str, broken[:MOST_NUMBERS].tolist()))
    return told + (f" and {left:,} more" if left > 0 else "")


def reconstructions(run: Run, images: Pixels) -> tuple[Pixels, Pixels]:
    """Images as an autoencoder sees them, stretched, and as they come back from it."""
    assert isinstance(run.network, torch.nn.Sequential)
    stretch, network = run.network[0], run.network[1]
    if not isinstance(network, Autoencoder):
        raise DataError(
            f"{run.record.experiment.model.name} reconstructs no images",
            expected="a run of the objective `anomaly`",
            where=str(run.root),
        )
    here = next(network.parameters()).device
    pairs = []
    with torch.inference_mode():
        for one in chunks(images, BATCH, here):
            seen = stretch(one)
            pairs.append((seen.cpu().numpy(), network.reconstruct(seen).float().cpu().numpy()))
    return np.concatenate([seen for seen, _ in pairs]), np.concatenate([back for _, back in pairs])
