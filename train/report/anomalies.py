"""Pictures of an anomaly search: ROC curves, scores by class, what came back of some images."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from schemas.metrics import AnomalyMetrics
from train.evaluation.curves import cases_of_anomalies
from train.objectives.anomaly import AnomalyObjective
from train.report.figures import COLOURS, Array, Pictures, draw_precision, draw_roc, new_figure

Images = NDArray[np.float32]
BINS = 60
# Scores beyond this part of the samples would press all others into one bar.
SHOWN_PERCENT = 98
ROWS = ("image", "reconstruction", "residual")


def examples(objective: AnomalyObjective, label: NDArray[np.int32]) -> list[tuple[str, int]]:
    """The first two samples of each class, by name and row."""
    return [
        (one.name, int(row))
        for one in objective.head.classes
        for row in np.flatnonzero(label == one.label)[:2]
    ]


def draw_anomalies(
    objective: AnomalyObjective, metrics: AnomalyMetrics, label: NDArray[np.int32], score: Array
) -> Pictures:
    """ROC and precision-recall curves of the other classes, and how the scores of each are spread."""
    cases = cases_of_anomalies(objective, label, score)
    areas = [*metrics.auc.values(), metrics.auc_all]
    precisions = [*metrics.precision.values(), metrics.precision_all]
    shares = [*metrics.share.values(), metrics.share_all]
    return {
        "ROC": draw_roc(cases, areas, f"ROC against {' and '.join(metrics.trained_on)}"),
        "Precision": draw_precision(cases, precisions, shares),
        "Scores": _spread(objective, label, score),
    }


def _spread(objective: AnomalyObjective, label: NDArray[np.int32], score: Array) -> Figure:
    figure, axis = new_figure()
    shown = np.maximum(score, 1e-6)
    ends = np.percentile(shown, [0, SHOWN_PERCENT])
    edges = np.geomspace(ends[0], max(ends[1], 1.01 * ends[0]), BINS)
    for k, one in enumerate(objective.head.classes):
        own = shown[label == one.label]
        axis.hist(own, bins=list(edges), histtype="step", color=COLOURS[k % len(COLOURS)], label=one.name)
    axis.set(xscale="log", xlabel="anomaly score", ylabel="images", title="Scores")
    axis.legend(frameon=False)
    return figure


def draw_reconstructions(shown: list[tuple[str, int]], stretched: Images, returned: Images) -> Figure:
    """Image, reconstruction and residual of some samples, first channel, one scale for all residuals."""
    figure = Figure(figsize=(1.3 * len(shown) + 0.6, 4.4), layout="constrained")
    axes = figure.subplots(len(ROWS), len(shown), squeeze=False)
    residual = stretched - returned
    most = float(np.percentile(np.abs(residual), 99.5)) or 1.0
    low, high = float(stretched[:, 0].min()), float(stretched[:, 0].max())
    for column, (name, _) in enumerate(shown):
        for row, (images, colours, ends) in enumerate(
            (
                (stretched, "magma", (low, high)),
                (returned, "magma", (low, high)),
                (residual, "RdBu_r", (-most, most)),
            )
        ):
            axis = axes[row, column]
            axis.imshow(images[column, 0], origin="lower", cmap=colours, vmin=ends[0], vmax=ends[1])
            axis.set_xticks([])
            axis.set_yticks([])
            if not column:
                axis.set_ylabel(ROWS[row])
        axes[0, column].set_title(name, fontsize=9)
    return figure
