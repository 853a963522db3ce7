"""Runs side by side on exactly the same samples.

What is compared are the predictions of the runs' reports, row by row. So a difference is judged by its own
spread over the samples, which is much smaller than that of either score.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.comparison import SURE, Comparison, Contender, Difference, RecipeDifference
from schemas.errors import DataError
from schemas.metrics import Score, scores_of
from schemas.run import AnomalyHead, RegressorHead, RunRecord
from storage.files.place import Root, local
from train.comparing.contenders import Entry, gather, names_of
from train.comparing.paired import Draws, draw, holm, interval, p_value
from train.objectives.target_errors import difference, transformed
from train.records.recipe_differences import recipe_differences
from train.records.run_folder import versions
from train.scores import RESAMPLES, Ranking, Statistics, mean_of

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
    statistics = {
        one.name: _statistics(one.record, table) for one, table in zip(entries, tables, strict=True)
    }
    drawn = draw(statistics, _strata(entries[0].record, tables[0]))
    kinds = {score.name: score for score in _scores(entries[0], drawn)}
    differences, comparisons = _differences(drawn, kinds, against)
    first, differing = entries[0].report, recipe_differences([one.record.experiment for one in entries])
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
        contenders=tuple(_contender(one, drawn) for one in entries),
        differences=differences,
        recipe_differences=differing,
        warnings=tuple(_warnings(entries, len(common), differing)),
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


def _statistics(record: RunRecord, table: pa.Table) -> Statistics:
    """What `scores_of` has of a run, from weights of the rows of its predictions."""
    head, label = record.head, np.asarray(table["label"])
    if isinstance(head, RegressorHead):
        errors = _errors(head, table)
        return lambda weights: {name: _mean_of_known(weights, one) for name, one in errors.items()}
    if isinstance(head, AnomalyHead):
        ranking = Ranking(_column(table, "anomaly_score"), ~np.isin(label, head.trained_on))
        return lambda weights: {"auc_all": ranking.drawn(weights).area}
    each = [Ranking(_column(table, f"probability_{one.name}"), label == one.label) for one in head.classes]
    return lambda weights: {"auc_macro": np.mean([one.drawn(weights).area for one in each], axis=0)}


def _errors(head: RegressorHead, table: pa.Table) -> dict[str, Array]:
    """How far off each prediction is in what is learned; NaN where a sample has no such target."""
    found = {}
    for one in head.targets:
        true, predicted = (
            transformed(one.target, _column(table, f"{kind}_{one.target.column}"))
            for kind in ("true", "predicted")
        )
        found[f"mae.{one.target.name}"] = np.abs(difference(one, predicted, true))
    return found


def _mean_of_known(weights: Array, value: Array) -> Array:
    known = np.isfinite(value)
    return mean_of(weights[:, known], value[known])


def _strata(record: RunRecord, table: pa.Table) -> NDArray[np.int64]:
    """What no resample may lack, as in the reports: each class, or the samples that have each target."""
    if not isinstance(record.head, RegressorHead):
        return np.asarray(table["label"], dtype=np.int64)
    known = np.isfinite(np.stack(list(_errors(record.head, table).values()), axis=1))
    _, strata = np.unique(known, axis=0, return_inverse=True)
    return np.asarray(strata.ravel(), dtype=np.int64)


def _column(table: pa.Table, name: str) -> Array:
    return np.asarray(table[name], dtype=np.float64)


def _scores(entry: Entry, drawn: dict[str, Draws]) -> list[Score]:
    """As the report has them, but of the common samples."""
    return [
        score.model_copy(update={"value": interval(drawn[entry.name][score.name])})
        for score in scores_of(entry.report.metrics)
    ]


def _contender(entry: Entry, drawn: dict[str, Draws]) -> Contender:
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
    drawn: dict[str, Draws], kinds: dict[str, Score], against: str | None
) -> tuple[tuple[Difference, ...], int]:
    """Those that are told, and how many there are to correct for.

    The best is known only after all pairs were looked at, so all pairs count; of a run that was named
    beforehand, only its own do.
    """
    pairs = list(combinations(drawn, 2))
    if against is not None:
        pairs = [(name, against) for name in drawn if name != against]
    found = [
        (score, one, other, drawn[one][score.name] - drawn[other][score.name])
        for score in kinds.values()
        for one, other in pairs
    ]
    corrected = holm([p_value(apart) for *_, apart in found])
    told = []
    for (score, one, other, apart), p in zip(found, corrected, strict=True):
        best = against or _best(drawn, score)
        if best == one:
            told.append(_difference(score, other, one, -apart, p))
        if best == other:
            told.append(_difference(score, one, other, apart, p))
    return tuple(told), len(found)


def _best(drawn: dict[str, Draws], score: Score) -> str:
    values = {name: one[score.name][0] for name, one in drawn.items()}
    best = max if score.better == "higher" else min
    return best(values, key=lambda name: float(values[name]))


def _difference(score: Score, name: str, against: str, apart: Array, corrected: float) -> Difference:
    ahead = (apart[0] > 0) == (score.better == "higher")
    return Difference(
        score=score.name,
        unit=score.unit,
        name=name,
        against=against,
        difference=interval(apart),
        p=p_value(apart),
        p_corrected=corrected,
        verdict=("better" if ahead else "worse") if corrected < SURE else "not told apart",
    )


def _warnings(entries: list[Entry], common: int, differing: Sequence[RecipeDifference]) -> list[str]:
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
    if [one.key for one in differing] == ["seed"]:
        found.append("only the seed differs, so this tells weights apart and not methods")
    if len({one.record.data.recipe_digest for one in entries}) > 1:
        found.append("the runs were trained on different data")
    return found
