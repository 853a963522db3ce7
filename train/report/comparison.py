"""A comparison of runs as files: JSON, a table, a picture, and one self-contained page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from schemas.comparison import Comparison, Contender
from schemas.errors import PlaceError
from schemas.metrics import Interval
from train.records.run_folder import check_can_be, new_folder
from train.report.figures import COLOURS

JSON, TABLE, PICTURE, PAGE = "compare.json", "compare.parquet", "compare.png", "compare.html"
TEMPLATES = Environment(
    loader=PackageLoader("train", "report"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """The folder with all files, which takes the place of an earlier comparison and of nothing else."""
    check_place(out)
    with new_folder(out, replace=True) as folder:
        png = _png(draw_comparison(comparison))
        (folder / JSON).write_text(comparison.to_json())
        pq.write_table(table_of(comparison), folder / TABLE)
        (folder / PICTURE).write_bytes(png)
        page = TEMPLATES.get_template("comparison.html.j2").render(
            comparison=comparison, picture=base64.b64encode(png).decode(), gains=gains(comparison)
        )
        (folder / PAGE).write_text(page, encoding="utf-8")
    return out / PAGE


def check_place(out: Path) -> None:
    """Refuse a path where something else is, or where no folder can be."""
    mine = {JSON, TABLE, PICTURE, PAGE}
    if out.exists() and not (out.is_dir() and {path.name for path in out.iterdir()} <= mine):
        raise PlaceError(
            f"{out} holds something else",
            expected="a path where nothing is yet, or an earlier comparison",
            advice="choose another --out",
        )
    check_can_be(out)


def table_of(comparison: Comparison) -> pa.Table:
    """A row for each run and score with its difference; the run that is compared with has none."""
    rows = []
    apart = {(one.score, one.name): one for one in comparison.differences}
    for one in comparison.contenders:
        for score in one.scores:
            there = apart.get((score.name, one.name))
            rows.append(
                {
                    "run": one.run,
                    "name": one.name,
                    "model": one.model,
                    "parameters": one.parameters,
                    "ms_per_image": one.ms_per_image,
                    "training_samples": one.training_samples,
                    "score": score.name,
                    "unit": score.unit,
                    "better": score.better,
                    **_spelled("", score.value),
                    "against": there.against if there else None,
                    **_spelled("difference_", there.difference if there else None),
                    "p": there.p if there else None,
                    "p_corrected": there.p_corrected if there else None,
                    "verdict": there.verdict if there else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=_schema())


def _spelled(prefix: str, value: Interval | None) -> dict[str, float | None]:
    names = ("value", "low", "high")
    return {f"{prefix}{name}": None if value is None else getattr(value, name) for name in names}


def _schema() -> pa.Schema:
    words = ("run", "name", "model", "score", "unit", "better", "against", "verdict")
    counts = ("parameters", "training_samples")
    order = (
        *("run", "name", "model", "parameters", "ms_per_image", "training_samples"),
        *("score", "unit", "better", "value", "low", "high"),
        *("against", "difference_value", "difference_low", "difference_high", "p", "p_corrected", "verdict"),
    )
    kinds = dict.fromkeys(words, pa.string()) | dict.fromkeys(counts, pa.int64())
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in order])


def gains(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Differences by score and run."""
    found: dict[str, dict[str, Any]] = {}
    for one in comparison.differences:
        found.setdefault(one.score, {})[one.name] = one
    return found


def draw_comparison(comparison: Comparison) -> Figure:
    """For each score its intervals, and beside them the differences; what is not told apart is grey."""
    scores, runs = comparison.contenders[0].scores, comparison.contenders
    height = len(scores) * (1.0 + 0.36 * len(runs)) + 0.3
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots(len(scores), 2, squeeze=False, sharey="row")
    for (left, right), score in zip(axes, scores, strict=True):
        unit = "" if score.unit == "1" else f" [{score.unit}]"
        values = [_value(one, score.name) for one in runs]
        _bars(left, values, [COLOURS[0]] * len(runs))
        left.set_yticks(range(len(runs)), [one.name for one in runs])
        left.set(xlabel=f"{score.name}{unit}, {score.better} is better")
        there = gains(comparison).get(score.name, {})
        apart = [there.get(one.name) for one in runs]
        colours = [_colour(one.verdict if one else "") for one in apart]
        _bars(right, [one.difference if one else None for one in apart], colours)
        right.axvline(0, color="0.6", linestyle=":")
        against = next(iter(there.values())).against
        right.set(xlabel=f"difference to {against}{unit}")
        left.set_ylim(len(runs) - 0.5, -0.5)
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
            axis.locator_params(axis="x", nbins=5)
    return figure


def _value(contender: Contender, name: str) -> Interval:
    return next(score.value for score in contender.scores if score.name == name)


def _bars(axis: Any, values: Sequence[Interval | None], colours: list[str]) -> None:
    for at, (one, colour) in enumerate(zip(values, colours, strict=True)):
        if one is not None:
            axis.plot([one.low, one.high], [at, at], color=colour, linewidth=2)
            axis.plot([one.value], [at], marker="o", markersize=6, color=colour)


def _colour(verdict: str) -> str:
    return {"better": COLOURS[2], "worse": COLOURS[1]}.get(verdict, "0.55")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
