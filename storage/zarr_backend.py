"""Zarr format 3: one group per split, four arrays each, sharded, not compressed, every chunk with crc32c.

Shards and metadata are encoded by zarr itself in memory, so the bytes are exactly what any zarr reader
expects, and reach the disk only through `commit`.
"""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from schemas.errors import StoreDamagedError
from schemas.store import ArraySpec, StoredRecipe, StorePlan
from storage.backend import BACKENDS, Arrays
from storage.layout import Span, chunk_rows


class ZarrBackend:
    """Zarr on a local disk."""

    entry = "zarr.json"

    def shard_files(self, plan: StorePlan, span: Span, arrays: Arrays) -> dict[str, bytes]:
        """One file per array."""
        files = {}
        for spec, path in zip(plan.arrays, self.shard_paths(plan, span), strict=True):
            # a store of this shard alone: its first chunk is the shard, whatever its number will be
            memory = MemoryStore()
            array = _create(memory, spec.name, spec, plan, span.rows)
            array[:] = arrays[spec.name]
            files[path] = _content(memory)[_chunk_key(spec, spec.name, 0)]
        return files

    def shard_paths(self, plan: StorePlan, span: Span) -> list[str]:
        """One chunk of each array."""
        return [_chunk_key(spec, f"{span.split}/{spec.name}", span.shard) for spec in plan.arrays]

    def metadata_files(self, plan: StorePlan, recipe: StoredRecipe) -> dict[str, bytes]:
        """All `zarr.json`, the root last: until it is there, no zarr reader takes the folder for a group."""
        memory = MemoryStore()
        root = zarr.create_group(store=memory, attributes=_about(plan, recipe))
        for split in plan.splits:
            root.create_group(split.name)
            for spec in plan.arrays:
                _create(memory, f"{split.name}/{spec.name}", spec, plan, split.rows)
        with warnings.catch_warnings():
            # zarr warns that consolidated metadata is not yet in the specification; xarray asks for it
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(memory)
        files = _content(memory)
        return dict(sorted(files.items(), key=lambda item: -item[0].count("/")))

    def read(self, root: Path, plan: StorePlan, split: str, array: str, rows: slice) -> NDArray[Any]:
        """Rows through zarr-python, which checks every chunk it reads against its crc32c."""
        spec = plan.array(array)
        try:
            group = zarr.open_group(root, mode="r")
            return np.asarray(group[f"{split}/{array}"][rows], dtype=spec.dtype)  # type: ignore[index]
        except (ValueError, KeyError, OSError) as error:
            raise StoreDamagedError(
                f"{split}/{array} of {root} cannot be read: {error}",
                advice="find what is damaged: lensmill verify STORE; mend it with the command that made it",
            ) from error


BACKENDS.register("zarr")(ZarrBackend())


def _create(store: Store, name: str, spec: ArraySpec, plan: StorePlan, rows: int) -> "zarr.Array[Any]":
    shard_rows = plan.shard_rows
    inner = shard_rows
    if spec.name == "image":
        inner = chunk_rows(math.prod(spec.tail) * np.dtype(spec.dtype).itemsize, shard_rows)
    return zarr.create_array(
        store=store,
        name=name,
        shape=(rows, *spec.tail),
        dtype=spec.dtype,
        shards=(shard_rows, *spec.tail),
        chunks=(inner, *spec.tail),
        compressors=[Crc32cCodec()],
        filters=None,
        fill_value=float("nan") if spec.fill == "NaN" else int(spec.fill),
        dimension_names=spec.dimensions,
        attributes=_about_array(plan, spec),
        config={"write_empty_chunks": True},
    )


def _chunk_key(spec: ArraySpec, path: str, shard: int) -> str:
    return "/".join([path, "c", str(shard), *("0" for _ in spec.tail)])


def _content(memory: MemoryStore) -> dict[str, bytes]:
    async def read_all() -> dict[str, bytes]:
        keys = [key async for key in memory.list()]
        buffers = {key: await memory.get(key, default_buffer_prototype()) for key in keys}
        return {key: buffer.to_bytes() for key, buffer in buffers.items() if buffer is not None}

    return sync(read_all())


def _about(plan: StorePlan, recipe: StoredRecipe) -> dict[str, Any]:
    """Attributes of the group, for those who open a store without lensmill."""
    return {
        "title": f"lensmill data set {plan.recipe_name}",
        "lensmill_format": plan.format_version,
        "recipe_digest": recipe.digest,
        "classes": {str(one.label): one.name for one in plan.classes},
        "provenance": plan.provenance.model_dump(mode="json"),
    }


def _about_array(plan: StorePlan, spec: ArraySpec) -> dict[str, Any]:
    if spec.name == "params":
        return {
            "columns": [column.name for column in plan.columns],
            "units": [column.unit for column in plan.columns],
            "descriptions": [column.description for column in plan.columns],
            "labels": [list(column.labels) for column in plan.columns],
        }
    if spec.name == "label":
        return {"classes": {str(one.label): one.name for one in plan.classes}}
    return {}
