"""From an open store to everything that is on its page."""

import shlex
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ColumnSpec
from schemas.description import purpose
from schemas.imported import ImportedData
from schemas.page import Page, PageClass, PageSample
from schemas.store import StorePlan
from storage.page import provenance
from storage.page.histograms import count_column
from storage.page.numbers import shown_unit, with_unit
from storage.page.pictures import Row, Size, draw_pictures, plan_products, size_of
from storage.page.selection import Looked, look, rows_of_class, spread, takes_turns
from storage.pictures.gallery import headlines
from storage.pictures.stretch import COLOURS
from storage.reader import Store

# Samples of each class in the strip at the top.
STRIP = 6


class _Chosen(NamedTuple):
    """A sample of the gallery: where it was found, and the place of its class."""

    looked: Looked
    at: int
    position: int

    @property
    def row(self) -> Row:
        return Row(self.looked.split, int(self.looked.rows[self.at]))


def describe(store: Store) -> Page:
    """The page of a store. The work is bounded: some rows of each split, some images of each class."""
    plan, imported = store.plan, isinstance(store.origin, ImportedData)
    looked = [look(store, split.name) for split in plan.splits]
    params = np.concatenate([one.params for one in looked])
    label = np.concatenate([one.label for one in looked])
    size = size_of(plan, len(plan.classes) * len(plan.splits), STRIP * len(plan.classes))
    return Page(
        title=plan.recipe_name,
        kind="Images that were imported" if imported else "Data set of simulated strong lenses",
        purpose=purpose(store.origin.description),
        digest=store.stored.digest,
        cards=provenance.cards(store),
        soundness=provenance.soundness(store.root),
        splits=tuple(split.name for split in plan.splits),
        classes=_classes(plan, looked),
        counted=_counted(plan, looked),
        facts=provenance.facts(store),
        arrays=provenance.arrays(store),
        recipe=provenance.recipe_text(store),
        columns=tuple(
            count_column(plan, column, params[:, at], label) for at, column in enumerate(plan.columns)
        ),
        samples=_samples(store, _choose(plan, looked, size.samples), size),
        pictured=_pictured(store, size),
        command="" if imported else f"lensmill sample {shlex.quote(store.root.name)} --index",
        made=provenance.made(store.root),
    )


def _classes(plan: StorePlan, looked: list[Looked]) -> tuple[PageClass, ...]:
    return tuple(
        PageClass(
            name=one.name,
            label=one.label,
            rows=tuple(rows_of_class(plan, split, position) for split in looked),
            looked_at=tuple(int((split.label == one.label).sum()) for split in looked),
        )
        for position, one in enumerate(plan.classes)
    )


def _counted(plan: StorePlan, looked: list[Looked]) -> str:
    """What the numbers on the page rest on."""
    parts = [one for one in looked if len(one.rows) < plan.rows_of(one.split)]
    if not parts:
        return "All rows were read."
    said = ", ".join(f"{len(one.rows):,} of {plan.rows_of(one.split):,} rows of {one.split}" for one in parts)
    text = f"Histograms count {said}, in stretches spread evenly over all shards."
    if not all(takes_turns(plan, one) for one in parts):
        text += " Rows of a class are estimated from these."
    return text


def _choose(plan: StorePlan, looked: list[Looked], most: int) -> list[_Chosen]:
    """Samples of every class and split alike, by split and number."""
    each = max(most // (len(plan.classes) * len(looked)), 1)
    chosen = [
        _Chosen(split, int(at), position)
        for split in looked
        for position, one in enumerate(plan.classes)
        for at in spread(split, one.label, each)
    ]
    order = {split.split: place for place, split in enumerate(looked)}
    return sorted(chosen, key=lambda one: (order[one.looked.split], one.looked.sample_id[one.at]))


def _samples(store: Store, chosen: list[_Chosen], size: Size) -> tuple[PageSample, ...]:
    plan, rows = store.plan, [one.row for one in chosen]
    images = draw_pictures(store, "image", rows, size.binned)
    products = {name: draw_pictures(store, name, rows, size.binned) for name in plan_products(plan)}
    told = _told(plan, chosen)
    return tuple(
        PageSample(
            sample_id=int(one.looked.sample_id[one.at]),
            split=one.looked.split,
            row=one.row.row,
            position=one.position,
            caption=_caption(plan, told[one.position], one.looked.params[one.at]),
            image=images[k],
            products={name: drawn[k] for name, drawn in products.items()},
            values=tuple(_rounded(value) for value in one.looked.params[one.at].tolist()),
        )
        for k, one in enumerate(chosen)
    )


def _told(plan: StorePlan, chosen: list[_Chosen]) -> dict[int, list[int]]:
    """The headline columns of each class."""
    found = {}
    for position, one in enumerate(plan.classes):
        params = [each.looked.params[each.at] for each in chosen if each.position == position]
        found[position] = headlines(plan, one, np.stack(params)) if params else []
    return found


def _caption(plan: StorePlan, told: list[int], params: NDArray[np.float64]) -> tuple[str, ...]:
    return tuple(_labelled(plan.columns[at], float(params[at])) for at in told)


def _labelled(column: ColumnSpec, value: float) -> str:
    return f"{column.name} {with_unit(value, shown_unit(column.unit))}"


def _rounded(value: float) -> float | None:
    """Six digits are more than anyone filters by."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _pictured(store: Store, size: Size) -> str:
    channels = store.plan.array("image").tail[0]
    colour = "one grey scale"
    if channels == COLOURS:
        blue, green, red = store.origin.band_names or ("first", "second", "third")
        colour = f"one scale of brightness, with red {red}, green {green}, blue {blue}"
    elif channels > 1:
        colour = f"one grey scale, of the sum of {channels} bands"
    text = f"All images share {colour} (asinh), so that they can be compared. Row 0 is at the bottom."
    if size.binned > 1:
        text += f" Shown are means of {size.binned} × {size.binned} pixels."
    return text
