"""What is timed: batches of our readers, and of others, from the same images."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.rounds import Contestant
from benchmarks.storage_data import TARRED, Forms, arrays_of, order_of, write_by_zarr
from storage import commit
from storage.reading.epochs import Batching
from storage.reading.resident import Resident, open_rows
from storage.reading.streaming import Streamed

BATCH = 256
WEBDATASET = "WebDataset, shuffle buffer of 1000"
# images of a timing, where all of them would take too long
FEW = {
    "zarr-python, random": 512,
    "h5py, random": 4096,
    "one file per image, random": 8192,
    WEBDATASET: TARRED,
}
MISSING = [] if importlib.util.find_spec("webdataset") else [WEBDATASET]
Run = Callable[[int], object]


def contestants(forms: Forms) -> list[Contestant]:
    """Everyone, memory first."""
    many = len(forms.images)
    runs = {"memory": _memory(forms), **_ours(forms), **_others(forms), **_in_order(forms)}
    written = order_of(forms.folder / "written", many)
    writers = _writers(forms.folder, many)
    everyone = [Contestant(name, run, images=min(FEW.get(name, many), many)) for name, run in runs.items()]
    return [
        *everyone,
        *(Contestant(name, run, images=written.plan.shard_rows) for name, run in writers.items()),
    ]


def _order(forms: Forms) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(len(forms.images))


def _memory(forms: Forms) -> Run:
    order, batch = _order(forms), np.empty((BATCH, *forms.images.shape[1:]), np.float32)

    def run(images: int) -> None:
        for first in range(0, images, BATCH):
            rows = order[first : first + BATCH]
            # without `clip` numpy copies twice
            np.take(forms.images, rows, axis=0, out=batch[: len(rows)], mode="clip")

    return run


def _epochs(source: Resident | Streamed, shuffle: bool = True) -> Run:
    """One epoch, of which each batch is written into the same memory."""
    batching = Batching(batch=BATCH, shuffle=shuffle)
    batch = {one.name: np.empty((BATCH, *one.tail), one.dtype) for one in source.fields}
    epoch = iter(range(1 << 30))

    def run(_: int) -> None:
        for _ in source.epoch(batching, next(epoch), into=[batch]):
            pass

    return run


def _random(source: Streamed | Resident, order: NDArray[np.int64]) -> Run:
    batch = {one.name: np.empty((BATCH, *one.tail), one.dtype) for one in source.fields}

    def run(images: int) -> None:
        for first in range(0, images, BATCH):
            source.take(order[first : first + BATCH], batch)

    return run


def _ours(forms: Forms) -> dict[str, Run]:
    def streamed(store: Any = forms.store, **options: Any) -> Resident | Streamed:
        return open_rows(store, names=("image",), mode="streamed", **options)

    return {
        "resident": _epochs(open_rows(forms.store, names=("image",), mode="resident")),
        "quantised, shards mixed": _epochs(streamed(forms.quantised, codes=True)),
        "quantised, shards mixed, decoded": _epochs(streamed(forms.quantised)),
        "quantised, shards mixed, whole reads": _epochs(streamed(forms.quantised, codes=True, way="read")),
        "float32, shards mixed": _epochs(streamed()),
        "float32, shards mixed, checked": _epochs(streamed(checked=True)),
        "float32, shards mixed, whole reads": _epochs(streamed(way="read")),
        "float32, shards mixed, whole reads, checked": _epochs(streamed(way="read", checked=True)),
        "random batches": _random(streamed(), _order(forms)),
        "in order": _epochs(streamed(), shuffle=False),
    }


def _others(forms: Forms) -> dict[str, Run]:
    order = _order(forms)
    mapped = np.load(forms.npy, mmap_mode="r")
    by_zarr = zarr.open_group(forms.store.root, mode="r")["train/image"]
    by_h5py = h5py.File(forms.hdf5, "r")["image"]

    def batches(gather: Callable[[NDArray[np.int64]], object], most: int | None = None) -> Run:
        chosen = order if most is None else order[order < most]

        def run(images: int) -> None:
            for first in range(0, images, BATCH):
                gather(chosen[first : min(first + BATCH, images)])

        return run

    files = forms.files
    found = {
        "npy memmap, random": batches(lambda rows: mapped[rows]),
        # h5py takes rows in rising order alone
        "h5py, random": batches(lambda rows: by_h5py[np.sort(rows)]),
        "zarr-python, random": batches(lambda rows: by_zarr.oindex[rows]),  # type: ignore[union-attr]
        "one file per image, random": batches(
            lambda rows: np.stack([np.load(files[row]) for row in rows.tolist()]), len(files)
        ),
    }
    return found if MISSING else found | {WEBDATASET: _webdataset(forms.tar)}


def _webdataset(tar: Path) -> Run:
    import webdataset

    def run(_: int) -> None:
        samples = webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
        for _ in samples.shuffle(1000).decode().to_tuple("npy").batched(BATCH):
            pass

    return run


def _in_order(forms: Forms) -> dict[str, Run]:
    mapped = np.load(forms.npy, mmap_mode="r")
    by_h5py = h5py.File(forms.hdf5, "r")["image"]
    by_zarr = zarr.open_group(forms.store.root, mode="r")["train/image"]
    batch = np.empty((BATCH, *forms.images.shape[1:]), np.float32)

    def slices(array: Any) -> Run:
        def run(images: int) -> None:
            for first in range(0, images, BATCH):
                stop = min(first + BATCH, images)
                batch[: stop - first] = array[first:stop]

        return run

    return {
        "npy memmap, in order": slices(mapped),
        "h5py, in order": slices(by_h5py),
        "zarr-python, in order": slices(by_zarr),
    }


def _writers(folder: Path, images: int) -> dict[str, Run]:
    """One full shard each, synced by both; ours is checked against the specification and hashed, too."""
    order = order_of(folder / "written", images)
    span, arrays = next(arrays_of(order))
    commit.begin(order.root, order.recipe, order.plan)
    return {
        "written": lambda _: commit.write_shard(order.root, order.recipe, order.plan, span, arrays),
        "written by zarr-python": lambda _: write_by_zarr(folder / "by_zarr", order, arrays),
    }
