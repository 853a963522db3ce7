"""Where the recipes of experiments differ, key by key: what a comparison of their runs is about."""

from collections.abc import Iterator, Sequence
from typing import Any

from schemas.comparison import RecipeDifference
from schemas.experiment import ExperimentRecipe

# what no run is better or worse for
LEFT_OUT: Any = {
    "name": True,
    "description": True,
    "expectation": True,
    "data": {"store", "mode"},
    "training": {"checkpoint_minutes"},
}
LONGEST = 40
# where a recipe has no such key
WITHOUT = "-"


def recipe_differences(recipes: Sequence[ExperimentRecipe]) -> tuple[RecipeDifference, ...]:
    """The keys whose values are not the same in all recipes, in the order of the recipes."""
    spelt = [dict(_spelt("", one.model_dump(mode="json", exclude=LEFT_OUT))) for one in recipes]
    keys = dict.fromkeys(key for one in spelt for key in one)
    rows = {key: tuple(one.get(key, WITHOUT) for one in spelt) for key in keys}
    return tuple(
        RecipeDifference(key=key, values=values) for key, values in rows.items() if len(set(values)) > 1
    )


def _spelt(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _spelt(f"{key}.{name}" if key else name, inner)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for place, inner in enumerate(value):
            yield from _spelt(f"{key}.{place}", inner)
    else:
        yield key, _said(value)


def _said(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    text = ", ".join(map(_said, value)) if isinstance(value, list) else str(value)
    # the end of a path says more than its beginning
    return text if len(text) <= LONGEST else f"...{text[3 - LONGEST :]}"
