"""The samples that a report shows, in rows of one class or target each."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from schemas.metrics import AnomalyMetrics, ClassificationMetrics
from schemas.report import Report
from train.report.pictures import ExamplePicture

Kind = Literal["best", "worst"]
TITLES: dict[Kind, str] = {"best": "Told best", "worst": "Told worst"}


class Row(NamedTuple):
    """Samples of one class or target, and why they are in this order."""

    title: str
    order: str
    samples: tuple[ExamplePicture, ...]


class Shown(NamedTuple):
    """The best or the worst, row by row."""

    title: str
    rows: tuple[Row, ...]


def sample_rows(report: Report, examples: Iterable[ExamplePicture]) -> tuple[Shown, ...]:
    """The best, then the worst; a class of which there is none best is named all the same."""
    found = tuple(examples)
    shown = (Shown(title, tuple(_rows(report, found, kind))) for kind, title in TITLES.items())
    return tuple(one for one in shown if found and one.rows)


def sample_key(report: Report, examples: Iterable[ExamplePicture]) -> str:
    """How the words and the colours of the samples are read."""
    said = "the anomaly score" if report.metrics.kind == "anomaly" else "what the model said"
    told = f"Bold: what is true; beside it {said}."
    if not any(one.example.map is not None for one in examples):
        return told
    where = "the image came back wrong most" if report.metrics.kind == "anomaly" else "the network looked"
    return f"{told} Below, in orange: where {where}."


def _rows(report: Report, found: tuple[ExamplePicture, ...], kind: Kind) -> Iterator[Row]:
    for group in dict.fromkeys((*_present(report), *map(_group, found))):
        own = tuple(one for one in found if (one.example.kind, _group(one)) == (kind, group))
        if own:
            yield Row(group, _order(report, kind, group), own)
        elif kind == "best":
            yield Row(group, "No sample of this class was told rightly.", ())


def _group(one: ExamplePicture) -> str:
    """Reports of before groups were written down have the class alone."""
    return one.example.group or one.example.true


def _present(report: Report) -> list[str]:
    """Classes that a classifier was asked about, in their order."""
    metrics = report.metrics
    if not isinstance(metrics, ClassificationMetrics):
        return []
    return [name for name, row in zip(metrics.auc, metrics.confusion, strict=True) if sum(row)]


def _order(report: Report, kind: Kind, group: str) -> str:
    metrics = report.metrics
    if isinstance(metrics, ClassificationMetrics):
        return "told rightly, the surest first" if kind == "best" else "the truth least probable first"
    if isinstance(metrics, AnomalyMetrics):
        lowest = (kind == "best") == (group in metrics.trained_on)
        return f"{'lowest' if lowest else 'highest'} score first"
    return f"{'smallest' if kind == 'best' else 'largest'} error first"
