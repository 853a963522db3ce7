"""HDF5: one file per shard, arrays contiguous in it, and `data.h5`, which shows all shards as one.

Files are made in memory, since HDF5 on a full disk ends the process, and reach the disk only by `commit`.
Of a contiguous file HDF5 makes only what is around the arrays; their bytes go to the disk as they are.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreConflictError, StoreDamagedError
from schemas.store import ArraySpec, StoredRecipe, StorePlan
from storage.backend import BACKENDS, Arrays, ShardFiles, read_by_shards
from storage.files.durable import READ_BYTES, Part
from storage.files.place import Root
from storage.layout import Span, chunk_rows, row_bytes, span_of
from storage.shards import attributes
from storage.shards.shard_file import ShardFile, ShardLayout

# What HDF5 1.10 reads, the first with virtual data sets; the library's own choice changes with its version.
FORMAT = ("v108", "v110")
# Data sets begin where a number of any size may lie.
ALIGNMENT = {"alignment_threshold": 512, "alignment_interval": 64}
GZIP_LEVEL = 4


class Hdf5Backend:
    """HDF5 on a local disk."""

    entry = "data.h5"

    def packages(self, profile: str) -> list[str]:  # noqa: ARG002 - of one protocol
        """The library that makes the files."""
        return ["h5py"]

    def shard_files(self, plan: StorePlan, span: Span, arrays: Arrays) -> ShardFiles:
        """One file with all arrays."""
        (path,) = self.shard_paths(plan, span)
        if plan.profile == "archive":
            return {path: _compressed(plan, span.rows, arrays)}
        return {path: _contiguous(plan, span.rows, arrays)}

    def shard_paths(self, plan: StorePlan, span: Span) -> list[str]:  # noqa: ARG002 - of one protocol
        """The one file of a shard."""
        return [_path(span)]

    def metadata_files(self, plan: StorePlan, recipe: StoredRecipe) -> dict[str, bytes]:
        """The file that shows every array as one, by the relative paths of its shards."""
        into = io.BytesIO()
        with h5py.File(into, "w", libver=FORMAT, **ALIGNMENT) as file:
            _describe(file, attributes.of_store(plan, recipe))
            for split in plan.splits:
                group = file.create_group(split.name)
                for spec in plan.arrays:
                    _show(group, plan, spec, split.name, recipe.recipe.band_names)
        return {self.entry: into.getvalue()}

    def read(self, root: Root, plan: StorePlan, split: str, array: str, rows: slice) -> NDArray[Any]:
        """Rows of an array, mapped where they are contiguous."""
        return read_by_shards(self, root, plan, split, array, rows)

    def read_shard(
        self, root: Root, plan: StorePlan, span: Span, array: str, rows: slice = slice(None)
    ) -> NDArray[Any]:
        """Rows of one array of one shard."""
        shard, spec = self.shard(root, plan, span, array), plan.array(array)
        first, stop, _ = rows.indices(span.rows)
        found = np.empty((stop - first, *spec.tail), spec.dtype)
        if shard:
            shard.copy(first, found)
            return found
        path = _on_disk(root, span)
        with _opened(path, spec, span) as dataset:
            dataset.read_direct(found, np.s_[first:stop])
        return found

    def shard(self, root: Root, plan: StorePlan, span: Span, array: str) -> ShardFile | None:
        """The part of the shard's file that holds the array."""
        spec, path = plan.array(array), _on_disk(root, span)
        with _opened(path, spec, span) as dataset:
            start = None if dataset.chunks else dataset.id.get_offset()
        if start is None:
            return None
        layout = ShardLayout(np.dtype(spec.dtype), span.rows, span.rows, spec.tail, checksum_bytes=0)
        return ShardFile.at(path, layout, start)


BACKENDS.register("hdf5")(Hdf5Backend())


def _path(span: Span) -> str:
    return f"{span.split}/{span.shard:06d}.h5"


def _on_disk(root: Root, span: Span) -> Path:
    """A shard's file. HDF5 reads here and there in a file, which takes a request each over a network."""
    if not isinstance(root, Path):
        raise StoreConflictError(
            f"the HDF5 store at {root} cannot be read where it is",
            expected="a folder on a disk; on S3 stores are Zarr",
            advice="copy it to a disk, or convert it there and copy that: lensmill convert STORE --to zarr",
        )
    return root / _path(span)


def _contiguous(plan: StorePlan, rows: int, arrays: Arrays) -> Iterator[Part]:
    """The file of a shard part by part; arrays are not copied."""
    about = {spec.name: attributes.of_array(plan, spec) for spec in plan.arrays}
    for part in _frame(plan.arrays, rows, json.dumps(about)):
        if isinstance(part, bytes):
            yield part
            continue
        values = np.ascontiguousarray(arrays[part], dtype=plan.array(part).dtype)
        content = values.reshape(-1).view(np.uint8)
        for first in range(0, len(content), READ_BYTES):
            yield content[first : first + READ_BYTES]


