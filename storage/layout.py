"""Pure index arithmetic between sample, split, shard and row.

Classes take turns: sample i is class i mod C of block i // C. Blocks go to the splits in a pattern of period
D, the common denominator of the shares, arranged so that every prefix is as near to the shares as whole
numbers allow. A sample therefore keeps its class and split when a data set grows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import SPLITS, DatasetRecipe, split_pattern
from schemas.errors import DataError, RecipeError
from schemas.imported import ImportedData, Origin
from schemas.store import ArraySpec, Receipt, StorePlan
from storage import imported_rows

Ids = NDArray[np.int64]
SHARD_BYTES = 64 << 20
CHUNK_BYTES = 512 << 10
# A shard's receipt and metadata; an HDF5 file says of itself what columns and arrays mean.
BESIDE_BYTES = {"zarr": 16_384, "hdf5": 65_536}
# Of a catalogue: a row of a dozen numbers, and what a file has beside its rows.
CATALOGUE_ROW_BYTES, CATALOGUE_BYTES = 128, 16_384
# The JSON Schema of the books.
SCHEMA_BYTES = 131_072


@dataclass(frozen=True)
class Span:
    """The rows of one shard: `[first_row, first_row + rows)` of a split."""

    split: str
    shard: int
    first_row: int
    rows: int

    def __str__(self) -> str:
        return f"shard {self.shard} of {self.split}"


def _slots(recipe: DatasetRecipe, split: str) -> Ids:
    return np.flatnonzero(split_pattern(recipe.splits) == SPLITS.index(split))


def split_rows(recipe: DatasetRecipe) -> dict[str, int]:
    """How many rows each split gets; a split with a share but no row is refused."""
    rows = {}
    periods, rest = divmod(recipe.samples_per_class, recipe.splits.denominator)
    for split in SPLITS:
        slots = _slots(recipe, split)
        blocks = periods * len(slots) + int(np.searchsorted(slots, rest))
        share: Fraction = getattr(recipe.splits, split)
        if share and not blocks:
            raise RecipeError(
                f"the {split} split has a share of {share} but gets none of {recipe.samples_per_class}"
                " samples per class",
                where="samples_per_class, splits",
                advice="simulate more samples or set the share to 0",
            )
        rows[split] = blocks * len(recipe.classes)
    return rows


def sample_ids(recipe: Origin, span: Span) -> Ids:
    """The sample in each row of a shard."""
    if isinstance(recipe, ImportedData):
        return imported_rows.rows_of(recipe)[span.split][span.first_row : span.first_row + span.rows]
    row = np.arange(span.first_row, span.first_row + span.rows)
    slots = _slots(recipe, span.split)
    block, position = np.divmod(row, len(recipe.classes))
    period, rank = np.divmod(block, len(slots))
    return (period * recipe.splits.denominator + slots[rank]) * len(recipe.classes) + position


def locate(recipe: Origin, sample_id: int) -> tuple[str, int]:
    """The split and row of a sample: the inverse of `sample_ids`."""
    if isinstance(recipe, ImportedData):
        return imported_rows.locate(recipe, sample_id)
    block, position = divmod(sample_id, len(recipe.classes))
    period, slot = divmod(block, recipe.splits.denominator)
    split = SPLITS[int(split_pattern(recipe.splits)[slot])]
    slots = _slots(recipe, split)
    rank = int(np.searchsorted(slots, slot))
    return split, (period * len(slots) + rank) * len(recipe.classes) + position


def locate_known(recipe: Origin, sample_id: int) -> tuple[str, int]:
    """The same, of a number that a person gave."""
    if not 0 <= sample_id < recipe.sample_count:
        raise DataError(
            f"there is no sample {sample_id}",
            expected=f"0 to {recipe.sample_count - 1}: {recipe.name!r} has {recipe.sample_count:,} samples",
        )
    return locate(recipe, sample_id)


def labels_of(recipe: Origin, sample_id: Ids) -> NDArray[np.int32]:
    """The label of each sample."""
    if isinstance(recipe, ImportedData):
        return imported_rows.labels_of(recipe, sample_id)
    labels = np.array([one.label for one in recipe.classes], dtype=np.int32)
    return labels[recipe.class_positions(sample_id)]


def default_shard_rows(image_bytes: int) -> int:
    """The largest power of two of images within 64 MiB."""
    return _power_of_two_within(SHARD_BYTES, image_bytes)


def chunk_rows(image_bytes: int, shard_rows: int) -> int:
    """Images per inner chunk, the unit of a read: the largest power of two within 512 KiB."""
    return min(_power_of_two_within(CHUNK_BYTES, image_bytes), shard_rows)


def _power_of_two_within(budget: int, size: int) -> int:
    return 1 << max(budget // size, 1).bit_length() - 1


def spans(plan: StorePlan) -> Iterator[Span]:
    """All shards of a store in order."""
    for split in plan.splits:
        for shard, first in enumerate(range(0, split.rows, plan.shard_rows)):
            yield Span(split.name, shard, first, min(plan.shard_rows, split.rows - first))


def span_of_receipt(receipt: Receipt) -> Span:
    """The shard that a receipt is of."""
    return Span(receipt.split, receipt.shard, receipt.first_row, receipt.rows)


def span_of(plan: StorePlan, split: str, row: int) -> Span:
    """The shard that holds a row."""
    shard = row // plan.shard_rows
    first = shard * plan.shard_rows
    return Span(split, shard, first, min(plan.shard_rows, plan.rows_of(split) - first))


def spans_of(plan: StorePlan, split: str, rows: slice) -> Iterator[Span]:
    """The shards that hold any of these rows, in order."""
    chosen = range(*rows.indices(plan.rows_of(split)))
    if chosen:
        first, last = sorted((chosen[0], chosen[-1]))
        for shard in range(first // plan.shard_rows, last // plan.shard_rows + 1):
            yield span_of(plan, split, shard * plan.shard_rows)


def shard_count(plan: StorePlan) -> int:
    """How many shards a store has, without listing them."""
    return sum(-(-split.rows // plan.shard_rows) for split in plan.splits)


def row_bytes(spec: ArraySpec) -> int:
    """Bytes of one row of an array."""
    return math.prod(spec.tail) * np.dtype(spec.dtype).itemsize


def store_bytes(plan: StorePlan, subhalos: float = 0.0) -> int:
    """Bytes of the whole store with so many subhalos a sample; a hundredth for indices and books."""
    small = sum(row_bytes(spec) for spec in plan.arrays if spec not in plan.maps)
    # a chunk is written whole: maps come in inner chunks, the small arrays in whole shards
    arrays = sum(_map_bytes(plan, spec) for spec in plan.maps) + shard_count(plan) * plan.shard_rows * small
    rows = sum(split.rows for split in plan.splits) * subhalos
    catalogue = rows * CATALOGUE_ROW_BYTES + (CATALOGUE_BYTES * shard_count(plan) if plan.catalogue else 0)
    books = BESIDE_BYTES[plan.backend] * (shard_count(plan) + 1) + SCHEMA_BYTES
    return int((arrays + catalogue) * 1.01) + books


def _map_bytes(plan: StorePlan, spec: ArraySpec) -> int:
    chunk = chunk_rows(row_bytes(spec), plan.shard_rows)
    return sum(-(-split.rows // chunk) * chunk for split in plan.splits) * row_bytes(spec)
