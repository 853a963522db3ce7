"""The evaluation flow: a run and a store in, a report out."""

import re
from pathlib import Path
from typing import Any

from prefect import flow

from flows.extras import need_training
from flows.forms import MinutesForm, RunForm, SplitForm, StoreForm
from flows.telling.events import watched
from flows.telling.run_log import show, show_table
from flows.unattended import persevering, told, within
from schemas.numbers import CONSTANT, METRICS, SPEED, numbers
from schemas.report import Report
from schemas.tries import told as told_looks
from storage.files.place import local, place

# What stands beside a score in tables.
BASELINE = "baseline components"
# counts that are no metric
LEFT_OUT = ("samples",)


@watched
@flow(name="evaluate", validate_parameters=True)
@told
@persevering
def evaluate_flow(
    run: RunForm, data: StoreForm, split: SplitForm = "test", timeout_minutes: MinutesForm = None
) -> Report:
    """Measure a run on a split and show the numbers in Prefect's page.

    Args:
        run: The folder of a finished training.
        data: The store to measure on, a folder or an `s3://` URL.
        split: Which samples of the store; the last word is that of `test`.
        timeout_minutes: How long it may take before it is ended as failed; no limit when left out.
    """
    need_training()
    from train.evaluate import evaluate, report_folder

    with within(timeout_minutes, "the evaluation"):
        report = evaluate(local(run), place(data), split)
    show_report(report, report_folder(Path(run), report) / "report.html")
    return report


def show_report(report: Report, page: Path) -> None:
    """The numbers in Prefect's page, with the way to ours."""
    about = f"{report.experiment} on {report.store_recipe}, {report.split}"
    key = artifact_key(report.experiment)
    show_table(f"metrics-{key}", metric_rows(report), about)
    show(f"report-{key}", report_text(report, page), about)


def artifact_key(name: str) -> str:
    """A name as Prefect takes it in keys: one line of history per recipe or experiment."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def metric_rows(report: Report) -> list[dict[str, Any]]:
    """What was measured, one row each, with what the baseline and a constant get where that is known."""
    rows = numbers(report)
    beside = {(one.section, one.name, one.of): one.value for one in rows}
    shown = [one for one in rows if one.section in (METRICS, SPEED) and one.name not in LEFT_OUT]
    return [
        {
            "metric": one.words,
            "value": _said(one.value),
            "interval": "" if one.low is None else f"{_said(one.low)} to {_said(one.high)}",
            "baseline": _said(beside.get((BASELINE, one.name, one.of))),
            "constant": _said(beside.get((CONSTANT, one.name, one.of))),
        }
        for one in shown
    ]


def report_text(report: Report, page: Path) -> str:
    """A report in Markdown: the headline, what to be careful about in bold, the page."""
    about = f"{report.experiment} on {report.store_recipe}, {report.split}"
    careful = [f"**{one.severity}: {one.text}**" for one in report.flags]
    careful += [f"**warning: {one}**" for one in report.warnings]
    best = [str(one) for one in report.bounds]
    before = [told_looks(report.looks)] if report.looks else []
    before += [f"**{report.verdict}**"] if report.verdict is not None else []
    measured = f"{report.samples:,} samples, report: [{page.name}]({page.absolute().as_uri()}), `{page}`"
    return "\n\n".join((f"## {about}", f"**{report.headline}**", *careful, *best, *before, measured)) + "\n"


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
