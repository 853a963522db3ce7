"""Small sources in other people's forms, and what becomes of them when they are imported."""

import csv
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.importing import import_data
from schemas.errors import DataError
from schemas.imported import ImportOptions, ImportReport
from storage.reader import Store, open_store
from storage.verify import verify

SIDE = 12
CLASSES = {"axion": 10, "cdm": 20, "no_sub": 20}
MASSES = 10.0 ** np.linspace(-24, -22, 10)


def images(count: int, seed: int = 0, side: int = SIDE) -> NDArray[np.float64]:
    """Different images."""
    return np.random.default_rng(seed).normal(1.0, 0.3, (count, side, side))


def with_mass(image: NDArray[Any], mass: Any) -> NDArray[np.object_]:
    """An image and its mass as DeepLense keeps them."""
    both = np.empty(2, dtype=object)
    both[:] = [image, mass]
    return both


def save_objects(path: Path, array: NDArray[np.object_], protocol: int) -> None:
    """What `np.save` writes of an object array, in any protocol of pickle."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, file, protocol=protocol)


def folders(root: Path, classes: Mapping[str, int] = CLASSES, seed: int = 0) -> Path:
    """Classes as folders, one .npy per image; `axion` holds image and mass."""
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for at, image in enumerate(images(count, 100 * seed + number)):
            mass = 10.0 ** (-24 + 2 * at / count)
            content = with_mass(image, mass) if name == "axion" else image
            np.save(root / name / f"{at:03d}.npy", content, allow_pickle=True)
    return root


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """A table."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def imported(source: Path, out: Path, **options: Any) -> Store:
    """A source as a verified store of small shards."""
    import_data(source, out, ImportOptions(**({"shard_images": 8} | options)), quiet=True)
    assert verify(out).faults == ()
    return open_store(out)


def refused(source: Path, **options: Any) -> list[str]:
    """What a refusal says, line by line; nothing was written."""
    out = source.parent / "refused.zarr"
    with pytest.raises(DataError) as caught:
        import_data(source, out, ImportOptions(**options), quiet=True)
    assert not out.exists()
    return str(caught.value).splitlines()


def warned(source: Path, **options: Any) -> tuple[str, ...]:
    """The warnings of a dry run."""
    told: list[ImportReport] = []
    out = source.parent / "dry.zarr"
    assert (
        import_data(source, out, ImportOptions(**options), dry_run=True, quiet=True, told=told.append) is None
    )
    assert not out.exists()
    return told[0].warnings


def by_sample(store: Store, array: str = "image") -> dict[int, Any]:
    """Rows by the number of their sample."""
    found = {}
    for split in store.plan.splits:
        ids, rows = store.read(split.name, "sample_id"), store.read(split.name, array)
        found |= dict(zip(ids.tolist(), rows, strict=True))
    return dict(sorted(found.items()))
