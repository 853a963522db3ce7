"""Which runs are compared, and by which predictions: those of their latest reports on the same samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.errors import DataError, RunError, RunMissingError
from schemas.report import Report
from schemas.run import ClassifierHead, Head, RegressorHead, RunRecord
from storage.files.place import Root
from storage.reader import open_store
from train.evaluate import evaluate, report_folder
from train.records.run_folder import REPORTS, read_record

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Entry:
    """A run with the report whose predictions are compared."""

    root: Path
    name: str
    record: RunRecord
    report: Report
    folder: Path
    measured_now: bool
    table: pa.Table

    @property
    def sample_id(self) -> NDArray[np.int64]:
        return np.asarray(self.table["sample_id"])


def gather(roots: list[Path], data: Root | str | None, split: str) -> list[Entry]:
    """Each run with its report on the split; one without is evaluated, which takes the data."""
    _check_each_once(roots)
    records = _records(roots)
    names = names_of(roots)
    _check_alike(records, names)
    digest = _digest(roots, data, split)
    return [
        _entry(root, name, record, digest, data, split)
        for root, name, record in zip(roots, names, records, strict=True)
    ]


def _check_each_once(roots: list[Path]) -> None:
    if len(roots) < 2:
        raise DataError(
            f"{len(roots)} run to compare", expected="two runs or more", advice="name further run folders"
        )
    places = [root.resolve() for root in roots]
    twice = [str(root) for k, root in enumerate(roots) if places[k] in places[:k]]
    if twice:
        raise DataError(f"the same run is named twice: {', '.join(twice)}", expected="each run folder once")


def _records(roots: list[Path]) -> list[RunRecord]:
    """What the runs say of themselves; all that are none are told at once."""
    found, faults = [], []
    for root in roots:
        try:
            found.append(read_record(root))
        except RunError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        kind = RunMissingError if any(one.is_bad_input for one in faults) else RunError
        raise kind(
            f"{len(faults)} of {len(roots)} runs cannot be used:\n"
            + "\n".join(f"  - {one.found}" for one in faults),
            expected=faults[0].expected,
            advice="correct or leave out these folders; nothing was measured",
        )
    return found


def names_of(roots: list[Path]) -> list[str]:
    """The folders' names, if they tell the runs apart."""
    short = [root.resolve().name for root in roots]
    return short if len(set(short)) == len(short) else [str(root) for root in roots]


def _check_alike(records: list[RunRecord], names: list[str]) -> None:
    """All that keeps runs from being compared, at once."""
    faults = []
    goals = [_goal(one) for one in records]
    for name, goal in zip(names, goals, strict=True):
        if goal != goals[0]:
            faults.append(f"{name} is {goal}, {names[0]} is {goals[0]}")
    weights = [one.weights_sha256 for one in records]
    for k, name in enumerate(names):
        if (first := weights.index(weights[k])) < k:
            faults.append(f"{name} and {names[first]} have the same weights: they are one run")
    if faults:
        raise DataError(
            "these runs cannot be compared: " + "; ".join(faults),
            expected="different runs with the same objective and the same classes or targets",
        )


def _goal(record: RunRecord) -> str:
    """What a run is for, in words that are the same for runs that can be compared."""
    shuffled = ", with shuffled labels" if record.experiment.data.labels == "shuffled" else ""
    return f"{_goal_of(record.head)}{shuffled}"


def _goal_of(head: Head) -> str:
    if isinstance(head, RegressorHead):
        return f"a regression of {', '.join(sorted(one.target.name for one in head.targets))}"
    classes = ", ".join(f"{one.label} {one.name}" for one in sorted(head.classes, key=lambda one: one.label))
    if isinstance(head, ClassifierHead):
        return f"a classification of {classes}"
    ordinary = ", ".join(map(str, sorted(head.trained_on)))
    return f"a search for anomalies in {classes}, trained on {ordinary}"


# -- which predictions


def _reports(root: Path, split: str) -> Iterator[tuple[Path, Report]]:
    """Reports on a split whose predictions are there."""
    for path in sorted((root / REPORTS).glob("*/report.json")):
        try:
            report = Report.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        if report.split == split and (path.parent / PREDICTIONS).is_file():
            yield path.parent, report


def _latest(root: Path, split: str, record: RunRecord, digest: str) -> tuple[Path, Report] | None:
    """The report that is not numbered, if the run that is in the folder now made it."""
    for folder, report in _reports(root, split):
        own = report.experiment_digest == record.experiment_digest
        if own and report.store_digest == digest and folder == report_folder(root, report):
            return folder, report
    return None


def _digest(roots: list[Path], data: str | Root | None, split: str) -> str:
    """The data that are meant: as told, or those that all runs have a report on."""
    if data is not None:
        return open_store(data).stored.digest
    found = [{report.store_digest: report.store for _, report in _reports(root, split)} for root in roots]
    shared = [digest for digest in found[0] if all(digest in one for one in found)]
    if len(shared) == 1:
        return shared[0]
    measured = [
        f"{root}: {', '.join(sorted(one.values())) or 'none'}" for root, one in zip(roots, found, strict=True)
    ]
    told = f"no store has a report of all these runs on its {split} split"
    if shared:
        told = f"{len(shared)} stores have reports of all these runs on their {split} splits"
    raise DataError(
        told,
        expected="one store that all of them were measured on",
        where="; ".join(measured),
        advice="name the store with --data; runs without a report on it are measured then",
    )


def _entry(
    root: Path, name: str, record: RunRecord, digest: str, data: str | Root | None, split: str
) -> Entry:
    found = _latest(root, split, record, digest)
    measured_now = found is None
    if found is None:
        if data is None:
            raise DataError(
                f"{root} has no report on the {split} split that belongs to it",
                expected="a report of the run that is in the folder now",
                advice="name the store with --data, and the run is measured",
            )
        report = evaluate(root, data, split)
        found = report_folder(root, report), report
    folder, report = found
    try:
        table = pq.read_table(folder / PREDICTIONS)
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"{folder / PREDICTIONS} cannot be read",
            expected="the table of predictions that lensmill evaluate writes",
            advice=f"remove {folder} and measure the run again: lensmill evaluate {root} --data STORE",
        ) from error
    return Entry(root, name, record, report, folder, measured_now, table)
