"""Opening a finished store and reading rows of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from schemas.errors import (
    DataError,
    StoreDamagedError,
    StoreMissingError,
    StoreUnfinishedError,
)
from schemas.frozen import sha256_of
from schemas.imported import ImportedData, Origin
from schemas.registry import unknown_name
from schemas.store import SCALE, CommitMarker, Manifest, Receipt, StoredRecipe, StorePlan
from storage import catalogue, profiles, shard_checks
from storage.catalogue import Table
from storage.commit import MANIFEST, MARKER, PLAN, RECEIPTS, RECIPE, holds_schema, plan_digest, read_json
from storage.files.durable import file_fault
from storage.files.place import Root, place, sizes_of
from storage.formats import BACKENDS
from storage.layout import Span, locate_known, shard_count, span_of, spans_of
from storage.shard_checks import ShardChecks


@dataclass(frozen=True)
class Store:
    """A finished store. Opening checked its marker, manifest, digests and the size of every file."""

    root: Root
    plan: StorePlan
    stored: StoredRecipe
    manifest: Manifest
    checks: ShardChecks | None = field(default=None, compare=False)

    @property
    def recipe(self) -> DatasetRecipe:
        """The recipe that the store was made from; imported data have none."""
        if isinstance(self.stored.recipe, ImportedData):
            raise DataError(
                f"the data of {self.root} have no recipe: they were imported",
                expected="a store that lensmill simulated",
                where=str(self.root),
                advice="imported samples cannot be simulated again; lensmill info says what is known of them",
            )
        return self.stored.recipe

    @property
    def origin(self) -> Origin:
        """The recipe, or what is known of imported data."""
        return self.stored.recipe

    @property
    def pixel_scale_arcsec(self) -> float | None:
        """The side of a pixel, if it is known."""
        if isinstance(self.stored.recipe, ImportedData):
            return self.stored.recipe.pixel_scale_arcsec
        return self.stored.recipe.detector.pixel_scale_arcsec

    def read(self, split: str, array: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Rows of one array, such as `read("train", "image", slice(0, 64))`; codes are decoded."""
        codes = self.codes(split, array, rows)
        if not self.plan.is_quantised(array):
            return codes
        return profiles.decode(codes, self.codes(split, array + SCALE, rows))

    def codes(self, split: str, array: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Rows of one array as they are stored; scales and offsets are in `<array>_scale`."""
        names = [spec.name for spec in self.plan.splits]
        if split not in names:
            raise unknown_name("split", split, list(names))
        self.plan.array(array)
        _check_slice(rows, split, array)
        self.touch(split, rows)
        return BACKENDS[self.plan.backend].read(self.root, self.plan, split, array, rows)

    def column(self, split: str, name: str) -> NDArray[np.float64]:
        """One column of `params` by its name."""
        names = [column.name for column in self.plan.columns]
        if name not in names:
            raise unknown_name("column", name, names)
        params = self.read(split, "params")
        return np.asarray(params[:, names.index(name)], dtype=np.float64)

    def subhalos(self, sample_id: int) -> Table:
        """The rows of the catalogue that belong to one sample, by the names of their columns."""
        if not self.plan.catalogue:
            raise DataError(
                f"the store at {self.root} has no catalogue of subhalos",
                expected="a store of a recipe with products: [subhalos]",
                advice="make one, or rebuild the sample: lensmill sample STORE --index I",
            )
        split, row = locate_known(self.recipe, sample_id)
        self.touch(split, slice(row, row + 1))
        return catalogue.read(self.root, self.plan, span_of(self.plan, split, row), sample_id)

    @cached_property
    def receipts(self) -> Mapping[tuple[str, int], Receipt]:
        """The sealed receipts by split and number of the shard."""
        return shard_checks.receipts_by_shard(self.manifest)

    def check_shard(self, span: Span) -> None:
        """Compare every file of a shard with the sealed receipt, SHA-256 included; refuse a damaged one."""
        shard_checks.check_shard(self.root, self.receipts.get((span.split, span.shard)), span)

    def touch(self, split: str, rows: slice) -> None:
        """To be called before rows are read: a store opened with `check` looks at their shards, once each."""
        if self.checks is not None:
            for span in spans_of(self.plan, split, rows):
                self.checks.once(span, self.check_shard)


def _check_slice(rows: Any, split: str, array: str) -> None:
    """Refuse what is no slice: whoever asks for rows here and there is better served elsewhere."""
    try:
        slice.indices(rows, 0)
    except (TypeError, ValueError) as error:
        given = f"{rows}" if isinstance(rows, slice) else f"a value of type {type(rows).__name__}"
        taken = f"open_rows(store, Selection(split={split!r}), names=({array!r},)).take(rows)"
        raise DataError(
            f"rows are {given}",
            expected="a slice of whole numbers, such as slice(0, 64)",
            advice=f"for rows in any order: {taken}; of a mask, np.flatnonzero(mask) are the rows",
        ) from error


def open_store(root: str | Root, check: bool = False) -> Store:
    """A store, if it is finished and whole by its books.

    With `check` the metadata are compared with the manifest now, and each shard with its receipt before
    anything of it is read, whoever reads it. Without it the bytes are `verify`'s business.
    """
    store = open_books(root)
    root = store.root
    _check_sizes(root, store.manifest)
    if not check:
        return store
    faults = [fault for record in store.manifest.metadata if (fault := file_fault(root, record))]
    if faults:
        raise _damaged(root, "; ".join(faults))
    return replace(store, checks=ShardChecks())


def open_books(root: str | Root) -> Store:
    """A store whose books are in order, whatever became of its shards."""
    root = place(root)
    if not (root / PLAN).is_file():
        # of a bucket that is not there only a listing tells, and raises what to do
        root.is_dir()
        raise StoreMissingError(
            f"there is no lensmill store at {root}",
            expected=f"a folder with {PLAN}",
            advice="check the path, or make one: lensmill simulate tiny --out tiny.zarr",
        )
    plan = read_json(root / PLAN, StorePlan)
    if not (root / MARKER).is_file():
        done = sum(1 for _ in (root / RECEIPTS).rglob("*.json"))
        raise StoreUnfinishedError(
            f"the store at {root} is unfinished: {done} of {shard_count(plan)} shards, no commit marker",
            advice="run the `lensmill simulate` or `import` command that began it; it makes what is missing",
        )
    marker = read_json(root / MARKER, CommitMarker)
    manifest = read_json(root / MANIFEST, Manifest)
    stored = read_json(root / RECIPE, StoredRecipe)
    if sha256_of((root / MANIFEST).read_bytes()) != marker.manifest_sha256:
        raise _damaged(root, "manifest.json is not the one that the commit marker seals")
    digests = {marker.recipe_digest, manifest.recipe_digest, plan.recipe_digest, stored.digest}
    unchanged = manifest.recipe_sha256 == sha256_of((root / RECIPE).read_bytes())
    if len(digests) > 1 or manifest.plan_digest != plan_digest(root) or not unchanged:
        raise _damaged(root, "recipe, plan, manifest and marker do not belong together")
    if not holds_schema(root, manifest):
        raise _damaged(root, "schema.json is not the one that the manifest lists")
    return Store(root, plan, stored, manifest)


def _check_sizes(root: Root, manifest: Manifest) -> None:
    owned = [(f"shard {one.shard} of {one.split}: ", file) for one in manifest.receipts for file in one.files]
    records = [*owned, *(("", file) for file in manifest.metadata)]
    sizes = sizes_of(root, [record.path for _, record in records])
    for owner, record in records:
        size = sizes.get(record.path)
        if size != record.size:
            found = "is missing" if size is None else f"has {size:,} bytes instead of {record.size:,}"
            raise _damaged(root, f"{owner}{record.path} {found}")


def _damaged(root: Root, what: str) -> StoreDamagedError:
    return StoreDamagedError(
        f"the store at {root} is damaged: {what}",
        advice=f"mend it: lensmill repair {root}",
    )
