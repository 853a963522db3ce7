"""From a run folder and a split of a store to a report."""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.expectation import judge
from schemas.metrics import Metrics, scores_of
from schemas.report import Report
from storage.files.place import Root, local
from storage.reader import Store, open_store
from train.data import Samples, check_split, load_samples, shuffling_seed
from train.evaluation.baselines import baselines
from train.evaluation.bounds import bounds
from train.evaluation.calibration import reliability, uncalibrated
from train.evaluation.confusions import confused
from train.evaluation.curves import curves
from train.evaluation.dependence import dependences
from train.evaluation.examples import examples
from train.evaluation.flags import flags
from train.evaluation.looks import earlier_looks, record_look
from train.evaluation.measured import Measured
from train.evaluation.speed import speeds
from train.inputs import check_shape
from train.predict import outputs
from train.records.run_folder import REPORTS, Run, check_can_be, device_name, load_run, new_folder, versions
from train.records.used_samples import find_shared, refuse_shared, shared_warnings
from train.report.numbers import write_numbers
from train.report.page import PICTURES, write_page

# Fewer samples of a class say nothing of it.
FEWEST_OF_CLASS = 3


def evaluate(run: str | Path, data: str | Root, split: str = "test") -> Report:
    """Measure a run on one split of a store; writes report.json, report.html, numbers and pictures.

    They go to `RUN/reports/RECIPE-SPLIT-DIGEST`; what was there and found something else is kept beside it.
    A split that shares samples with the training is refused.
    """
    run = local(run)
    loaded, store = load_run(run), open_store(data)
    check_split(store, split)
    check_can_be(run / REPORTS / split)
    shuffled = shuffling_seed(loaded.record.experiment)
    samples = load_samples(store, split, loaded.objective.labels, shuffled=shuffled)
    check_shape(loaded.record, samples.shape[1:], f"{data}, {split}")
    shared = find_shared(loaded, store, samples)
    refuse_shared(shared, loaded, store, split)
    output, _ = outputs(loaded, samples, f"{data}, {split}")
    measured = Measured(loaded, store, samples, output, split)
    metrics = loaded.objective.measure(store, samples, output)
    scores = scores_of(metrics)
    beside, best, timed = baselines(measured, scores), bounds(measured), speeds(measured)
    record = loaded.record
    report = Report(
        run=str(run),
        experiment=record.experiment.name,
        model=record.experiment.model.name,
        experiment_digest=record.experiment_digest,
        store=str(store.root),
        store_recipe=store.origin.name,
        store_digest=store.stored.digest,
        same_recipe=store.stored.digest == record.data.recipe_digest,
        split=split,
        samples=len(samples),
        headline=loaded.objective.headline(metrics),
        metrics=metrics,
        ms_per_image=timed[-1].ms_per_image,
        device=device_name(),
        parameters=record.parameters,
        versions=versions(),
        warnings=(
            *shared_warnings(shared, split),
            *_few_samples(loaded, samples, split),
            *_warnings(loaded, store),
        ),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        scores=scores,
        reliability=reliability(measured),
        baselines=beside.found,
        bounds=best,
        flags=flags(measured, scores, beside, best),
        dependences=dependences(measured),
        confused=confused(measured),
        speeds=timed,
        looks=earlier_looks(measured, scores),
    )
    expectation = record.experiment.expectation
    if expectation is not None:
        report = report.model_copy(update={"verdict": judge(expectation, report)})
    target = report_folder(run, report)
    with new_folder(target, replace=True) as folder:
        (folder / PICTURES).mkdir()
        report = report.model_copy(update={"examples": examples(measured, folder / PICTURES)})
        (folder / "report.json").write_text(report.to_json())
        pq.write_table(_table(loaded, store, samples, output), folder / "predictions.parquet")
        points = curves(measured)
        if points is not None:
            pq.write_table(points, folder / "curves.parquet")
        write_numbers(report, folder / "metrics.parquet")
        write_page(folder, report, loaded, store, samples, output)
        record_look(measured, scores)
        _keep_other(target, report)
    return report


def report_folder(run: Path, report: Report) -> Path:
    """Where the report of a split of a store is."""
    return run / REPORTS / f"{report.store_recipe}-{report.split}-{report.store_digest[:8]}"


def _keep_other(folder: Path, report: Report) -> None:
    """Number an earlier report that found something else; one that found the same has nothing to add."""
    if not folder.exists() or _metrics(folder) == report.metrics:
        return
    taken = {path.name for path in folder.parent.iterdir()}
    free = next(name for k in count(1) if (name := f"{folder.name}-{k}") not in taken)
    folder.rename(folder.with_name(free))


def _metrics(folder: Path) -> Metrics | None:
    try:
        return Report.model_validate_json((folder / "report.json").read_bytes()).metrics
    except (OSError, ValidationError):
        return None


def _few_samples(run: Run, samples: Samples, split: str) -> list[str]:
    """Classes whose scores hang on a sample or two: resampling them shows none of that."""
    counts = {
        one.name: int((samples.label == one.label).sum()) for one in getattr(run.record.head, "classes", ())
    }
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEWEST_OF_CLASS]
    told = f"the {split} split has next to no samples of {', '.join(few)}: scores and intervals mean little"
    return [told] if few else []


def _warnings(run: Run, store: Store) -> list[str]:
    found = []
    if run.record.experiment.data.labels == "shuffled":
        found.append("labels and parameters are shuffled, in training and here: only a guess can be right")
    here, there = store.pixel_scale_arcsec, run.record.data.pixel_scale_arcsec
    if here != there:
        told = ["of unknown size" if one is None else f"{one:g} arcsec" for one in (here, there)]
        found.append(f"pixels are {told[0]} here and were {told[1]} in training")
    bands, trained = store.origin.band_names, run.record.data.bands
    if bands != trained:
        names = [", ".join(one) or "without name" for one in (bands, trained)]
        found.append(f"bands are {names[0]} here and were {names[1]} in training")
    lacking = uncalibrated(run.record)
    if lacking is not None:
        found.append(lacking)
    return found


def _table(run: Run, store: Store, samples: Samples, output: NDArray[np.float64]) -> pa.Table:
    identity = {
        "seed": np.full(len(samples), store.origin.seed),
        "sample_id": samples.sample_id,
        "label": samples.label,
    }
    return pa.table(identity | run.objective.truth(store, samples) | run.objective.predictions(output))
