"""What a data-set page shows: a bounded part of a store, ready to be drawn."""

from typing import Literal

from pydantic import Field

from schemas.frozen import Frozen


class Fact(Frozen):
    """A line of a table: a name and what is to be said."""

    name: str
    text: str


class Soundness(Frozen):
    """What is known of the state of the bytes."""

    state: Literal["sound", "damaged", "outdated", "unknown"]
    headline: str
    text: str
    faults: tuple[str, ...] = ()


class PageClass(Frozen):
    """A class with its rows in each split, in the page's order of splits."""

    name: str
    label: int
    rows: tuple[int, ...]
    looked_at: tuple[int, ...] = Field(description="rows that the histograms count")


class PageColumn(Frozen):
    """A column and the histogram of what was looked at of it."""

    name: str
    unit: str = Field(description="empty for none")
    description: str
    only: str = Field(description="classes and splits that have it; empty for all")
    scale: Literal["linear", "log", "values", "none"] = Field(
        description="values: few distinct ones, with a bar each; none: no value was found"
    )
    edges: tuple[float, ...] = Field(description="of the bins; of `values` the values themselves")
    counts: tuple[tuple[int, ...], ...] = Field(description="by class in the page's order, then by bin")

    @property
    def constant(self) -> bool:
        """Whether it is the same in every sample."""
        return self.scale == "values" and len(self.edges) == 1


class PageSample(Frozen):
    """A sample of the gallery with its pictures, each a data URI."""

    sample_id: int
    split: str
    row: int
    position: int = Field(description="of its class among the classes")
    caption: tuple[str, ...] = Field(description="headline parameters")
    image: str
    products: dict[str, str] = Field(description="pictures of what is stored beside the image")
    values: tuple[float | None, ...] = Field(description="in the order of the columns; None where NaN")


class Page(Frozen):
    """Everything that is on the page."""

    title: str
    purpose: str
    digest: str
    cards: tuple[Fact, ...] = Field(description="numbers to be seen first")
    soundness: Soundness
    splits: tuple[str, ...]
    classes: tuple[PageClass, ...]
    counted: str = Field(description="how the rows of the classes were counted and how many looked at")
    facts: tuple[Fact, ...] = Field(description="provenance")
    arrays: tuple[Fact, ...]
    recipe: str = Field(description="JSON for people, long lists cut short")
    columns: tuple[PageColumn, ...]
    samples: tuple[PageSample, ...]
    pictured: str = Field(description="how the pictures were chosen and are to be read")
    command: str = Field(description="what rebuilds a sample, up to its number; empty if nothing does")
    made: str = Field(description="by what and when the page was made")
