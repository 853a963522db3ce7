"""Pictures of a report, drawn with matplotlib and kept as PNG."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from schemas.calibration import Coverage, Reliability
from schemas.metrics import ClassificationMetrics, Interval, RegressionMetrics
from train.evaluation.curves import Cases, cases_of_classes, thinned
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.scores import precision_recall, roc

Array = NDArray[np.float64]
# colour-blind safe (Okabe and Ito)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Pictures = dict[str, Figure]


def new_figure(width: float = 5.2, height: float = 4.4) -> tuple[Figure, Any]:
    """A figure with one plain axis."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def draw_history(path: Path) -> Figure:
    """Training and validation loss by epoch."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axis = new_figure()
    for name, colour, label in (
        ("train_loss", COLOURS[0], "training"),
        ("val_loss", COLOURS[1], "validation"),
    ):
        points = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
        if points:
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=label)
    axis.set(xlabel="epoch", ylabel="loss", title="Loss")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False)
    return figure


def draw_classification(
    objective: ClassificationObjective,
    metrics: ClassificationMetrics,
    label: NDArray[np.int32],
    output: Array,
) -> Pictures:
    """ROC and precision-recall curves and the confusion matrix."""
    cases = cases_of_classes(objective, label, output)
    areas = [*metrics.auc.values(), metrics.auc_micro]
    precisions = [*metrics.precision.values(), metrics.precision_micro]
    return {
        "ROC": draw_roc(cases, areas, "ROC, one class against the rest"),
        "Precision": draw_precision(cases, precisions, [*metrics.share.values()]),
        "Confusion": _confusion(objective.names, np.array(metrics.confusion)),
    }


def draw_roc(cases: Sequence[Cases], areas: Sequence[Interval], title: str) -> Figure:
    """A curve for each class, and a thin one for all of them together."""
    figure, axis = new_figure()
    for one, area in zip(cases, areas, strict=True):
        x, y = roc(one.score, one.positive)
        kept = thinned(x, y)
        axis.plot(x[kept], y[kept], **_line(one, area))
    axis.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="chance")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", title=title)
    axis.set_aspect("equal")
    axis.legend(frameon=False, loc="lower right", fontsize=8, title="area [95%]", title_fontsize=8)
    return figure


def draw_precision(cases: Sequence[Cases], precisions: Sequence[Interval], shares: Sequence[float]) -> Figure:
    """Precision against recall; what knowing nothing gives is the share of each class."""
    figure, axis = new_figure()
    for one, precision in zip(cases, precisions, strict=True):
        x, y = precision_recall(one.score, one.positive)
        kept = thinned(x, y)
        axis.plot(x[kept], y[kept], **_line(one, precision))
    for one, share in zip(cases, shares, strict=False):
        axis.axhline(share, color=_line(one)["color"], linestyle=":", linewidth=1)
    axis.set(
        xlabel="recall", ylabel="precision", title="Precision and recall", xlim=(0, 1.02), ylim=(0, 1.02)
    )
    axis.set_aspect("equal")
    legend = {"title": "average precision [95%]", "title_fontsize": 8}
    axis.legend(frameon=False, loc="lower left", fontsize=8, **legend)
    return figure


def _line(one: Cases, found: Interval | None = None) -> dict[str, Any]:
    """How the curve of a class is drawn, and what its legend says."""
    said = "" if found is None else f": {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    if one.place is None:
        return {"color": "0.35", "linewidth": 1, "linestyle": "--", "label": f"all together{said}"}
    return {"color": COLOURS[one.place % len(COLOURS)], "label": f"{one.name}{said}"}


def draw_reliability(found: Reliability) -> Pictures:
    """Shares that are right against confidences, or shares that intervals hold against what they should."""
    if found.bins:
        return {"Reliability": _confidences(found)}
    return {"Coverage": _coverages(found.coverage)} if found.coverage else {}


def _confidences(found: Reliability) -> Figure:
    figure, axis = new_figure()
    x = np.array([one.confidence for one in found.bins])
    y = np.array([one.right.value for one in found.bins])
    ends = np.array([[one.right.low, one.right.high] for one in found.bins]).T
    # single precision may put an end beside its value
    axis.errorbar(x, y, np.abs(ends - y), fmt="o", markersize=4, color=COLOURS[0], label="samples in bins")
    lowest = min(float(ends.min()), float(x.min()))
    axis.plot([lowest, 1], [lowest, 1], color="0.6", linestyle=":", label="honest")
    axis.set(xlabel="probability of the predicted class", ylabel="share that is right")
    if found.error is not None and found.error_before is not None:
        axis.set_title(f"Calibration error {found.error.value:.3f}, before {found.error_before:.3f}")
    axis.legend(frameon=False, loc="lower right")
    return figure


def _coverages(coverage: tuple[Coverage, ...]) -> Figure:
    figure, axis = new_figure()
    for k, target in enumerate(dict.fromkeys(one.target for one in coverage)):
        own = [one for one in coverage if one.target == target]
        # side by side, as they stand at the same levels
        x = np.array([one.level for one in own]) + 0.006 * k
        y = np.array([one.covered.value for one in own])
        ends = np.array([[one.covered.low, one.covered.high] for one in own]).T
        line = {"color": COLOURS[k % len(COLOURS)], "markersize": 5}
        axis.errorbar(x, y, np.abs(ends - y), fmt="o", label=target, **line)
        before = [one.before for one in own]
        if None not in before:
            axis.plot(x, before, "x", label=f"{target}, not calibrated", **line)
    lowest = min(one.level for one in coverage) - 0.05
    axis.plot([lowest, 1], [lowest, 1], color="0.6", linestyle=":", label="honest")
    axis.set(xlabel="share that they should hold", ylabel="share that they hold", title="Coverage")
    axis.legend(frameon=False, loc="lower right", fontsize=8)
    return figure


def _confusion(names: list[str], counts: NDArray[np.int64]) -> Figure:
    figure, axis = new_figure()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if share[row, column] > 0.55 else "black"
        text = f"{counts[row, column]:,}\n{share[row, column]:.0%}"
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="predicted", ylabel="true", title="Confusion")
    axis.spines[:].set_visible(False)
    return figure


def draw_regression(
    objective: RegressionObjective,
    metrics: RegressionMetrics,
    true: dict[str, Array],
    predicted: dict[str, Array],
    units: dict[str, str],
) -> Pictures:
    """Predicted against true value for each target, in the units of their columns."""
    pictures = {}
    for fitted, measured in zip(objective.head.targets, metrics.targets, strict=True):
        column = fitted.target.column
        x, y = true[f"true_{column}"], predicted[f"predicted_{column}"]
        # NaN where a class has no such target
        x, y = x[np.isfinite(x)], y[np.isfinite(x)]
        figure, axis = new_figure()
        # few points are drawn boldly, many so that their density shows
        opacity = float(np.clip(150 / len(x), 0.15, 0.8))
        axis.scatter(x, y, s=9, alpha=opacity, color=COLOURS[0], linewidths=0)
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axis.plot(ends, ends, color="0.4", linestyle=":", label="exact")
        if fitted.target.transform == "log10":
            axis.set(xscale="log", yscale="log")
        unit = f" [{units[column]}]" if units.get(column) else ""
        axis.set(
            xlabel=f"true {column}{unit}",
            ylabel=f"predicted {column}{unit}",
            title=f"{column} (R2 {measured.r2.value:.3f})",
        )
        axis.legend(frameon=False)
        pictures[column] = figure
    return pictures
