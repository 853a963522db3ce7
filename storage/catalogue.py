"""The catalogue of subhalos: one Parquet file per shard, a row per point mass, halo or line.

The number of rows differs from sample to sample, which arrays of one shape cannot hold
(`docs/decisions/0012-products-beside-the-images.md`). pyarrow is loaded where a store has a catalogue.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreDamagedError
from schemas.products import CatalogueColumn
from schemas.store import StorePlan
from storage.backend import Arrays
from storage.files.object_path import ObjectPath
from storage.files.place import Root
from storage.layout import Span

Table = Mapping[str, NDArray[Any]]
NAME = "subhalos"
# A reader of one sample decodes one such group; more would cost more bytes for names and extremes.
ROWS_TOGETHER = 1 << 15
COUNT_COLUMN = "subhalo_count"


def shard_paths(plan: StorePlan, span: Span) -> list[str]:
    """The catalogue of a shard, if the store has one."""
    return [f"{span.split}/{NAME}/{span.shard:06d}.parquet"] if plan.catalogue else []


def shard_files(plan: StorePlan, span: Span, table: Table | None) -> dict[str, bytes]:
    """Its bytes by its path: the same for the same rows and version of pyarrow."""
    if table is None:
        return {}
    return {path: _encode(plan.catalogue, table) for path in shard_paths(plan, span)}


def _encode(columns: tuple[CatalogueColumn, ...], table: Table) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64(), "str": pa.string()}
    fields = [
        pa.field(
            column.name,
            types[column.dtype],
            nullable=False,
            metadata={"unit": column.unit, "description": column.description},
        )
        for column in columns
    ]
    arrays = [pa.array(table[one.name], types[one.dtype], from_pandas=False) for one in columns]
    into = BytesIO()
    parquet.write_table(
        pa.Table.from_arrays(arrays, schema=pa.schema(fields)),
        into,
        row_group_size=ROWS_TOGETHER,
        # drawn numbers repeat as little as they compress, but a column of NaN does
        use_dictionary=["profile"],
        compression="zstd",
        write_page_checksum=True,
    )
    return into.getvalue()


def read(root: Root, plan: StorePlan, span: Span, sample_id: int | None = None) -> Table:
    """The catalogue of a shard, or of one of its samples."""
    import pyarrow as pa
    from pyarrow import parquet

    (path,) = (root / one for one in shard_paths(plan, span))
    chosen = None if sample_id is None else [("sample_id", "=", sample_id)]
    try:
        source = pa.BufferReader(path.read_bytes()) if isinstance(path, ObjectPath) else path
        # partitioning: else folders named like key=value become columns
        found = parquet.read_table(source, filters=chosen, partitioning=None, page_checksum_verification=True)
        names = [column.name for column in plan.catalogue]
        if found.column_names != names:
            raise StoreDamagedError(f"{path} has the columns {found.column_names}", expected=f"{names}")
    except (OSError, pa.ArrowException) as error:
        raise StoreDamagedError(
            f"the catalogue {path} is damaged: {error}",
            advice="find what is damaged: lensmill verify STORE; mend it: lensmill repair STORE",
        ) from error
    return {name: found.column(name).to_numpy() for name in names}


def faults(plan: StorePlan, arrays: Arrays, table: Table | None) -> list[str]:
    """What is wrong with the catalogue of a shard with these arrays."""
    if not plan.catalogue:
        return []
    names = [column.name for column in plan.catalogue]
    if table is None or list(table) != names or len({len(values) for values in table.values()}) > 1:
        return [f"{NAME}: not a table of the columns {', '.join(names)}"]
    found = [fault for column in plan.catalogue for fault in _column_faults(column, table[column.name])]
    return found or _owner_faults(plan, arrays, table)


def _column_faults(column: CatalogueColumn, values: NDArray[Any]) -> list[str]:
    if column.dtype == "str":
        wrong = np.array([not isinstance(value, str) or not value for value in values], dtype=bool)
        what = "empty"
    elif values.dtype != np.dtype(column.dtype):
        return [f"{NAME}: {column.name} is {values.dtype}, expected {column.dtype}"]
    else:
        wrong, what = np.isinf(values) | (column.finite & np.isnan(values)), "not finite"
    if not wrong.any():
        return []
    return [
        f"{NAME}: {column.name}: {int(wrong.sum())} of {len(values)} values {what} (row {wrong.argmax()})"
    ]


def _owner_faults(plan: StorePlan, arrays: Arrays, table: Table) -> list[str]:
    """Samples of this shard, in its order, with their labels, as many subhalos as the columns say."""
    owner, samples = table["sample_id"], arrays["sample_id"]
    place = np.minimum(np.searchsorted(samples, owner), len(samples) - 1)
    strange = samples[place] != owner
    if strange.any():
        return [f"{NAME}: {int(strange.sum())} rows of samples of other shards (sample {owner[strange][0]})"]
    found = []
    if (np.diff(place) < 0).any():
        found.append(
            f"{NAME}: rows are not in the order of samples (row {np.argmax(np.diff(place) < 0) + 1})"
        )
    mislabelled = arrays["label"][place] != table["label"]
    if mislabelled.any():
        found.append(f"{NAME}: {int(mislabelled.sum())} rows with another label than their sample")
    return found + _count_faults(plan, arrays, np.bincount(place, minlength=len(samples)))


def _count_faults(plan: StorePlan, arrays: Arrays, counted: NDArray[np.int64]) -> list[str]:
    names = [column.name for column in plan.columns]
    if COUNT_COLUMN not in names:
        return []
    said = arrays["params"][:, names.index(COUNT_COLUMN)]
    wrong = np.flatnonzero(~np.isnan(said) & (said != counted))
    if not len(wrong):
        return []
    first = wrong[0]
    return [
        f"{NAME}: {len(wrong)} samples have another number of rows than {COUNT_COLUMN} says (sample"
        f" {arrays['sample_id'][first]}: {counted[first]} instead of {said[first]:g})"
    ]
