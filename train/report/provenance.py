"""Where a report's numbers come from, as lines for people."""

from schemas.page import Fact
from schemas.report import Report
from schemas.run import RunRecord
from storage.page.provenance import FAMILIES
from storage.reader import Store

SHOWN_DIGITS = 16


def facts(report: Report, record: RunRecord, store: Store) -> tuple[Fact, ...]:
    """Digests, seeds, versions, hardware and times."""
    data, experiment = record.data, record.experiment
    found = {
        "experiment": f"{report.experiment}, digest {report.experiment_digest[:SHOWN_DIGITS]},"
        f" seed {experiment.seed}",
        "purpose": experiment.description,
        "model": f"{report.model}, {report.parameters:,} parameters",
        "takes images": "" if record.network_input is None else str(record.network_input),
        "started from": "" if record.initial_weights is None else str(record.initial_weights),
        "weights": f"SHA-256 {record.weights_sha256[:SHOWN_DIGITS]}",
        "trained on": f"{data.recipe_name}, digest {data.recipe_digest[:SHOWN_DIGITS]}, seed {data.seed},"
        f" {data.train_samples:,} samples ({data.val_samples:,} for validation)",
        "training": f"best of {record.epochs} epochs: {record.best_epoch};"
        f" {record.train_seconds:,.0f} s on {record.device}",
        "measured on": f"{report.store_recipe}, digest {report.store_digest[:SHOWN_DIGITS]},"
        f" split {report.split}, seed {store.origin.seed}; no sample was trained on",
        "files": f"run {report.run}, data {report.store}",
        "measured at": (report.at or "").replace("T", " ").replace("+00:00", " UTC"),
        "measured with": f"{report.device}, {report.ms_per_image:.2g} ms per image",
        "data family": FAMILIES[store.origin.family],
        "versions": versions_told(report.versions),
        "trained with": "" if record.versions == report.versions else versions_told(record.versions),
    }
    return tuple(Fact(name=name, text=" ".join(text.split())) for name, text in found.items() if text)


def versions_told(versions: dict[str, str]) -> str:
    """Names and numbers in one line."""
    return ", ".join(f"{name} {number}" for name, number in versions.items())
