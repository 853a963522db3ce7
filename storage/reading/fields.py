"""What a batch holds: arrays of a store and columns of its parameters, by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from schemas.registry import unknown_name
from schemas.store import SCALE, StorePlan

Buffers = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Field:
    """One array of a batch, and the array of the store that it is taken from."""

    name: str
    array: str
    dtype: "np.dtype[Any]"
    tail: tuple[int, ...]
    # of params: which of how many columns
    column: int | None = None
    columns: int = 0
    decoded: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of the batch."""
        return int(np.prod(self.tail, dtype=np.int64)) * self.dtype.itemsize


def fields_of(plan: StorePlan, names: Sequence[str], codes: bool = False) -> tuple[Field, ...]:
    """The fields of these names: arrays, else columns of `params`. Maps come as float32.

    With `codes`, maps that are stored as codes come as they are, each with its `<map>_scale` beside it.
    """
    if isinstance(names, str) or not len(names):
        raise DataError(
            f"the names of a batch's arrays are {names!r}",
            expected="at least one name of an array or a column of params in a tuple or list",
            advice=f"write ({names!r},)" if names else "such as ('image', 'label')",
        )
    arrays = {spec.name: spec for spec in plan.decoded}
    columns = [column.name for column in plan.columns]
    fields: list[Field] = []
    for name in names:
        if name in arrays:
            quantised = plan.is_quantised(name)
            spec = plan.array(name) if codes else arrays[name]
            decoded = quantised and not codes
            fields.append(Field(name, name, np.dtype(spec.dtype), spec.tail, decoded=decoded))
            if quantised and codes:
                scale = plan.array(name + SCALE)
                fields.append(Field(scale.name, scale.name, np.dtype(scale.dtype), scale.tail))
        elif name in columns:
            at = columns.index(name)
            fields.append(Field(name, "params", np.dtype(np.float64), (), at, len(columns)))
        else:
            raise unknown_name("array or column", name, [*arrays, *columns])
    return tuple(fields)


def stored_arrays(fields: Sequence[Field]) -> tuple[str, ...]:
    """The arrays of the store that these fields need, each once."""
    names = [name for one in fields for name in (one.array, *((one.array + SCALE,) * one.decoded))]
    return tuple(dict.fromkeys(names))


def new_buffers(fields: Sequence[Field], rows: int) -> dict[str, NDArray[Any]]:
    """Memory for a batch of so many rows."""
    return {one.name: np.empty((rows, *one.tail), one.dtype) for one in fields}


def check_buffers(fields: Sequence[Field], rows: int, given: Buffers) -> None:
    """Refuse memory of a caller that a batch of so many rows does not fit into, with all that is wrong."""
    faults = []
    for one in fields:
        buffer = given.get(one.name)
        wanted = f"{one.dtype} ({rows}, {', '.join(map(str, one.tail))})"
        if buffer is None:
            faults.append(f"there is none for {one.name}: {wanted}")
        elif buffer.dtype != one.dtype or buffer.shape[1:] != one.tail or len(buffer) < rows:
            faults.append(f"that for {one.name} is {buffer.dtype} {buffer.shape}, not {wanted}")
        elif not (buffer.flags.c_contiguous and buffer.flags.writeable):
            faults.append(f"that for {one.name} is read-only or has gaps")
    if faults:
        raise DataError("batches do not fit into the buffers given: " + "; ".join(faults))
