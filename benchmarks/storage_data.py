"""The same images in every form that the reader is compared with."""

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from flows.orders import prepare
from flows.shards import Order
from simulate.render import render
from storage import commit, layout
from storage.layout import Span
from storage.reader import Store, open_store

# Rendered once and repeated: what pixels say does not matter here. Three classes take turns.
RENDERED = 3 * 1024
SHARD = 4096
# What so slow a form needs to be timed.
FILES, TARRED = 8192, 8192


@dataclass(frozen=True)
class Forms:
    """One data set in many forms, and in memory."""

    folder: Path
    images: NDArray[np.float32]
    store: Store
    quantised: Store

    @property
    def npy(self) -> Path:
        """All images in one file."""
        return self.folder / "images.npy"

    @property
    def hdf5(self) -> Path:
        """All images in one contiguous data set."""
        return self.folder / "images.h5"

    @property
    def files(self) -> list[Path]:
        """One .npy per image, for the first of them."""
        return [self.folder / "files" / f"{number:06d}.npy" for number in range(min(FILES, len(self.images)))]

    @property
    def tar(self) -> Path:
        """A tar of .npy files as WebDataset reads it, for the first of the images."""
        return self.folder / "images.tar"


def make_forms(folder: Path, images: int) -> Forms:
    """Write all forms; what was written is in the page cache afterwards, if it fits."""
    stores = {profile: store_of(folder, images, profile) for profile in ("float32", "quantised")}
    values = np.asarray(stores["float32"].read("train", "image"), np.float32)
    forms = Forms(folder, values, stores["float32"], stores["quantised"])
    np.save(forms.npy, values)
    with h5py.File(forms.hdf5, "w") as file:
        file.create_dataset("image", data=values)
    (folder / "files").mkdir()
    for path, image in zip(forms.files, values, strict=False):
        np.save(path, image)
    _write_tar(forms.tar, values[:TARRED])
    return forms


def order_of(folder: Path, images: int, profile: str = "float32") -> Order:
    """Model II, 64 x 64, all of it training data, in eight shards at least."""
    shard = min(SHARD, 1 << max(images // 8, 1).bit_length() - 1)
    options = [f"samples_per_class={images // 3}", "splits={train: 1}", f"storage.profile={profile}"]
    return prepare("model_ii", folder / f"{profile}.zarr", shard, options)


def arrays_of(order: Order) -> Iterator[tuple[Span, dict[str, NDArray[Any]]]]:
    """The arrays of each shard, made of the same few images."""
    count = min(RENDERED, order.recipe.sample_count)
    few = render(order.recipe, np.arange(count)).arrays()
    for span in layout.spans(order.plan):
        ids = layout.sample_ids(order.recipe, span)
        arrays = {name: np.ascontiguousarray(values[ids % count]) for name, values in few.items()}
        yield span, arrays | {"sample_id": ids}


def store_of(folder: Path, images: int, profile: str) -> Store:
    """A finished store of `order_of`."""
    order = order_of(folder, images, profile)
    with commit.writing(order.root):
        commit.begin(order.root, order.recipe, order.plan)
        receipts = [
            commit.write_shard(order.root, order.recipe, order.plan, span, arrays)
            for span, arrays in arrays_of(order)
        ]
        commit.seal(order.root, order.recipe, order.plan, receipts)
    return open_store(order.root)


def _write_tar(path: Path, images: NDArray[np.float32]) -> None:
    with tarfile.open(path, "w") as tar:
        for number, image in enumerate(images):
            content = io.BytesIO()
            np.save(content, image)
            member = tarfile.TarInfo(f"{number:06d}.npy")
            member.size = content.tell()
            content.seek(0)
            tar.addfile(member, content)


def write_by_zarr(folder: Path, order: Order, arrays: dict[str, NDArray[Any]]) -> None:
    """A shard as zarr-python writes it: the same chunks and crc32c, no SHA-256, each file synced."""
    for spec in order.plan.arrays:
        values = arrays[spec.name]
        pixels = spec in order.plan.maps
        rows = layout.chunk_rows(values[0].nbytes, len(values)) if pixels else len(values)
        path = folder / spec.name
        array = zarr.create_array(
            store=path,
            shape=values.shape,
            dtype=values.dtype,
            shards=values.shape,
            chunks=(rows, *values.shape[1:]),
            compressors=[Crc32cCodec()],
            overwrite=True,
            config={"write_empty_chunks": True},
        )
        array[:] = values
        for file in (one for one in path.rglob("*") if one.is_file()):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
