"""A picture of an audit: a panel for each pair of classes, a line for all that might tell them apart."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.audit import Audit, AuditRow, Separation
from storage.files.durable import write_result

Array = NDArray[np.float64]
COLOURS = {
    "even": "#5b6b7b",
    "leak": "#d0021b",
    "signal or leak": "#e08a00",
    "differs": "#7a5ab5",
    "separable": "#1f6fb4",
}
MEANINGS = {
    "even": "even: within chance",
    "leak": "leak: fails the audit",
    "signal or leak": "signal of the substructure, or leak",
    "differs": "derived column, may differ",
    "separable": "separable without a deep network",
}
ALLOWED = "#e6eaef"
MARKERS = {"value": "o", "distance": "D", "classifier": "s"}
TICKS = (0.0, 0.2, 0.4, 0.45, 0.5, 0.55, 0.6, 0.8, 1.0)
PANELS = 4
EXPLAINED = (
    "area under the ROC curve with its 95% interval; the scale widens around .5; bold: can fail the audit"
)
LINE_INCHES = 0.19
# leaks that the title names
NAMED = 4


def draw(found: Audit, out: Path) -> Path:
    """Write the picture as a PNG file."""
    from matplotlib.figure import Figure

    pairs = list(dict.fromkeys((row.first, row.second) for row in found.rows))
    subjects = list(dict.fromkeys(row.subject for row in found.rows))
    across = min(len(pairs), PANELS)
    down = math.ceil(len(pairs) / across)
    size = (2.4 + 2.9 * across, down * (LINE_INCHES * len(subjects) + 0.75) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for panel, pair in zip(panels.flat, pairs, strict=False):
        rows = [row for row in found.rows if (row.first, row.second) == pair]
        _draw_pair(panel, pair, rows, subjects, _chance(found))
    for panel in panels.flat[len(pairs) :]:
        panel.set_axis_off()
    gating = {row.subject for row in found.rows if row.gates}
    for panel in panels[:, 0]:
        for label, subject in zip(panel.get_yticklabels(), subjects, strict=True):
            label.set_fontweight("bold" if subject in gating else "normal")
    figure.suptitle(_title(found), fontsize=9, color=COLOURS["even" if found.passed else "leak"])
    _explain(figure, found)
    into = io.BytesIO()
    figure.savefig(into, format="png", dpi=130)
    return write_result(out, into.getvalue(), "the picture")


def _chance(found: Audit) -> float:
    """Where the scale turns from linear to logarithmic: the nearest bound."""
    bounds = (one.bound for row in found.rows for one in row.separations if one.bound > 0)
    return min(bounds, default=0.05)


def _title(found: Audit) -> str:
    about = found.about
    counts = sorted(set(found.samples.values()))
    size = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    failed = [leak.split(" (")[0] for leak in found.leaks]
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    ended = f"FAILED: {', '.join(failed[:NAMED])}{more}" if failed else "passed"
    return f"{about.recipe} · {', '.join(about.splits)} · {size} samples a class · {ended}"


def _draw_pair(
    panel: Any, pair: tuple[str, str], rows: list[AuditRow], subjects: list[str], chance: float
) -> None:
    # the region of chance is wide enough to be seen whatever is at the ends
    panel.set_xscale(
        "function",
        functions=(
            lambda area: np.arcsinh((np.asarray(area) - 0.5) / chance),
            lambda place: 0.5 + chance * np.sinh(np.asarray(place)),
        ),
    )
    panel.axvline(0.5, color="#39434d", linewidth=0.8, zorder=1)
    for row in rows:
        line = subjects.index(row.subject)
        reach = max(row.tolerance, *(one.bound for one in row.separations), 0.0)
        panel.fill_betweenx([line - 0.5, line + 0.5], 0.5 - reach, 0.5 + reach, color=ALLOWED, linewidth=0)
        for one in row.separations:
            _draw_one(panel, row, one, line + _offset(row, one))
    panel.set_xlim(0.0, 1.0)
    panel.set_xticks(_ticks(chance))
    panel.set_xticklabels([f"{tick:g}" for tick in _ticks(chance)])
    panel.set_xticks([], minor=True)
    panel.tick_params(labelsize=6.5, labelbottom=True)
    panel.set_ylim(len(subjects) - 0.5, -0.5)
    panel.set_yticks(range(len(subjects)), subjects)
    panel.set_title(f"{pair[0]} and {pair[1]}", fontsize=8)
    kinds = {row.subject: row.kind for row in rows}
    for line in range(1, len(subjects)):
        if kinds.get(subjects[line]) != kinds.get(subjects[line - 1]):
            panel.axhline(line - 0.5, color="#c9d1d9", linewidth=0.6, zorder=0)


def _ticks(chance: float) -> list[float]:
    """Those that keep clear of .5 and of each other."""
    place = [float(np.arcsinh((tick - 0.5) / chance)) for tick in TICKS]
    apart = 0.16 * (place[-1] - place[0]) / 2
    kept: list[float] = []
    for tick, at in sorted(
        zip(TICKS, place, strict=True), key=lambda one: (one[0] not in (0.5, 0, 1), one[0])
    ):
        if all(abs(at - float(np.arcsinh((other - 0.5) / chance))) > apart for other in kept):
            kept.append(tick)
    return sorted(kept)


def _offset(row: AuditRow, one: Separation) -> float:
    return 0.0 if len(row.separations) == 1 else (-0.17 if one.of == "value" else 0.17)


def _draw_one(panel: Any, row: AuditRow, one: Separation, line: float) -> None:
    # the other number of a row that stands out may be even
    colour = COLOURS[row.verdict if one.found else "even"]
    strong = one.found and row.verdict in ("leak", "separable")
    panel.plot([one.low, one.high], [line, line], color=colour, linewidth=1.8 if strong else 1.0, zorder=2)
    panel.plot(
        one.auc,
        line,
        marker=MARKERS[one.of],
        markersize=5.0 if strong else 3.2,
        markerfacecolor="white" if one.of == "distance" else colour,
        markeredgecolor=colour,
        markeredgewidth=1.0,
        linestyle="none",
        clip_on=False,
        zorder=3,
    )


def _explain(figure: Any, found: Audit) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    seen = {row.verdict for row in found.rows}
    shapes = {"value": "the value", "distance": "its distance from the median", "classifier": "a classifier"}
    handles: list[Any] = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[of],
            markersize=4.5,
            color="#39434d",
            markerfacecolor="white" if of == "distance" else "#39434d",
            label=f"AUC by {meaning}",
        )
        for of, meaning in shapes.items()
    ]
    handles.append(Patch(color=ALLOWED, label="chance, or what is let pass"))
    handles += [Patch(color=COLOURS[one], label=MEANINGS[one]) for one in COLOURS if one in seen]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        fontsize=6.5,
        frameon=False,
        title=EXPLAINED,
        title_fontsize=6.5,
    )
