"""A split of a store as numpy, xarray and dask know arrays, for notebooks; values are decoded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from schemas.products import MAPS
from schemas.registry import unknown_name
from schemas.selection import Selection
from schemas.store import ArraySpec
from storage.reader import Store
from storage.reading.selection import Rows, Selected
from storage.reading.streaming import Streamed, checked_rows

if TYPE_CHECKING:
    import dask.array
    import xarray


class ArrayView:
    """One array of a split that is read when it is indexed: by a slice, a number, an array of rows or a mask.

    Further indices apply to the rows that were read. `numpy.asarray` reads all of it.
    """

    def __init__(self, store: Store, split: str, array: str) -> None:
        self.store = store
        self.split = split
        self.spec = _spec(store, split, array)
        self.shape = (store.plan.rows_of(split), *self.spec.tail)
        self.dtype = np.dtype(self.spec.dtype)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        first, *further = index if isinstance(index, tuple) else (index,)
        found = self._rows(first)
        # a number takes its dimension away, anything else leaves it to the samples
        ahead = 0 if isinstance(first, int | np.integer) else slice(None)
        return found[(ahead, *further)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("an array of a store is always copied when it is read")
        return np.asarray(self[:], dtype=dtype)

    def __repr__(self) -> str:
        return f"<{self.split}/{self.spec.name} of {self.store.root}: {self.dtype} {self.shape}>"

    def _rows(self, index: Any) -> NDArray[Any]:
        if index is Ellipsis:
            index = slice(None)
        if isinstance(index, slice):
            if (index.step or 1) == 1:
                return self.store.read(self.split, self.spec.name, index)
            return self._gather(np.arange(*index.indices(len(self))))
        rows = np.asarray(index)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise IndexError(f"a mask of shape {rows.shape} for {len(self):,} rows")
            rows = np.flatnonzero(rows)
        rows = np.atleast_1d(rows)
        return self._gather(np.where(rows < 0, rows + len(self), rows) if rows.size else rows.astype(int))

    def _gather(self, rows: Rows) -> NDArray[Any]:
        everything = Selected(Selection(split=self.split), np.arange(len(self)), {})  # type: ignore[arg-type]
        rows = checked_rows(rows, len(self))
        return Streamed(self.store, everything, (self.spec.name,)).take(rows)[self.spec.name]


def _spec(store: Store, split: str, array: str) -> ArraySpec:
    splits = [one.name for one in store.plan.splits]
    if split not in splits:
        raise unknown_name("split", split, list(splits))
    specs = {spec.name: spec for spec in store.plan.decoded}
    if array not in specs:
        raise unknown_name("array", array, list(specs))
    return specs[array]


def numpy_view(store: Store, split: str, array: str = "image") -> ArrayView:
    """An array of a split that reads what it is indexed with."""
    return ArrayView(store, split, array)


def dask_view(store: Store, split: str, array: str = "image") -> "dask.array.Array":
    """An array of a split as a dask array of one block a shard, read and decoded when it is computed."""
    import dask.array

    view = ArrayView(store, split, array)
    shard = (min(store.plan.shard_rows, max(len(view), 1)), *view.spec.tail)
    # the digest and not the path: a store that was made again elsewhere has the same values
    name = f"{split}-{array}-{store.plan.profile}-{store.stored.digest[:16]}"
    blocks = dask.array.from_array(view, chunks=shard, name=name, asarray=False, fancy=False)  # type: ignore[no-untyped-call]
    return cast("dask.array.Array", blocks)


def xarray_view(store: Store, split: str, arrays: Sequence[str] | None = None) -> "xarray.Dataset":
    """A split as a data set with named dimensions: maps as dask arrays, the rest read now.

    `sample_id` and `class_name` are coordinates of the samples, `column` names the parameters.
    """
    import xarray

    plan = store.plan
    names = arrays or [spec.name for spec in plan.decoded if spec.name != "sample_id"]
    variables = {name: _variable(store, _spec(store, split, name), split) for name in names}
    classes = {one.label: one.name for one in plan.classes}
    label = np.asarray(store.read(split, "label"))
    coordinates: dict[str, Any] = {
        "sample_id": ("sample", store.read(split, "sample_id")),
        "class_name": ("sample", np.array([classes[one] for one in label.tolist()])),
    }
    if "params" in variables:
        columns = plan.columns
        coordinates["column"] = [one.name for one in columns]
        coordinates["unit"] = ("column", [one.unit for one in columns])
        coordinates["description"] = ("column", [one.description for one in columns])
    bands = store.origin.band_names
    if bands:
        coordinates["channel"] = list(bands)
    about = {"recipe": plan.recipe_name, "recipe_digest": store.stored.digest, "split": split}
    return xarray.Dataset(variables, coordinates, about)


def _variable(store: Store, spec: ArraySpec, split: str) -> tuple[tuple[str, ...], Any, dict[str, Any]]:
    values = dask_view(store, split, spec.name) if spec.dimensions[-2:] == ("y", "x") else None
    about: dict[str, Any] = {}
    if spec.name in MAPS:
        about = {"units": MAPS[spec.name].unit, "description": MAPS[spec.name].description}
    if spec.name == "label":
        about = {
            "flag_values": [one.label for one in store.plan.classes],
            "flag_meanings": " ".join(one.name for one in store.plan.classes),
        }
    return spec.dimensions, store.read(split, spec.name) if values is None else values, about
