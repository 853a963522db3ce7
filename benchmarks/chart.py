"""The bar chart of the documentation: images per second on one core, on a logarithmic axis."""

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from benchmarks.cases import TITLES
from benchmarks.contestants import BASELINE, PUBLISHED, REBUILT, SHORTENED
from benchmarks.report import engines_of, figures

COLOURS = {
    PUBLISHED: "#c9c5bd",
    SHORTENED: "#aaa59b",
    REBUILT: "#8a857b",
    BASELINE: "#4c4a46",
    "fused_exact": "#7fb3d5",
    "fused": "#1f77b4",
    "fused_float32": "#e08214",
}
LABELS = {
    PUBLISHED: "DeepLenseSim as published",
    SHORTENED: "DeepLenseSim, its unused halos drawn once",
    REBUILT: "lenstronomy, objects and distances rebuilt per image",
    BASELINE: "lenstronomy, objects built once",
    "fused_exact": "lensmill, engine fused_exact (halos by formula)",
    "fused": "lensmill, engine fused",
    "fused_float32": "lensmill, engine fused_float32",
}
# the rest is in the tables
GROUPS = ("model_ii", "model_i", "survey_x3", "tnfw")
BAR_INCHES = 0.19


def draw_chart(results: dict[str, Any], path: Path) -> None:
    """Rates with one draw of noise; a panel per group of cases, a block of bars per class."""
    groups = {
        group: [case for case in results["cases"] if case["group"] == group and case["noise"] == "normal"]
        for group in GROUPS
    }
    groups = {group: members for group, members in groups.items() if members}
    if not groups:
        raise SystemExit("the chart shows cases with the noise `normal`, and none was measured")
    rows = [sum(len(_shown(case)) + 1 for case in members) for members in groups.values()]
    figure, panels = plt.subplots(
        len(groups),
        1,
        figsize=(9, BAR_INCHES * sum(rows) + 0.55 * len(groups) + 1.1),
        height_ratios=rows,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (group, members) in zip(panels[:, 0], groups.items(), strict=True):
        _panel(axes, TITLES[group], members)
    rates = [1e6 / c["contestants"][n]["us_per_image"] for m in groups.values() for c in m for n in _shown(c)]
    panels[-1, 0].set_xlim(min(rates) / 2, max(rates) * 14)
    panels[-1, 0].xaxis.set_major_formatter(lambda rate, _place: f"{rate:,.0f}")
    panels[-1, 0].set_xlabel("images per second on one core, with one normal deviate per pixel")
    _legend(figure, groups)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _shown(case: dict[str, Any]) -> list[str]:
    names = [name for name in COLOURS if name in case["contestants"]]
    # our own way of rebuilding stands for the published simulator where that was not run
    return [name for name in names if name != REBUILT or PUBLISHED not in names]


def _panel(axes: Axes, title: str, members: list[dict[str, Any]]) -> None:
    height, ticks = 0.0, {}
    for case in members:
        shown = _shown(case)
        ticks[height + (len(shown) - 1) / 2] = case["class"]
        for name in shown:
            _bar(axes, height, name, case)
            height += 1
        height += 1
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _bar(axes: Axes, height: float, name: str, case: dict[str, Any]) -> None:
    numbers = case["contestants"][name]
    rate = 1e6 / numbers["us_per_image"]
    axes.barh(height, rate, height=0.9, color=COLOURS[name])
    times = numbers["times_lenstronomy"]["of_medians"]
    text = f"{figures(rate)}/s"
    if name in engines_of(case):
        text += f"   {times:.1f} times lenstronomy"
    elif name != BASELINE:
        text += f"   {figures(1 / times)} times slower"
    bold = "bold" if name in engines_of(case) else "normal"
    axes.annotate(
        text, (rate, height), (4, 0), textcoords="offset points", va="center", fontsize=7.5, fontweight=bold
    )


def _legend(figure: Any, groups: dict[str, list[dict[str, Any]]]) -> None:
    found = {name for members in groups.values() for case in members for name in _shown(case)}
    names = [name for name in COLOURS if name in found]
    handles = [Patch(color=COLOURS[name]) for name in names]
    labels = [LABELS[name] for name in names]
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
