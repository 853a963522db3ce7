"""The command that lists models: families with what is known of them, then names."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.commands.app import AsJson, app, out
from flows.commands.tables import lined_up

if TYPE_CHECKING:
    from train.models import ModelCard
    from train.models.families import Facts, Family


@app.command("models")
def models_command(
    pattern: Annotated[
        str, typer.Argument(metavar="[PATTERN]", help="Part of a name, or with * and ?.")
    ] = "",
    names: Annotated[bool, typer.Option("--names", help="Names alone, all of them, one a line.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what an experiment may name as its model: families with how they take images, then names.

    Example: `lensmill models swin`
    """
    from flows.extras import need_training

    need_training()
    from train.models.families import families

    found = [] if names else families(pattern)
    cards = _named(pattern) if names or pattern or as_json else []
    if pattern and not found and not cards:
        from train.models.registry import unknown_model

        raise unknown_model(pattern)
    if as_json:
        known = [family.described() for family in found]
        out.print_json(json.dumps({"families": known, "names": [card.name for card in cards]}))
        return
    if names:
        for card in cards:
            out.print(card.name, soft_wrap=True, highlight=False)
    elif found:
        out.print(_family_table(found))
    if cards and not names:
        out.print(lined_up(("model", "from"), [(card.name, card.origin) for card in cards]))
    if pattern or names:
        out.print(f"{len(cards):,} model{'s' if len(cards) != 1 else ''}")
    else:
        out.print("every name: lensmill models --names; part of them: lensmill models swin")


def _named(pattern: str) -> "list[ModelCard]":
    # timm takes seconds to import: only for those who ask for its names
    from train.models import models

    return models(pattern)


def _family_table(found: "list[Family]") -> Table:
    """Families with their members below them: beside them, names of both would leave no place."""
    # parameters, the size it was made for, how 64 x 64 and 150 x 150 are met, trained weights by name
    headings = ("family, model", "million", "for", "64 x 64", "150 x 150", "trained")
    rows: list[tuple[str, ...]] = []
    for family in found:
        rows.append((family.name, *("" for _ in headings[1:])))
        rows += [(f"  {name}", *_told(facts)) for name, facts in family.members()]
    return lined_up(headings, rows)


def _told(facts: "Facts") -> tuple[str, ...]:
    return (
        f"{facts.parameters / 1e6:.1f}",
        str(facts.made_for or "any"),
        *(facts.ways[side].short for side in ("64", "150")),
        str(len(facts.trained)) if facts.trained else "-",
    )
