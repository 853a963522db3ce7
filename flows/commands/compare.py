"""The command that sets runs side by side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from flows.commands.app import AsJson, app, out
from flows.commands.tables import in_blocks
from schemas.comparison import SURE, Comparison, Difference
from schemas.metrics import Interval, Score
from storage.files.place import local, place


@app.command("compare")
def compare_command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", parser=local, help="Folders of finished training runs."),
    ],
    data: Annotated[
        Any,
        typer.Option(
            "--data",
            metavar="STORE",
            parser=place,
            help="Store to compare on; needed where a run has no report on it yet.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split.")] = "test",
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="RUN", parser=local, help="Compare with this run instead of the best."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", parser=local, help="Write JSON, a table, a picture and a page."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set runs side by side on exactly the same samples, and say which differences are beyond chance.

    Example: `lensmill compare runs/vit runs/resnet --data model_ii.zarr --out comparison`
    """
    from flows.extras import need_training

    need_training()
    from train.comparing.comparison import compare
    from train.report.comparison import check_place, write_comparison

    if folder is not None:
        check_place(folder)
    found = compare(runs, data, split, against)
    page = None if folder is None else write_comparison(found, folder)
    if as_json:
        out.print_json(found.model_dump_json())
        return
    _print(found)
    if page is not None:
        out.print(f"page: {page}", soft_wrap=True, highlight=False)


def _print(found: Comparison) -> None:
    out.print(
        f"{found.objective} on {found.store_recipe}, {found.split}: the same {found.samples:,} samples",
        soft_wrap=True,
        highlight=False,
    )
    for table in in_blocks(RUN_HEADINGS, list(_runs(found))):
        out.print(table)
    _print_recipes(found)
    for score in found.contenders[0].scores:
        unit = "" if score.unit == "1" else f" [{score.unit}]"
        out.print(escape(f"{score.name}{unit}, {score.better} is better"), soft_wrap=True, highlight=False)
        for table in in_blocks(SCORE_HEADINGS, list(_scores(found, score))):
            out.print(table)
        out.print(found.conclusion(score.name), highlight=False, markup=False)
    out.print(_method(found), highlight=False, markup=False)
    for one in found.contenders:
        if one.measured_now:
            out.print(
                escape(f"{one.name} had no report on these samples: it was measured now"), soft_wrap=True
            )
    for warning in found.warnings:
        out.print(f"warning: {escape(warning)}", soft_wrap=True, highlight=False)


def _print_recipes(found: Comparison) -> None:
    if not found.recipe_differences:
        out.print("the recipes of these runs say the same", highlight=False)
        return
    rows = [(one.key, *one.values) for one in found.recipe_differences]
    for table in in_blocks(("recipe", *(one.name for one in found.contenders)), rows[:MOST_KEYS]):
        out.print(table)
    if len(rows) > MOST_KEYS:
        out.print(f"and {len(rows) - MOST_KEYS} more keys: --json tells all", highlight=False)


def _method(found: Comparison) -> str:
    """How to read the tables."""
    reference = found.against or "the one with the best value"
    count = f"{found.comparisons} comparison{'s' if found.comparisons > 1 else ''}"
    return (
        f"differences: run minus {reference}, paired over samples;"
        f" p by Holm for {count}; better or worse is p below {SURE:g}"
    )


# Keys of recipes that are printed; a page and JSON have all.
MOST_KEYS = 15
RUN_HEADINGS = ("run", "model", "parameters", "ms/image", "trained on", "samples")
SCORE_HEADINGS = ("run", "score", "95%", "verdict", "p", "difference (95%)")
# Below this the number says no more than that chance is out of the question.
SMALL = 1e-4


def _runs(found: Comparison) -> Iterator[tuple[str, ...]]:
    for one in found.contenders:
        yield (
            one.name,
            one.model,
            f"{one.parameters:,}",
            f"{one.ms_per_image:.3g}",
            one.trained_on,
            f"{one.training_samples:,}",
        )


def _scores(found: Comparison, score: Score) -> Iterator[tuple[str, ...]]:
    apart = {one.name: one for one in found.differences if one.score == score.name}
    for one in found.contenders:
        value = next(each.value for each in one.scores if each.name == score.name)
        yield (
            one.name,
            f"{value.value:.4g}",
            _range(value, ".4g"),
            *_apart(apart.get(one.name), found, score.name),
        )


def _apart(one: Difference | None, found: Comparison, score: str) -> tuple[str, ...]:
    if one is None:
        return (found.standing(score), "", "")
    difference, p = one.difference, one.p_corrected
    said = f"<{SMALL:g}" if p < SMALL else f"{p:.2g}"
    return (one.verdict, said, f"{difference.value:+.3g} ({_range(difference, '+.3g')})")


def _range(value: Interval, form: str) -> str:
    return f"{value.low:{form}} to {value.high:{form}}"
