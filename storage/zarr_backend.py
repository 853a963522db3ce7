"""Zarr format 3: one group per split, sharded arrays, every chunk with crc32c, compressed in archives alone.

Metadata are encoded by zarr itself in memory, shards by `shard_file`, which a test holds to zarr's own bytes.
They reach the disk only through `commit`.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.blosc import Blosc
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from schemas.errors import StoreDamagedError
from schemas.store import ArraySpec, StoredRecipe, StorePlan
from storage.backend import BACKENDS, Arrays, ShardFiles, read_by_shards
from storage.files.object_path import ObjectPath
from storage.files.place import Root
from storage.layout import Span, chunk_rows
from storage.shards import attributes
from storage.shards.compressed_shard import read_rows
from storage.shards.shard_file import Bytes, ShardFile, ShardLayout, encode
from storage.shards.sharded_array import ShardedArray

# Of maps in archives: codes of 16 bits.
CODEC = BloscCodec(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle")
BLOSC = Blosc("lz4", clevel=5, shuffle=Blosc.BITSHUFFLE)


class ZarrBackend:
    """Zarr on a disk or on S3."""

    entry = "zarr.json"

    def packages(self, profile: str) -> list[str]:
        """The compressor; everything else is encoded here."""
        return ["numcodecs"] if profile == "archive" else []

    def shard_files(self, plan: StorePlan, span: Span, arrays: Arrays) -> ShardFiles:
        """One file per array."""
        return {
            path: encode(_layout(spec, plan), _fill(spec), arrays[spec.name], _compression(spec, plan))
            for spec, path in zip(plan.arrays, self.shard_paths(plan, span), strict=True)
        }

    def shard_paths(self, plan: StorePlan, span: Span) -> list[str]:
        """One chunk of each array."""
        return [
            "/".join([span.split, spec.name, "c", str(span.shard), *("0" for _ in spec.tail)])
            for spec in plan.arrays
        ]

    def metadata_files(self, plan: StorePlan, recipe: StoredRecipe) -> dict[str, bytes]:
        """All `zarr.json`, the root last: until it is there, no zarr reader takes the folder for a group."""
        memory = MemoryStore()
        root = zarr.create_group(store=memory, attributes=attributes.of_store(plan, recipe))
        for split in plan.splits:
            root.create_group(split.name)
            for spec in plan.arrays:
                _create(memory, f"{split.name}/{spec.name}", spec, plan, split.rows, recipe)
        with warnings.catch_warnings():
            # zarr warns that consolidated metadata is not yet in the specification; xarray asks for it
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(memory)
        files = _content(memory)
        return dict(sorted(files.items(), key=lambda item: -item[0].count("/")))

    def read(self, root: Root, plan: StorePlan, split: str, array: str, rows: slice) -> NDArray[Any]:
        """Rows, every chunk that is touched checked against its crc32c."""
        spec = plan.array(array)
        # zarr takes no steps backwards
        if _compression(spec, plan) or (rows.step or 1) < 0:
            return read_by_shards(self, root, plan, split, array, rows)
        own = ShardedArray.open(root / split / array)
        found = own.read(rows) if own else None
        if found is not None:
            return found
        try:
            group = zarr.open_group(_for_zarr(root), mode="r")
            return np.asarray(group[f"{split}/{array}"][rows], dtype=spec.dtype)  # type: ignore[index]
        except (ValueError, KeyError, OSError) as error:
            raise StoreDamagedError(
                f"{split}/{array} of {root} cannot be read: {error}",
                advice="find what is damaged: lensmill verify STORE; mend it: lensmill repair STORE",
            ) from error

    def read_shard(
        self, root: Root, plan: StorePlan, span: Span, array: str, rows: slice = slice(None)
    ) -> NDArray[Any]:
        """Rows of one array of one shard, every chunk that is touched checked against its crc32c."""
        spec = plan.array(array)
        first, stop, _ = rows.indices(span.rows)
        found = np.empty((stop - first, *spec.tail), spec.dtype)
        shard = self.shard(root, plan, span, array)
        if shard:
            shard.copy(first, found)
        elif _compression(spec, plan):
            read_rows(
                root / self._shard_path(plan, span, spec), _layout(spec, plan), _decompress, first, found
            )
        else:
            found[:] = self.read(
                root, plan, span.split, array, slice(span.first_row + first, span.first_row + stop)
            )
        return found

    def shard(self, root: Root, plan: StorePlan, span: Span, array: str) -> ShardFile | None:
        """The file of the shard, if its chunks follow each other at equal distances."""
        spec = plan.array(array)
        if _compression(spec, plan):
            return None
        return ShardFile.open(root / self._shard_path(plan, span, spec), _layout(spec, plan))

    def _shard_path(self, plan: StorePlan, span: Span, spec: ArraySpec) -> str:
        return self.shard_paths(plan, span)[plan.arrays.index(spec)]


BACKENDS.register("zarr")(ZarrBackend())


def _for_zarr(root: Root) -> Path | Store:
    """A place as zarr-python takes it."""
    if not isinstance(root, ObjectPath):
        return root
    from zarr.storage import ObjectStore

    return ObjectStore(root.prefixed_client(), read_only=True)


def _create(
    store: Store, name: str, spec: ArraySpec, plan: StorePlan, rows: int, recipe: StoredRecipe
) -> "zarr.Array[Any]":
    layout = _layout(spec, plan)
    return zarr.create_array(
        store=store,
        name=name,
        shape=(rows, *spec.tail),
        dtype=spec.dtype,
        shards=(layout.shard_rows, *spec.tail),
        chunks=(layout.chunk_rows, *spec.tail),
        compressors=[*([CODEC] if _compression(spec, plan) else []), Crc32cCodec()],
        filters=None,
        fill_value=_fill(spec),
        dimension_names=spec.dimensions,
        attributes=attributes.of_array(plan, spec, recipe.recipe.band_names),
        config={"write_empty_chunks": True},
    )


def _compression(spec: ArraySpec, plan: StorePlan) -> Callable[[Bytes], bytes] | None:
    """Maps of an archive are compressed, the small arrays never."""
    return _compress if plan.profile == "archive" and spec in plan.maps else None


def _compress(chunk: Bytes) -> bytes:
    """What `CODEC` makes of it."""
    # numcodecs takes the size of what is shuffled from the array
    return bytes(BLOSC.encode(chunk.view(np.uint16)))


def _decompress(chunk: bytes) -> bytes:
    return bytes(BLOSC.decode(chunk))


def _layout(spec: ArraySpec, plan: StorePlan) -> ShardLayout:
    """Images and other maps stand in chunks of a read's size, the small arrays in one chunk a shard."""
    layout = ShardLayout(np.dtype(spec.dtype), plan.shard_rows, plan.shard_rows, spec.tail)
    if spec in plan.maps:
        return replace(layout, chunk_rows=chunk_rows(layout.row_bytes, plan.shard_rows))
    return layout


def _fill(spec: ArraySpec) -> float:
    return float("nan") if spec.fill == "NaN" else int(spec.fill)


def _content(memory: MemoryStore) -> dict[str, bytes]:
    async def read_all() -> dict[str, bytes]:
        keys = [key async for key in memory.list()]
        buffers = {key: await memory.get(key, default_buffer_prototype()) for key in keys}
        return {key: buffer.to_bytes() for key, buffer in buffers.items() if buffer is not None}

    return sync(read_all())
