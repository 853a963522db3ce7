"""One self-contained HTML page: no script, no font, no picture from elsewhere."""

import base64
import io
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure
from numpy.typing import NDArray

from schemas.metrics import AnomalyMetrics, ClassificationMetrics, RegressionMetrics
from schemas.report import Report
from storage.reader import Store
from train.data import Samples
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.predict import reconstructions
from train.report.anomalies import draw_anomalies, draw_reconstructions, examples
from train.report.figures import draw_classification, draw_history, draw_regression, draw_reliability
from train.run_folder import HISTORY, Run

PICTURES = "pictures"
TEMPLATES = Environment(
    loader=PackageLoader("train", "report"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(
    folder: Path, report: Report, run: Run, store: Store, samples: Samples, output: NDArray[np.float64]
) -> Path:
    """Draw the pictures into `folder/pictures` and write `folder/report.html`."""
    pictures = _pictures(report, run, store, samples, output)
    embedded = []
    for title, figure in pictures.items():
        png = _png(figure)
        (folder / PICTURES / f"{title.lower()}.png").write_bytes(png)
        embedded.append({"title": title, "data": base64.b64encode(png).decode()})
    page = TEMPLATES.get_template("page.html.j2").render(
        report=report, record=run.record, store=store, pictures=embedded
    )
    path = folder / "report.html"
    path.write_text(page)
    return path


def _pictures(
    report: Report, run: Run, store: Store, samples: Samples, output: NDArray[np.float64]
) -> dict[str, Figure]:
    objective, metrics = run.objective, report.metrics
    pictures: dict[str, Figure] = {}
    if isinstance(objective, ClassificationObjective) and isinstance(metrics, ClassificationMetrics):
        pictures = draw_classification(objective, metrics, samples.label, output)
    if isinstance(objective, RegressionObjective) and isinstance(metrics, RegressionMetrics):
        true, predicted = objective.truth(store, samples), objective.predictions(output)
        pictures = draw_regression(objective, metrics, true, predicted)
    if isinstance(objective, AnomalyObjective) and isinstance(metrics, AnomalyMetrics):
        shown = examples(objective, samples.label)
        stretched, returned = reconstructions(run, samples.take(np.array([row for _, row in shown])))
        score = objective.predictions(output)["anomaly_score"]
        pictures = draw_anomalies(objective, metrics, samples.label, score)
        pictures["Reconstructions"] = draw_reconstructions(shown, stretched, returned)
    if report.reliability is not None:
        pictures |= draw_reliability(report.reliability)
    return pictures | {"Loss": draw_history(run.root / HISTORY)}


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
