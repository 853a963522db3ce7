"""A report as one HTML file: no script, font or picture from elsewhere, and no way to ask for one."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from schemas.metrics import AnomalyMetrics, ClassificationMetrics, RegressionMetrics
from schemas.page import Fact
from schemas.report import Report
from schemas.tries import told, tries
from storage.page.numbers import shown_unit
from storage.page.rendering import read_part, source_hash
from storage.reader import Store
from train.data import Samples
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.predict import reconstructions
from train.records.run_folder import HISTORY, Run
from train.report import captions, provenance, repetition, section_figures, tables
from train.report.anomalies import draw_anomalies, draw_reconstructions, examples
from train.report.figures import draw_classification, draw_history, draw_regression, draw_reliability
from train.report.pictures import ExamplePicture, Picture, load_examples, load_mean_maps, save_figures
from train.report.samples import sample_key, sample_rows
from train.report.strips import strips

PICTURES = "pictures"
# pictures of how far what a model says of its certainty can be believed
SURE = ("Reliability", "Coverage")
TEMPLATES = Environment(
    loader=PackageLoader("train", "report"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class PageContent(NamedTuple):
    """Everything that is on the page."""

    report: Report
    pictures: tuple[Picture, ...] = ()
    examples: tuple[ExamplePicture, ...] = ()
    trained_on: str = ""
    facts: tuple[Fact, ...] = ()
    commands: tuple[Fact, ...] = ()
    texts: tuple[Fact, ...] = ()
    mean_maps: Picture | None = None


def write_page(
    folder: Path, report: Report, run: Run, store: Store, samples: Samples, output: NDArray[np.float64]
) -> Path:
    """Draw the pictures into `folder/pictures` and write `folder/report.html`."""
    content = PageContent(
        report,
        save_figures(_figures(report, run, store, samples, output), folder / PICTURES),
        load_examples(report.examples, folder / PICTURES),
        "" if report.same_recipe else run.record.data.recipe_name,
        provenance.facts(report, run.record, store),
        repetition.commands(report, run.record, store),
        repetition.texts(run.record, store),
        load_mean_maps(folder / PICTURES),
    )
    path = folder / "report.html"
    path.write_text(render(content), encoding="utf-8")
    return path


def render(content: PageContent) -> str:
    """The page as HTML. What people wrote is escaped; only our own script may run, by its hash."""
    script = read_part("train.report", "page.js")
    # the look of the data-set page, and what a report has beside it
    style = read_part("storage.page", "page.css") + read_part("train.report", "page.css")
    report = content.report
    sure = tuple(one for one in content.pictures if one.title in SURE)
    return TEMPLATES.get_template("page.html.j2").render(
        content=content,
        report=report,
        strips=strips(report),
        tables=tables,
        dependences=section_figures.draw_dependences(report),
        pictures=[one for one in content.pictures if one not in sure],
        sure_pictures=sure,
        caption=lambda title: captions.caption(title, report),
        sample_rows=sample_rows(report, content.examples),
        sample_key=sample_key(report, content.examples),
        look=tries(report.looks),
        told_looks=told(report.looks),
        script=Markup(script),  # noqa: S704  # our own files
        style=Markup(style),  # noqa: S704
        script_hash=source_hash(script),
        style_hash=source_hash(style),
    )


def _figures(
    report: Report, run: Run, store: Store, samples: Samples, output: NDArray[np.float64]
) -> dict[str, Figure]:
    objective, metrics = run.objective, report.metrics
    pictures: dict[str, Figure] = {}
    if isinstance(objective, ClassificationObjective) and isinstance(metrics, ClassificationMetrics):
        pictures = draw_classification(objective, metrics, samples.label, output)
    if isinstance(objective, RegressionObjective) and isinstance(metrics, RegressionMetrics):
        true, predicted = objective.truth(store, samples), objective.predictions(output)
        units = {one.name: shown_unit(one.unit) for one in store.plan.columns}
        pictures = draw_regression(objective, metrics, true, predicted, units)
    if isinstance(objective, AnomalyObjective) and isinstance(metrics, AnomalyMetrics):
        shown = examples(objective, samples.label)
        stretched, returned = reconstructions(run, samples.take(np.array([row for _, row in shown])))
        score = objective.predictions(output)["anomaly_score"]
        pictures = draw_anomalies(objective, metrics, samples.label, score)
        pictures["Reconstructions"] = draw_reconstructions(shown, stretched, returned)
    if report.reliability is not None:
        pictures |= draw_reliability(report.reliability)
    return pictures | {"Loss": draw_history(run.root / HISTORY)}
