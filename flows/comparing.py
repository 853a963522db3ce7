"""The comparison flow: runs in, their scores side by side out."""

from typing import Any

from prefect import flow

from flows.assess import artifact_key
from flows.telling.events import watched
from flows.telling.run_log import show_table
from schemas.comparison import Comparison
from storage.files.place import local, place


@watched
@flow(name="compare", validate_parameters=True)
def compare_flow(
    runs: list[str],
    data: str | None = None,
    split: str = "test",
    against: str | None = None,
    out: str | None = None,
) -> Comparison:
    """Set runs side by side and show the differences in Prefect's page."""
    from train.comparing.comparison import compare
    from train.report.comparison import write_comparison

    found = compare(
        [local(run) for run in runs],
        None if data is None else place(data),
        split,
        None if against is None else local(against),
    )
    if out is not None:
        write_comparison(found, local(out))
    key = artifact_key(found.store_recipe)
    about = f"{len(runs)} runs on {found.store_recipe}, {found.split}, {found.samples:,} samples"
    show_table(f"comparison-{key}", comparison_rows(found), about)
    if found.recipe_differences:
        about = "how the recipes of these runs differ"
        show_table(f"comparison-recipes-{key}", recipe_rows(found), about)
    return found


def recipe_rows(found: Comparison) -> list[dict[str, Any]]:
    """A row for each key of the recipes that has not the same value in all runs."""
    names = [one.name for one in found.contenders]
    return [{"key": one.key, **dict(zip(names, one.values, strict=True))} for one in found.recipe_differences]


def comparison_rows(found: Comparison) -> list[dict[str, Any]]:
    """A row for each run and score."""
    apart = {(one.score, one.name): one for one in found.differences}
    rows = []
    for run in found.contenders:
        for score in run.scores:
            one = apart.get((score.name, run.name))
            value = score.value
            rows.append(
                {
                    "run": run.name,
                    "score": score.name,
                    "value": f"{value.value:.4g}",
                    "95%": f"{value.low:.4g} to {value.high:.4g}",
                    "difference": f"{one.difference.value:+.3g}" if one else "",
                    "against": one.against if one else "",
                    "p": f"{one.p_corrected:.2g}" if one else "",
                    "verdict": one.verdict if one else found.standing(score.name),
                }
            )
    return rows
