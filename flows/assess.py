"""The evaluation flow: a run and a store in, a report out."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from schemas.metrics import AnomalyMetrics, ClassificationMetrics, TargetMetrics
from schemas.report import Report
from storage.place import local, place


@flow(name="evaluate", validate_parameters=True)
def evaluate_flow(run: str, data: str, split: str = "test") -> Report:
    """Measure a run on a split and show the numbers in Prefect's page."""
    from train.evaluate import evaluate, report_folder

    report = evaluate(local(run), place(data), split)
    page = report_folder(Path(run), report) / "report.html"
    about = f"{report.experiment} on {report.store_recipe}, {report.split}"
    key = artifact_key(report.experiment)
    create_table_artifact(table=metric_rows(report), key=f"metrics-{key}", description=about)
    create_markdown_artifact(
        markdown=f"## {about}\n\n**{report.headline}**\n\n{report.samples:,} samples, report: `{page}`\n",
        key=f"report-{key}",
        description=about,
    )
    return report


def artifact_key(name: str) -> str:
    """A recipe's name as Prefect takes it in keys: one line of history per recipe."""
    return name.replace("_", "-")


def metric_rows(report: Report) -> list[dict[str, Any]]:
    """The numbers of a report, one row each, the constant predictor's beside them where it has one."""
    metrics = report.metrics
    if isinstance(metrics, ClassificationMetrics):
        rows: list[tuple[str, float | None, float | None]] = [
            ("accuracy", metrics.accuracy.value, metrics.constant_accuracy)
        ]
        rows += [(f"AUC {name}", area.value, 0.5) for name, area in metrics.auc.items()]
        rows += [("AUC macro", metrics.auc_macro.value, 0.5), ("AUC micro", metrics.auc_micro.value, 0.5)]
        rows += [
            (f"average precision {name}", one.value, metrics.share[name])
            for name, one in metrics.precision.items()
        ]
        rows += [("average precision macro", metrics.precision_macro.value, None)]
    elif isinstance(metrics, AnomalyMetrics):
        rows = [(f"AUC {name}", area.value, 0.5) for name, area in metrics.auc.items()]
        rows += [("AUC of all others", metrics.auc_all.value, 0.5)]
        rows += [
            (f"average precision {name}", one.value, metrics.share[name])
            for name, one in metrics.precision.items()
        ]
        rows += [
            (
                f"found {one.class_name or 'of all others'} at {one.false_positives:.0%} false",
                one.found.value,
                one.false_positives,
            )
            for one in metrics.found
        ]
        rows += [(f"median score {name}", value, None) for name, value in metrics.score.items()]
    else:
        rows = [row for one in metrics.targets for row in _target_rows(one)]
    rows.append(("time per image [ms]", report.ms_per_image, None))
    return [
        {"metric": name, "value": _said(value), "constant": _said(constant)} for name, value, constant in rows
    ]


def _target_rows(one: TargetMetrics) -> list[tuple[str, float | None, float | None]]:
    return [
        (f"MAE {one.target} [{one.unit}]", one.mae.value, one.constant_mae.value),
        (f"RMSE {one.target} [{one.unit}]", one.rmse.value, None),
        (f"R2 {one.target}", one.r2.value, None),
        (f"bias {one.target} [{one.unit}]", one.bias.value, None),
        (f"median error {one.target} [%]", one.percentage_error, None),
        *(
            [(f"within predicted sigma {one.target}", one.within_sigma, None)]
            if one.within_sigma is not None
            else []
        ),
    ]


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
