"""Runs side by side on exactly the same samples.

What is compared are the predictions of the runs' reports, row by row. So a difference is judged by its own
spread over the samples, which is much smaller than that of either score.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.comparison import Comparison, Contender, Difference
from schemas.errors import DataError
from schemas.metrics import Score, scores_of
from schemas.run import AnomalyHead, ClassifierHead, RunRecord
from storage.place import Root, local
from train.contenders import Entry, gather, names_of
from train.objectives.target_errors import transformed
from train.paired import (
    RESAMPLES,
    Statistic,
    area,
    draw,
    holm,
    interval,
    mean_of,
    mean_where_known,
    p_value,
)
from train.run_folder import versions

SURE = 0.05
# Fewer samples than these, and their spread is not the normal distribution that p-values are read off.
FEW = 50
Array = NDArray[np.float64]
Runs = Sequence[str | Path]


def compare(
    runs: Runs, data: str | Root | None = None, split: str = "test", against: str | Path | None = None
) -> Comparison:
    """The scores of two runs or more on the samples that all were measured on, and their paired differences.

    The predictions are those of the runs' latest reports on the split. A run without one is evaluated, which
    takes `data`. Differences are against the best run in each score, or against the run `against`.
    """
    roots = [local(run) for run in runs]
    chosen = None if against is None else _chosen(local(against), roots)
    return _compared(gather(roots, data, split), split, chosen)


def _chosen(against: Path, roots: list[Path]) -> str:
    for root, name in zip(roots, names_of(roots), strict=True):
        if root.resolve() == against.resolve():
            return name
    raise DataError(
        f"{against} is none of the runs that are compared",
        expected=f"one of {', '.join(map(str, roots))}",
        where="--against",
    )


def _compared(entries: list[Entry], split: str, against: str | None) -> Comparison:
    common, tables = _aligned(entries)
    stratum = np.asarray(tables[0]["label"], dtype=np.int32)
    drawn = _drawn(entries, tables, stratum)
    kinds = {score.name: score for score in _scores(entries[0], drawn[0])}
    differences, comparisons = _differences([one.name for one in entries], drawn, kinds, against)
    first = entries[0].report
    return Comparison(
        objective=entries[0].record.head.kind,
        store=first.store,
        store_recipe=first.store_recipe,
        store_digest=first.store_digest,
        split=split,
        samples=len(common),
        resamples=RESAMPLES,
        against=against,
        comparisons=comparisons,
        contenders=tuple(_contender(one, found) for one, found in zip(entries, drawn, strict=True)),
        differences=differences,
        warnings=tuple(_warnings(entries, len(common))),
        versions=versions(),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _aligned(entries: list[Entry]) -> tuple[NDArray[np.int64], list[pa.Table]]:
    """The numbers of the common samples, and the rows of each run in their order."""
    common = entries[0].sample_id
    for one in entries[1:]:
        common = np.intersect1d(common, one.sample_id)
    if not len(common):
        raise DataError(
            "these runs have no sample in common",
            expected="runs that were measured on the same samples",
            where="; ".join(str(one.folder) for one in entries),
        )
    common, tables = np.unique(common), []
    for one in entries:
        order = np.argsort(one.sample_id, kind="stable")
        tables.append(one.table.take(order[np.searchsorted(one.sample_id, common, sorter=order)]))
    return common, tables


def _drawn(
    entries: list[Entry], tables: list[pa.Table], stratum: NDArray[np.int32]
) -> list[dict[str, Array]]:
    """Each score of each run on the common samples, and on each resample of them."""
    each = [_statistics(one.record, table) for one, table in zip(entries, tables, strict=True)]
    flat = {(k, name): one for k, found in enumerate(each) for name, one in found.items()}
    drawn = draw(flat, stratum)
    return [{name: drawn[k, name] for name in found} for k, found in enumerate(each)]


def _statistics(record: RunRecord, table: pa.Table) -> dict[str, Statistic]:
    """What `scores_of` has of a run, as statistics of the rows of its predictions."""
    head = record.head
    label = np.asarray(table["label"])
    if isinstance(head, ClassifierHead):
        each = [area(_column(table, f"probability_{one.name}"), label == one.label) for one in head.classes]
        return {"auc_macro": mean_of(each)}
    if isinstance(head, AnomalyHead):
        return {"auc_all": area(_column(table, "anomaly_score"), ~np.isin(label, head.trained_on))}
    return {f"mae.{one.target.name}": mean_where_known(_error(one, table)) for one in head.targets}


def _error(one: Any, table: pa.Table) -> Array:
    """How far off each prediction is in what is learned; directions along the shorter way round."""
    column = one.target.column
    true, predicted = (
        transformed(one.target, _column(table, f"{kind}_{column}")) for kind in ("true", "predicted")
    )
    off = predicted - true
    if one.period is not None and one.target.transform != "log10":
        off = np.mod(off + one.period / 2, one.period) - one.period / 2
    return np.abs(off)


def _column(table: pa.Table, name: str) -> Array:
    return np.asarray(table[name], dtype=np.float64)


def _scores(entry: Entry, drawn: dict[str, Array]) -> list[Score]:
    """As the report has them, but of the common samples."""
    return [
        score.model_copy(update={"value": interval(drawn[score.name])})
        for score in scores_of(entry.report.metrics)
        if score.name in drawn
    ]


def _contender(entry: Entry, drawn: dict[str, Array]) -> Contender:
    record = entry.record
    return Contender(
        name=entry.name,
        run=str(entry.root),
        experiment=record.experiment.name,
        model=record.experiment.model.name,
        parameters=record.parameters,
        ms_per_image=entry.report.ms_per_image,
        device=entry.report.device,
        trained_on=record.data.recipe_name,
        training_samples=record.data.train_samples,
        weights_sha256=record.weights_sha256,
        report=str(entry.folder),
        measured_now=entry.measured_now,
        scores=tuple(_scores(entry, drawn)),
    )


def _differences(
    names: list[str], drawn: list[dict[str, Array]], kinds: dict[str, Score], against: str | None
) -> tuple[tuple[Difference, ...], int]:
    """Those that are told, and how many there are to correct for.

    The best is known only after all pairs were looked at, so all pairs count; of a run that was named
    beforehand, only its own do.
    """
    pairs = list(combinations(range(len(names)), 2))
    if against is not None:
        other = names.index(against)
        pairs = [(k, other) for k in range(len(names)) if k != other]
    found = [
        (kind, one, other, drawn[one][kind] - drawn[other][kind]) for kind in kinds for one, other in pairs
    ]
    corrected = holm([p_value(one[-1]) for one in found])
    told = []
    for (kind, one, other, difference), p in zip(found, corrected, strict=True):
        best = names.index(against) if against is not None else _best(drawn, kinds[kind])
        if best == one:
            one, other, difference = other, one, -difference
        if best == other:
            told.append(_difference(kinds[kind], names[one], names[other], difference, p))
    return tuple(told), len(found)


def _best(drawn: list[dict[str, Array]], score: Score) -> int:
    values = [one[score.name][0] for one in drawn]
    return int(np.argmax(values) if score.better == "higher" else np.argmin(values))


def _difference(score: Score, name: str, against: str, difference: Array, corrected: float) -> Difference:
    ahead = (difference[0] > 0) == (score.better == "higher")
    return Difference(
        score=score.name,
        unit=score.unit,
        name=name,
        against=against,
        difference=interval(difference),
        p=p_value(difference),
        p_corrected=corrected,
        verdict=("better" if ahead else "worse") if corrected < SURE else "not told apart",
    )


def _warnings(entries: list[Entry], common: int) -> list[str]:
    found = []
    if common < FEW:
        found.append(f"{common} samples are too few to trust p-values")
    for one in entries:
        if one.report.samples > common:
            left = one.report.samples - common
            found.append(f"{one.name}: {left:,} samples are left out, as not all runs were measured on them")
        found += [f"{one.name}: {warning}" for warning in one.report.warnings]
        found += [f"{one.name}: {flag.text}" for flag in one.report.flags]
    if len({one.report.device for one in entries}) > 1:
        found.append("times were measured on different devices and cannot be compared")
    if len({one.record.data.recipe_digest for one in entries}) > 1:
        found.append("the runs were trained on different data")
    return found
