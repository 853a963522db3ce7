"""Pictures as they are put into a page: their bytes, and what is seen in them in words."""

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schemas.report import Example
from train.report.insight_figures import MEAN_MAPS

DOTS_PER_INCH = 130
# of a description; a reader should come to its end
MOST_CHARACTERS = 500


class Picture(NamedTuple):
    """A picture as a data URI, its heading, and what is seen in it."""

    title: str
    alt: str
    uri: str


class ExamplePicture(NamedTuple):
    """An example with its pictures: the image, then what the network looks at."""

    example: Example
    pictures: tuple[Picture, ...]


def save_figures(figures: dict[str, Figure], folder: Path) -> tuple[Picture, ...]:
    """Write each figure as a PNG file of its title, and keep it for the page."""
    kept = []
    for title, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
        (folder / f"{title.lower()}.png").write_bytes(buffer.getvalue())
        kept.append(Picture(title, describe(figure), _uri(buffer.getvalue())))
    return tuple(kept)


def load_examples(examples: Iterable[Example], folder: Path) -> tuple[ExamplePicture, ...]:
    """The pictures of examples, which lie in the folder already; one that two share is shown once."""
    shown: set[str] = set()
    return tuple(ExamplePicture(one, tuple(_of_example(one, folder, shown))) for one in examples)


def load_mean_maps(folder: Path) -> Picture | None:
    """The picture of mean maps, which lies in the folder if the network could be looked into."""
    path = folder / MEAN_MAPS
    if not path.is_file():
        return None
    alt = "For each class the mean of some images, and of the maps of what the network looks at in them"
    return Picture("mean maps", alt, _uri(path.read_bytes()))


def _of_example(one: Example, folder: Path, shown: set[str]) -> Iterator[Picture]:
    told = f"sample {one.sample_id}, true {one.true}, told {one.said}"
    for name, title in ((one.picture, "image"), (one.map, "what the network looks at")):
        if name is None or name in shown:
            continue
        assert Path(name).name == name, "pictures lie in the folder itself"
        shown.add(name)
        yield Picture(title, f"{title[0].upper()}{title[1:]}: {told}", _uri((folder / name).read_bytes()))


def describe(figure: Figure) -> str:
    """What is seen, from the words that the figure itself carries."""
    parts = list(dict.fromkeys(filter(None, (_of_axes(axes) for axes in figure.axes))))
    text = "; ".join(parts)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."


def _of_axes(axes: Axes) -> str:
    title, across, up = axes.get_title(), axes.get_xlabel(), axes.get_ylabel()
    said = f"{up} against {across}" if up and across else up or across
    curves = ", ".join(label for label in axes.get_legend_handles_labels()[1] if label)
    cells = ", ".join(" ".join(one.get_text().split()) for one in axes.texts)
    named = ": ".join(filter(None, (title, said)))
    return "; ".join(filter(None, (named, curves, cells)))


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