@lru_cache(maxsize=8)
def _frame(specs: tuple[ArraySpec, ...], rows: int, about: str) -> tuple[bytes | str, ...]:
    """A file of so many rows as HDF5 makes it: its bytes, and the names of arrays where their bytes go."""
    into, places = io.BytesIO(), {}
    with h5py.File(into, "w", libver=FORMAT, **ALIGNMENT) as file:
        for spec in specs:
            dataset = _reserve(file, spec, rows)
            _describe(dataset, json.loads(about)[spec.name])
            places[dataset.id.get_offset()] = spec
    content, parts, end = into.getbuffer(), [], 0
    for offset, spec in sorted(places.items(), key=lambda item: item[0]):
        parts += [bytes(content[end:offset]), spec.name]
        end = offset + rows * row_bytes(spec)
    # what was reserved last is part of the file, though nothing was written there
    return tuple(part for part in (*parts, bytes(content[end:])) if part)


def _reserve(file: h5py.File, spec: ArraySpec, rows: int) -> h5py.Dataset:
    """A contiguous data set whose place in the file is fixed and whose values are not written."""
    how = _properties(spec)
    how.set_layout(h5py.h5d.CONTIGUOUS)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return _created(file, spec, rows, how)


def _properties(spec: ArraySpec) -> h5py.h5p.PropDCID:
    """With the fill value, and without the times that would make every file another."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_fill_value(_fill_value(spec))
    how.set_obj_track_times(False)
    return how


def _created(group: h5py.Group, spec: ArraySpec, rows: int, how: h5py.h5p.PropDCID) -> h5py.Dataset:
    space = h5py.h5s.create_simple((rows, *spec.tail))
    dtype = h5py.h5t.py_create(_little(spec))
    dataset = h5py.Dataset(h5py.h5d.create(group.id, spec.name.encode(), dtype, space, how))
    for dimension, name in zip(dataset.dims, spec.dimensions, strict=True):
        dimension.label = name
    return dataset


def _compressed(plan: StorePlan, rows: int, arrays: Arrays) -> bytes:
    """The file of a shard with its maps in chunks: shuffled, by gzip, with checksums."""
    into = io.BytesIO()
    with h5py.File(into, "w", libver=FORMAT, **ALIGNMENT) as file:
        for spec in plan.arrays:
            how = _properties(spec)
            if spec in plan.maps:
                chunk = min(chunk_rows(row_bytes(spec), plan.shard_rows), rows)
                how.set_chunk((chunk, *spec.tail))
                how.set_shuffle()
                how.set_deflate(GZIP_LEVEL)
                how.set_fletcher32()
            dataset = _created(file, spec, rows, how)
            dataset[...] = arrays[spec.name]
            _describe(dataset, attributes.of_array(plan, spec))
    return into.getvalue()


def _show(group: h5py.Group, plan: StorePlan, spec: ArraySpec, split: str, bands: tuple[str, ...]) -> None:
    """An array of a split as one, lying on the shards; a lost shard reads as fill."""
    rows, how = plan.rows_of(split), _properties(spec)
    for first in range(0, rows, plan.shard_rows):
        span = span_of(plan, split, first)
        whole, part = (h5py.h5s.create_simple((count, *spec.tail)) for count in (rows, span.rows))
        whole.select_hyperslab((first, *(0 for _ in spec.tail)), (span.rows, *spec.tail))
        how.set_virtual(whole, _path(span).encode(), spec.name.encode(), part)
    _describe(_created(group, spec, rows, how), attributes.of_array(plan, spec, bands))


def _little(spec: ArraySpec) -> "np.dtype[Any]":
    return np.dtype(spec.dtype).newbyteorder("<")


def _fill_value(spec: ArraySpec) -> NDArray[Any]:
    return np.array(float("nan") if spec.fill == "NaN" else int(spec.fill), _little(spec))


def _describe(what: h5py.Group | h5py.Dataset, about: dict[str, Any]) -> None:
    """Texts, numbers and lists of texts as they are, everything else, which HDF5 has no form for, as JSON."""
    for name, value in about.items():
        plain = isinstance(value, str | int) or (
            isinstance(value, list) and all(isinstance(one, str) for one in value)
        )
        what.attrs[name] = value if plain else json.dumps(value)


@contextlib.contextmanager
def _opened(path: Path, spec: ArraySpec, span: Span) -> Iterator[h5py.Dataset]:
    """The data set of an array in a shard's file, if it is what the plan says."""
    try:
        # by a file object: HDF5's own driver locks, and refuses what the process has open in another way
        with path.open("rb") as content, h5py.File(content, "r") as file:
            yield _checked(path, file.get(spec.name), spec, span)
    except OSError as error:
        raise _damaged(path, str(error)) from error


def _checked(path: Path, dataset: Any, spec: ArraySpec, span: Span) -> h5py.Dataset:
    shape = (span.rows, *spec.tail)
    if not isinstance(dataset, h5py.Dataset) or (dataset.shape, dataset.dtype) != (shape, spec.dtype):
        raise _damaged(path, f"{spec.name} in it is {dataset}, expected {spec.dtype}{shape}")
    return dataset


def _damaged(path: Path, what: str) -> StoreDamagedError:
    return StoreDamagedError(
        f"the shard {path} is damaged: {what}",
        advice="find what is damaged: lensmill verify STORE; mend it: lensmill repair STORE",
    )
