"""The command that lists models: families with what is known of them, then names."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from flows.commands.app import AsJson, app, out

if TYPE_CHECKING:
    from train.families import Family
    from train.models import ModelCard


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
    from flows.fitting import need_training

    need_training()
    from train.families import families

    found = [] if names else families(pattern)
    cards = _named(pattern) if names or pattern or as_json else []
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
        table = Table("model", "from")
        for card in cards:
            table.add_row(card.name, card.origin)
        out.print(table)
    if pattern or names:
        out.print(f"{len(cards):,} models")
    else:
        out.print("every name: lensmill models --names; part of them: lensmill models swin")


def _named(pattern: str) -> "list[ModelCard]":
    # timm takes seconds to import: only for those who ask for its names
    from train.models import models

    return models(pattern)


def _family_table(found: "list[Family]") -> Table:
    table = Table("family", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    # parameters, the size it was made for, how 64 x 64 and 150 x 150 are met, trained weights by name
    for heading in ("million", "for", "64 x 64", "150 x 150", "trained"):
        table.add_column(heading)
    for family in found:
        for name, facts in family.members():
            table.add_row(
                family.name,
                name,
                f"{facts.parameters / 1e6:.1f}",
                str(facts.made_for or "any"),
                *(facts.ways[side].short for side in ("64", "150")),
                str(len(facts.trained)) if facts.trained else "-",
            )
    return table
