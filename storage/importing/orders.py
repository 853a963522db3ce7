"""From a source that was found sound to the shards of its store."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import SPLITS, Splits
from schemas.errors import DataError, StoreDamagedError
from schemas.imported import ImportedData, ImportedGroup, ImportOptions, ImportReport
from schemas.store import Provenance, Receipt, StorePlan, plan_import
from storage import commit, imported_rows, layout
from storage.backend import Arrays
from storage.files.place import Root
from storage.foreign import stem
from storage.importing.faults import NAMED, counted
from storage.importing.groups import Source, class_name
from storage.importing.survey import Survey, fingerprint, to_pixels
from storage.layout import Span
from storage.reader import Store

SOURCES = "lensmill/sources.parquet"
DEFAULT_SPLITS = Splits.model_validate({"train": "0.7", "val": "0.1", "test": "0.2"})
# names that are held at a time
ROWS_TOGETHER = 1 << 16


@dataclass(frozen=True)
class ImportOrder:
    """A source that is to become a store."""

    root: Root
    source: Source
    survey: Survey
    data: ImportedData
    plan: StorePlan
    report: ImportReport


def order_import(
    root: Root, given: str, source: Source, survey: Survey, options: ImportOptions
) -> ImportOrder:
    """Plan the store of a source without faults."""
    data = _data(given, source, survey, options)
    rows = imported_rows.rows_of(data)
    counts = {split: _by_class(data, rows[split]) for split in SPLITS if len(rows[split])}
    _refuse_empty(data, counts)
    warnings = [*survey.warnings, *_duplicates(source, survey, data), *_absent(counts)]
    shard_rows = options.shard_images or layout.default_shard_rows(4 * int(np.prod(data.image_shape)))
    versions = {name: version(name) for name in ("lensmill", "numpy")}
    plan = plan_import(
        data,
        {split: len(rows[split]) for split in SPLITS},
        shard_rows,
        Provenance(engine="imported", versions=versions),
    )
    report = ImportReport(
        data=data,
        digest=data.digest,
        dtypes=dict(survey.dtypes),
        lowest=survey.lowest,
        highest=survey.highest,
        splits=counts,
        warnings=tuple(warnings),
    )
    return ImportOrder(root, source, survey, data, plan, report)


def _data(given: str, source: Source, survey: Survey, options: ImportOptions) -> ImportedData:
    groups = tuple(
        ImportedGroup(
            class_name=one.class_name,
            label=one.label,
            split=one.split,  # type: ignore[arg-type]
            count=len(one.images),
        )
        for one in source.groups
    )
    told = any(group.split for group in groups)
    if told and options.splits is not None:
        raise DataError("--splits are given, but the folders of the source say train, val and test")
    return ImportedData(
        name=options.name or default_name(Path(given)),
        description=options.description,
        form=source.form,
        source=given,
        files=len(source.files),
        contents_sha256=survey.contents_sha256,
        groups=groups,
        image_shape=survey.shape,
        channels_last=options.channels_last,
        pixel_scale_arcsec=options.pixel_scale_arcsec,
        columns=survey.columns,
        splits=None if told else options.splits or DEFAULT_SPLITS,
        shuffle_seed=options.seed,
    )


def default_name(source: Path) -> str:
    """The name of a data set that nobody named: that of its folder, or of its file without the ending."""
    said = source if source.name not in ("", "..") else source.resolve()
    return class_name(said.name if said.is_dir() else stem(said), "data")


def _by_class(data: ImportedData, ids: NDArray[np.int64]) -> dict[str, int]:
    labels = imported_rows.labels_of(data, ids)
    return {name: int((labels == label).sum()) for name, label in data.classes}


def _refuse_empty(data: ImportedData, counts: Mapping[str, Any]) -> None:
    empty = [split for split in SPLITS if data.splits and getattr(data.splits, split) and split not in counts]
    if empty or "train" not in counts:
        raise DataError(
            f"no sample for {' and '.join(empty or ['train'])}: the source has {data.sample_count:,}",
            expected="samples in every split that has a share, and some for training",
            advice="choose other --splits, such as 0.8,0,0.2",
        )


def _absent(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"{split} has no sample of class {name}"
        for split, by_class in counts.items()
        for name, count in by_class.items()
        if not count
    ]


def _duplicates(source: Source, survey: Survey, data: ImportedData) -> list[str]:
    """Images that are the same, how many of them across splits, and across classes."""
    _, which, counts = np.unique(survey.fingerprints, axis=0, return_inverse=True, return_counts=True)
    again = int((counts - 1).sum())
    if not again:
        return []
    which = which.reshape(-1)
    ids = np.arange(data.sample_count)
    split = np.empty(data.sample_count, np.int64)
    for number, rows in enumerate(imported_rows.rows_of(data).values()):
        split[rows] = number
    leaking = _spread(which, split)
    mixed = _spread(which, imported_rows.labels_of(data, ids))
    copies = [np.flatnonzero(which == one)[:2] for one in np.flatnonzero(counts > 1)[:NAMED]]
    shown = ", ".join(f"{source.name(int(a))} = {source.name(int(b))}" for a, b in copies)
    more = ", ..." if again > NAMED else ""
    verb = "is a copy of another" if again == 1 else "are copies of others"
    told = [f"{counted(again, 'image')} {verb}: {shown}{more}"]
    if leaking:
        told.append(f"{_different(leaking)} in more than one split: test scores will flatter")
    if mixed:
        told.append(f"{_different(mixed)} in more than one class")
    return told


def _different(number: int) -> str:
    return f"{counted(number, 'different image')} {'is' if number == 1 else 'are'}"


def _spread(which: NDArray[np.int64], value: NDArray[Any]) -> int:
    """How many fingerprints have samples with more than one value."""
    pairs = np.unique(np.stack([which, value.astype(np.int64)]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def write_shard(order: ImportOrder, span: Span) -> Receipt:
    """Read the images of one shard again, in the order of the source, and write them."""
    ids = layout.sample_ids(order.data, span)
    images = np.empty((len(ids), *order.data.image_shape), np.float32)
    group_of, starts = imported_rows.group_of(order.data, ids), imported_rows.starts(order.data)
    for row in np.argsort(ids, kind="stable"):
        group = order.source.groups[group_of[row]]
        position = int(ids[row] - starts[group_of[row]])
        images[row] = _read_again(order, group.images, position, int(ids[row]))
    arrays: Arrays = {
        "image": images,
        "label": imported_rows.labels_of(order.data, ids),
        "sample_id": ids,
        "params": np.ascontiguousarray(order.survey.params[ids]),
    }
    return commit.write_shard(order.root, order.data, order.plan, span, arrays)


def _read_again(order: ImportOrder, images: Any, position: int, sample: int) -> NDArray[np.float32]:
    try:
        pixels = to_pixels(images.read(position), order.data.channels_last)
        same = fingerprint(pixels) == order.survey.fingerprints[sample].tobytes()
    except (OSError, ValueError) as error:
        raise _changed(images.name(position)) from error
    if not same:
        raise _changed(images.name(position))
    return pixels


def _changed(name: str) -> DataError:
    return DataError(
        f"{name} changed while it was imported",
        expected="a source that stays as it is until the import is done",
        advice="run the same command again",
    )


def seal(order: ImportOrder, receipts: list[Receipt]) -> None:
    """Write the list of sources and what makes a store whole."""
    commit.seal(order.root, order.data, order.plan, receipts, beside={SOURCES: _sources(order)})


def _sources(order: ImportOrder) -> bytes:
    """Parquet: sample_id, class, and the file, with the place in it, that a sample came from."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([("sample_id", pa.int64()), ("class", pa.string()), ("source", pa.string())])
    into, first = BytesIO(), 0
    with parquet.ParquetWriter(into, schema, compression="zstd", write_page_checksum=True) as writer:
        for group in order.source.groups:
            for start in range(0, len(group.images), ROWS_TOGETHER):
                names = [
                    group.images.name(at)
                    for at in range(start, min(start + ROWS_TOGETHER, len(group.images)))
                ]
                ids = np.arange(first, first + len(names))
                writer.write_table(pa.table([ids, [group.class_name] * len(names), names], schema))
                first += len(names)
    return into.getvalue()


def source_of(store: Store, sample_id: int) -> str:
    """The file, with the place in it, that an imported sample came from."""
    import pyarrow as pa
    from pyarrow import parquet

    path = store.root / SOURCES
    try:
        chosen = [("sample_id", "=", sample_id)]
        found = parquet.read_table(path, filters=chosen, partitioning=None, page_checksum_verification=True)
        return str(found.column("source")[0].as_py())
    except (OSError, pa.ArrowException, KeyError, IndexError) as error:
        raise StoreDamagedError(
            f"the list of sources {path} is damaged: {error}", advice="import the data again"
        ) from error
