"""From a run folder and a split of a store to a report."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.errors import DataError
from schemas.metrics import scores_of
from schemas.registry import unknown_name
from schemas.report import Report
from storage.place import Root, local
from storage.reader import Store, open_store
from train.data import Samples, load_samples
from train.evaluation.baselines import baselines
from train.evaluation.bounds import bounds
from train.evaluation.calibration import reliability
from train.evaluation.confusions import confused
from train.evaluation.dependence import dependences
from train.evaluation.examples import examples
from train.evaluation.flags import flags
from train.evaluation.looks import earlier_looks
from train.evaluation.measured import Measured
from train.evaluation.speed import speeds
from train.predict import check_shape, outputs
from train.report.numbers import write_numbers
from train.report.page import PICTURES, write_page
from train.run_folder import REPORTS, Run, device_name, load_run, new_folder, versions


def evaluate(run: str | Path, data: str | Root, split: str = "test") -> Report:
    """Measure a run on one split of a store; writes report.json, report.html, numbers and pictures.

    They go to `RUN/reports/RECIPE-SPLIT-DIGEST`. A split that shares samples with the training is refused.
    """
    run = local(run)
    loaded, store = load_run(run), open_store(data)
    if not store.plan.rows_of(split):
        raise unknown_name("split", split, [one.name for one in store.plan.splits])
    samples = load_samples(store, split, loaded.objective.labels)
    check_shape(loaded, samples.shape[1:], f"{data}, {split}")
    _refuse_overlap(loaded, store, samples, split)
    output, milliseconds = outputs(loaded, samples, f"{data}, {split}")
    measured = Measured(loaded, store, samples, output, split)
    metrics = loaded.objective.measure(store, samples, output)
    scores = scores_of(metrics)
    beside, best = baselines(measured, scores), bounds(measured)
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
        ms_per_image=milliseconds,
        device=device_name(),
        parameters=record.parameters,
        versions=versions(),
        warnings=tuple(_warnings(loaded, store, samples)),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        scores=scores,
        reliability=reliability(measured),
        baselines=beside,
        bounds=best,
        flags=flags(scores, beside, best),
        dependences=dependences(measured),
        confused=confused(measured),
        speeds=speeds(measured),
        looks=earlier_looks(measured),
    )
    with new_folder(report_folder(run, report), replace=True) as folder:
        (folder / PICTURES).mkdir()
        report = report.model_copy(update={"examples": examples(measured, folder / PICTURES)})
        (folder / "report.json").write_text(report.to_json())
        pq.write_table(_table(loaded, store, samples, output), folder / "predictions.parquet")
        write_numbers(report, folder / "metrics.parquet")
        write_page(folder, report, loaded, store, samples, output)
    return report


def report_folder(run: Path, report: Report) -> Path:
    """Where the report of a split of a store is."""
    return run / REPORTS / f"{report.store_recipe}-{report.split}-{report.store_digest[:8]}"


def _refuse_overlap(run: Run, store: Store, samples: Samples, split: str) -> None:
    """A sample is the same when seed and index are, whatever the store is called."""
    if store.origin.seed != run.record.data.seed:
        return
    seen = np.isin(samples.sample_id, run.used_samples("train"))
    if seen.any():
        raise DataError(
            f"{int(seen.sum()):,} of {len(samples):,} samples of the {split} split were trained on"
            f" (same seed {store.origin.seed} and index)",
            expected="samples that the model has not seen",
            where=str(store.root),
            advice="evaluate the test split, or data of another seed",
        )


def _warnings(run: Run, store: Store, samples: Samples) -> list[str]:
    found = []
    same_seed = store.origin.seed == run.record.data.seed
    if same_seed and np.isin(samples.sample_id, run.used_samples("val")).any():
        found.append("these samples chose the epoch that was kept, so the score flatters the model")
    here, there = store.pixel_scale_arcsec, run.record.data.pixel_scale_arcsec
    if here != there:
        told = ["of unknown size" if one is None else f"{one:g} arcsec" for one in (here, there)]
        found.append(f"pixels are {told[0]} here and were {told[1]} in training")
    bands, trained = store.origin.band_names, run.record.data.bands
    if bands != trained:
        names = [", ".join(one) or "without name" for one in (bands, trained)]
        found.append(f"bands are {names[0]} here and were {names[1]} in training")
    return found


def _table(run: Run, store: Store, samples: Samples, output: NDArray[np.float64]) -> pa.Table:
    identity = {
        "seed": np.full(len(samples), store.origin.seed),
        "sample_id": samples.sample_id,
        "label": samples.label,
    }
    return pa.table(identity | run.objective.truth(store, samples) | run.objective.predictions(output))
