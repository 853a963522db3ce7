"""Pictures of a report, drawn with matplotlib and kept as PNG."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.special import softmax

from schemas.metrics import ClassificationMetrics, RegressionMetrics
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.scores import roc

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
    """ROC curves and the confusion matrix."""
    probability, true = softmax(output, axis=1), objective.positions(label)
    return {
        "ROC": _roc_curves(objective.names, metrics, probability, true),
        "Confusion": _confusion(objective.names, np.array(metrics.confusion)),
    }


def _roc_curves(
    names: list[str], metrics: ClassificationMetrics, probability: Array, true: NDArray[Any]
) -> Figure:
    figure, axis = new_figure()
    for k, name in enumerate(names):
        colour = COLOURS[k % len(COLOURS)]
        axis.plot(
            *roc(probability[:, k], true == k), color=colour, label=f"{name} (AUC {metrics.auc[name]:.3f})"
        )
    axis.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="chance")
    axis.set(
        xlabel="false positive rate", ylabel="true positive rate", title="ROC, one class against the rest"
    )
    axis.set_aspect("equal")
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
) -> Pictures:
    """Predicted against true value for each target."""
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
        axis.set(
            xlabel=f"true {column}", ylabel=f"predicted {column}", title=f"{column} (R2 {measured.r2:.3f})"
        )
        axis.legend(frameon=False)
        pictures[column] = figure
    return pictures
