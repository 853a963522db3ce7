"""From a run folder and images to predictions."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from schemas.errors import DataError, WriteError
from storage.commit import PLAN
from storage.importing.images import read_picture
from storage.place import Root, local, place
from storage.reader import open_store
from storage.unreadable import reason
from train.data import Samples, chunks, labels_of, load_samples
from train.images import Pixels
from train.models.autoencoders import Autoencoder
from train.run_folder import Run, device, load_run

BATCH = 256


def predict(
    run: str | Path,
    files: Sequence[str | Root] | str | Root,
    out: str | Path | None = None,
    split: str = "test",
) -> pa.Table:
    """A row per image of .npy files or stores, with what the model says; written to `out` if given.

    `out` ends in .parquet or .csv. Of a store, the images of one split are taken.
    """
    loaded, out = load_run(local(run)), None if out is None else local(out)
    paths = [files] if isinstance(files, str | Root) else files
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise WriteError(f"cannot write {out}", expected="a path ending in .parquet or .csv")
    tables = [_table(loaded, place(path), split) for path in paths]
    table = pa.concat_tables(tables)
    if out is not None:
        _write(table, out)
    return table


def _table(run: Run, path: Root, split: str) -> pa.Table:
    images = read_images(path, split)
    output, _ = outputs(run, images, str(path))
    columns = {"file": [str(path)] * len(images), "image": np.arange(len(images))}
    return pa.table(columns | run.objective.predictions(output))


def read_images(path: Root, split: str) -> Pixels | Samples:
    """Images (N, channels, y, x) of a .npy file, or the samples of one split of a store, to be streamed."""
    if (path / PLAN).is_file():
        store = open_store(path)
        return load_samples(store, split, labels_of(store, None))
    if not isinstance(path, Path) or path.suffix != ".npy":
        raise DataError(
            f"cannot read images from {path}",
            expected="a .npy file or a lensmill store",
            advice="make a store of what else you have: `lensmill import SOURCE --out STORE`",
        )
    images = _read_npy(path)
    if images.dtype.kind not in "fiu" or images.ndim not in (2, 3, 4) or not images.size:
        raise DataError(
            f"{path} holds {images.dtype} of shape {images.shape}",
            expected="real numbers of shape (y, x), (images, y, x) or (images, channels, y, x)",
        )
    shape = {2: (1, 1, *images.shape), 3: (len(images), 1, *images.shape[1:]), 4: images.shape}[images.ndim]
    # what came out of a pickle cannot be written, which torch takes amiss
    return np.require(images.reshape(shape), np.float32, ["C", "W"])


def _read_npy(path: Path) -> NDArray[Any]:
    """The array in a file; an image with its mass beside it, as DeepLense keeps them, is a stack of one."""
    try:
        with path.open("rb") as file:
            found = read_picture(file, path.stat().st_size)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {path}: {reason(error)}",
            expected="a .npy file of plain numbers, or of an image and its mass",
            where=str(path),
            advice=getattr(error, "advice", "") or "fetch or make the file again",
        ) from error
    return found.values if found.mass is None else found.values[None]


def check_shape(run: Run, shape: tuple[int, ...], where: str) -> None:
    """Refuse images (channels, y, x) that the model was not made for."""
    expected = run.record.data.image_shape
    if shape != expected:
        bands = ", ".join(run.record.data.bands) or "those of the training data"
        advice = "cut or bin them to that size, or train a model on images of theirs"
        if shape[0] != expected[0]:
            advice = f"give (images, channels, y, x) with these channels: {bands}"
        raise DataError(
            f"images of {' x '.join(map(str, shape))} (channels, y, x)",
            expected=" x ".join(map(str, expected)) + ", as in the training data",
            where=where,
            advice=advice,
        )


def outputs(run: Run, images: Pixels | Samples, where: str = "") -> tuple[NDArray[np.float64], float]:
    """What the network gives for each image, and milliseconds per image, without the time of reading.

    Images that the model was not made for, and such with NaN or infinity, are refused.
    """
    check_shape(run, images.shape[1:], where)
    network = run.network.to(device())
    collected: list[NDArray[np.float32]] = []
    broken: list[NDArray[np.int64]] = []
    seconds, done = 0.0, 0
    with torch.inference_mode():
        for some in chunks(images, BATCH, device()):
            if not done:
                # the first call prepares what later ones use
                network(some)
            broken.append(done + _broken(some))
            started = time.perf_counter()
            collected.append(network(some).float().cpu().numpy())
            seconds += time.perf_counter() - started
            done += len(some)
    _refuse(np.concatenate(broken), where)
    return np.concatenate(collected).astype(np.float64), 1000 * seconds / done


def _broken(images: torch.Tensor) -> NDArray[np.int64]:
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    return np.flatnonzero(~finite.cpu().numpy())


def _refuse(broken: NDArray[np.int64], where: str) -> None:
    if len(broken):
        told = "1 image holds" if len(broken) == 1 else f"{len(broken):,} images hold"
        raise DataError(
            f"{told} NaN or infinity (the first is image {broken[0]})",
            where=where,
            advice="leave these images out, or put numbers where they have none",
        )


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


def _write(table: pa.Table, out: Path) -> None:
    whole = out.with_name(f".{out.name}.partial")
    try:
        if out.suffix == ".csv":
            pa_csv.write_csv(table, whole)
        else:
            pq.write_table(table, whole)
        whole.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            whole.unlink(missing_ok=True)
        raise WriteError(f"cannot write {out}: {error}") from error
