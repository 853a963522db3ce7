"""Scores over versions as a small picture for Prefect's page, which shows PNG that is part of the text."""

import base64
from collections.abc import Sequence
from io import BytesIO

from schemas.trend import Change

COLOURS = {"worse": "#d1242f", "better": "#2da44e"}
PLAIN = "#57606a"
INCHES, DOTS = (6.4, 1.9), 110


def trend_picture(rows: Sequence[Change]) -> str:
    """One score with its intervals over versions, as Markdown."""
    # imported here: drawing is rare, and matplotlib is slow to load
    from matplotlib.figure import Figure

    figure = Figure(INCHES, dpi=DOTS, layout="constrained")
    axes = figure.subplots()
    for one in rows:
        value, colour = one.score.value, COLOURS.get(one.verdict, PLAIN)
        sides = [[max(value.value - value.low, 0.0)], [max(value.high - value.value, 0.0)]]
        axes.errorbar([one.version], [value.value], sides, fmt="o", color=colour, capsize=3, markersize=4)
    axes.set_xticks([one.version for one in rows])
    axes.set_xlabel("version")
    unit = rows[0].score.unit
    axes.set_ylabel(rows[0].score.name + ("" if unit == "1" else f", {unit}"))
    axes.grid(axis="y", alpha=0.3)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    text = base64.b64encode(buffer.getvalue()).decode()
    return f"![{rows[0].score.name} over versions](data:image/png;base64,{text})"
