"""A store in another file format, number format or size of shards, held to its source shard by shard.

Recipe and digest stay. Codes go from one format to another as they are; only floats are quantised. A shard
that was written is read back and compared before the store is sealed: labels, numbers, parameters and
catalogues bit by bit, maps too, or within the bound of their codes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from schemas.conversion import ConversionSummary
from schemas.errors import DataError, PlaceError, StoreDamagedError
from schemas.frozen import sha256_of
from schemas.registry import unknown_name
from schemas.store import SCALE, Conversion, MapError, Profile, Receipt, StorePlan, as_codes
from storage import catalogue, commit, layout, profiles, target
from storage.backend import Arrays
from storage.catalogue import Table
from storage.files.place import Root, place
from storage.formats import BACKENDS
from storage.layout import Span
from storage.profiles import Encoded
from storage.reader import Store, open_store
from storage.reading.threads import threaded
from storage.upkeep.loss import worst_errors


@dataclass(frozen=True)
class Task:
    """What is converted, and to what."""

    source: Store
    root: Root
    plan: StorePlan


class Given(NamedTuple):
    """A stretch of rows of the source: as it is stored, as numbers, and its catalogue."""

    stored: Arrays
    arrays: Arrays
    subhalos: Table | None


def convert(
    store: str | Root,
    out: str | Root,
    to: str | None = None,
    profile: str | None = None,
    shard_size: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> ConversionSummary:
    """Make `out` from a finished store; what is not named stays as it is. `progress` is told of rows done.

    Run again, it completes what is there.
    """
    task = prepare(place(store), place(out), to, profile, shard_size)
    source, plan, out = task.source, task.plan, task.root
    with commit.writing(out):
        target.check_target(out, source.origin, plan)
        commit.begin(out, source.origin, plan, source.stored)
        spans = list(layout.spans(plan))
        kept = dict(zip(spans, threaded(partial(commit.valid_receipt, out, plan), spans), strict=True))
        missing = [span for span, receipt in kept.items() if receipt is None]
        if missing:
            commit.unseal(out)
        for span in missing:
            commit.discard(out, span)
        receipts, rows = [], 0
        for receipt in threaded(lambda span: _converted(task, span, kept[span]), spans):
            receipts.append(receipt)
            progress(rows := rows + receipt.rows)
        if missing or not commit.is_sealed(out):
            commit.seal(out, source.origin, plan, receipts, source.stored, _beside(source))
        open_store(out)
    return _summary(task, receipts, len(missing))


def prepare(store: Root, out: Root, to: str | None, profile: str | None, shard_size: int | None) -> Task:
    """Open the source with all checks, plan the target and see that it can be there. Writes nothing."""
    _check_apart(store, out)
    _check_options(to, profile, shard_size)
    source = open_store(store, check=True)
    task = Task(source, out, _plan(source, to, profile, shard_size))
    target.check_target(out, source.origin, task.plan)
    needed = layout.store_bytes(task.plan) + _catalogue_bytes(source)
    target.check_space(out, needed - target.bytes_present(out))
    return task


def _check_apart(store: Root, out: Root) -> None:
    here, there = Path(str(store)).resolve(), Path(str(out)).resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise PlaceError(
            f"cannot convert {store} to {out}: one is inside the other",
            expected="a place of its own for the new store",
            advice="choose another --out",
        )


def _check_options(to: str | None, profile: str | None, shard_size: int | None) -> None:
    if to is not None and to not in BACKENDS:
        raise unknown_name("file format", to, list(BACKENDS))
    if profile is not None and profile not in get_args(Profile):
        raise unknown_name("profile", profile, list(get_args(Profile)))
    if shard_size is not None and (shard_size < 1 or shard_size & (shard_size - 1)):
        raise DataError(f"a shard of {shard_size} images", expected="a power of two", where="--shard-size")


def _plan(source: Store, to: str | None, profile: str | None, shard_size: int | None) -> StorePlan:
    """The plan of the source but for what is asked."""
    plan = source.plan
    formats = {"backend": to or plan.backend, "profile": profile or plan.profile}
    size = shard_size or plan.shard_rows
    if (*formats.values(), size) == (plan.backend, plan.profile, plan.shard_rows):
        raise DataError(
            f"the store at {source.root} is {plan.backend}, {plan.profile}, in shards of {size} already",
            expected="--to, --profile or --shard-size that differs",
            advice="copy the folder if a copy is wanted",
        )
    step = Conversion(
        manifest_sha256=sha256_of((source.root / commit.MANIFEST).read_bytes()),
        backend=plan.backend,
        profile=plan.profile,
        lossy=plan.profile != "float32"
        or formats["profile"] != "float32"
        or any(one.lossy for one in plan.provenance.conversions),
        versions=_versions(plan, formats["backend"], formats["profile"]),
    )
    conversions = (*plan.provenance.conversions, step)
    arrays = plan.decoded if formats["profile"] == "float32" else as_codes(plan.decoded)
    made_by = plan.provenance.model_copy(update={"conversions": conversions})
    return plan.model_copy(update={**formats, "arrays": arrays, "shard_rows": size, "provenance": made_by})


def _versions(plan: StorePlan, backend: str, profile: str) -> dict[str, str]:
    packages = ["lensmill", "numpy", *BACKENDS[backend].packages(profile)]
    packages += ["pyarrow"] if plan.catalogue else []
    return {name: version(name) for name in packages}


def _beside(source: Store) -> dict[str, bytes]:
    """Books that only this kind of source has, such as the files that imported samples came from."""
    paths = [record.path for record in source.manifest.metadata]
    return {
        path: (source.root / path).read_bytes() for path in paths if Path(path).is_relative_to(commit.BOOKS)
    }


def _catalogue_bytes(source: Store) -> int:
    folder = f"/{catalogue.NAME}/"
    files = (file for receipt in source.manifest.receipts for file in receipt.files)
    return sum(file.size for file in files if folder in file.path)


def _converted(task: Task, span: Span, kept: Receipt | None) -> Receipt:
    """One shard of the target, written unless it is there, and like the source."""
    given = _given(task.source, span)
    receipt = kept or commit.write_shard(
        task.root,
        task.source.origin,
        task.plan,
        span,
        given.arrays,
        given.subhalos,
        encoded=_encoded(task, span, given),
    )
    faults = _differences(task, span, given)
    if faults:
        commit.discard(task.root, span)
        raise StoreDamagedError(
            f"{span} of {task.root} is not what was converted\n"
            + "\n".join(f"  - {fault}" for fault in faults),
            expected=f"the rows of {task.source.root}",
            advice="look after the disk, then run the command again; what is whole is kept",
        )
    return receipt


def _given(source: Store, span: Span) -> Given:
    """Rows of the source; each shard that holds some of them is compared with its receipt first."""
    rows = slice(span.first_row, span.first_row + span.rows)
    stored: dict[str, NDArray[Any]] = {
        spec.name: source.codes(span.split, spec.name, rows) for spec in source.plan.arrays
    }
    arrays: dict[str, NDArray[Any]] = {
        spec.name: profiles.decode(stored[spec.name], stored[spec.name + SCALE])
        if source.plan.is_quantised(spec.name)
        else stored[spec.name]
        for spec in source.plan.decoded
    }
    return Given(stored, arrays, _subhalos(source, span, rows, arrays["sample_id"]))


def _subhalos(source: Store, span: Span, rows: slice, ids: NDArray[np.int64]) -> Table | None:
    """The catalogue of these rows, which may lie in several shards of the source."""
    if not source.plan.catalogue:
        return None
    tables = [
        catalogue.read(source.root, source.plan, one)
        for one in layout.spans_of(source.plan, span.split, rows)
    ]
    whole = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    mine = np.isin(whole["sample_id"], ids)
    return {name: values[mine] for name, values in whole.items()}


def _encoded(task: Task, span: Span, given: Given) -> Encoded:
    """What is stored: codes as they are where both have codes. Errors are those of every step together."""
    before = worst_errors(_overlapping(task.source, span))
    if task.plan.profile != "float32" and task.source.plan.profile != "float32":
        return given.stored, before
    stored, new = profiles.encode(task.plan, given.arrays)
    return stored, _together(before, new)


def _overlapping(source: Store, span: Span) -> list[Receipt]:
    rows = slice(span.first_row, span.first_row + span.rows)
    spans = layout.spans_of(source.plan, span.split, rows)
    return [source.receipts[one.split, one.shard] for one in spans]


def _together(before: tuple[MapError, ...], new: tuple[MapError, ...]) -> tuple[MapError, ...]:
    """Errors of two steps add up at worst."""
    later = {error.map: error for error in new}
    summed = []
    for error in before:
        more = later.pop(error.map, MapError(map=error.map, worst=0.0, bound=0.0))
        summed.append(MapError(map=error.map, worst=error.worst + more.worst, bound=error.bound + more.bound))
    return (*summed, *later.values())


def _differences(task: Task, span: Span, given: Given) -> list[str]:
    """What the shard on the disk has that the source has not."""
    plan, source = task.plan, task.source.plan
    backend = BACKENDS[plan.backend]
    found: dict[str, NDArray[Any]] = {
        spec.name: backend.read_shard(task.root, plan, span, spec.name) for spec in plan.arrays
    }
    faults = []
    for spec in source.decoded:
        name = spec.name
        if plan.is_quantised(name) and not source.is_quantised(name):
            error, allowed = profiles.errors(given.arrays[name], found[name], found[name + SCALE])
            if not (error <= allowed).all():
                faults.append(
                    f"{name}: {int((~(error <= allowed)).sum())} images are off by more than the bound"
                )
        elif plan.is_quantised(name):
            faults += _unequal(name, given.stored, found) + _unequal(name + SCALE, given.stored, found)
        else:
            faults += _unequal(name, given.arrays, found)
    return faults + _unequal_tables(task, span, given.subhalos)


def _unequal(name: str, given: Arrays, found: Arrays) -> list[str]:
    same = given[name].dtype == found[name].dtype and given[name].tobytes() == found[name].tobytes()
    return [] if same else [f"{name}: the bits differ"]


def _unequal_tables(task: Task, span: Span, given: Table | None) -> list[str]:
    if given is None:
        return []
    found = catalogue.read(task.root, task.plan, span)
    wrong = [name for name, values in given.items() if not _same_values(values, found[name])]
    return [f"{catalogue.NAME}: {', '.join(wrong)} differ"] if wrong else []


def _same_values(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype == object:
        return list(one) == list(other)
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def _summary(task: Task, receipts: list[Receipt], made: int) -> ConversionSummary:
    def size(of: Iterable[Receipt]) -> int:
        return sum(file.size for receipt in of for file in receipt.files)

    return ConversionSummary(
        source=str(task.source.root),
        store=str(task.root),
        recipe=task.plan.recipe_name,
        digest=task.plan.recipe_digest,
        backend=task.plan.backend,
        profile=task.plan.profile,
        rows=sum(receipt.rows for receipt in receipts),
        shards=len(receipts),
        made=made,
        bytes=size(receipts),
        source_bytes=size(task.source.manifest.receipts),
        errors=worst_errors(receipts),
    )
