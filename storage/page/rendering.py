"""A page as one HTML file: no script, font or picture from elsewhere, and no way to ask for one."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from schemas.errors import PlaceError
from schemas.page import Page
from storage.files.durable import write_result
from storage.files.place import Root, local, place
from storage.page import plots
from storage.page.content import STRIP, describe
from storage.page.numbers import spell, with_unit
from storage.reader import open_store

TEMPLATES = Environment(
    loader=PackageLoader("storage", "page"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(root: str | Root, out: str | Path | None = None) -> Path:
    """Write the page of a finished store; by default beside you, named after the store."""
    path = Path(f"{Path(place(root).name).stem}.html") if out is None else local(out)
    if path.suffix != ".html":
        raise PlaceError(
            f"cannot write the page {path}", expected="a path ending in .html", advice="choose another --out"
        )
    text = render(describe(open_store(root)))
    return write_result(path, text.encode(), "the page")


def render(page: Page) -> str:
    """The page as HTML. Everything from the store is escaped; only our own script may run, by its hash."""
    script, style = read_part("storage.page", "page.js"), read_part("storage.page", "page.css")
    return TEMPLATES.get_template("page.html.j2").render(
        page=page,
        data=_data(page),
        script=Markup(script),  # noqa: S704  # our own files
        style=Markup(style),  # noqa: S704
        script_hash=source_hash(script),
        style_hash=source_hash(style),
        plots=plots,
        spell=spell,
        with_unit=with_unit,
        strip=_strip(page),
    )


def read_part(package: str, name: str) -> str:
    """A file that came with a package, to be put into a page."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """By which a page's policy allows a script or a style of ours and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _strip(page: Page) -> list[list[int]]:
    """Places of the first samples of each class."""
    return [
        [place for place, one in enumerate(page.samples) if one.position == position][:STRIP]
        for position in range(len(page.classes))
    ]


def _data(page: Page) -> dict[str, object]:
    """What the script needs of the samples; the images themselves are in the page."""
    return {
        "classes": [one.name for one in page.classes],
        "splits": page.splits,
        "command": page.command,
        "columns": [{"name": one.name, "unit": one.unit, "text": one.description} for one in page.columns],
        "samples": [
            {
                "id": one.sample_id,
                "split": one.split,
                "row": one.row,
                "class": one.position,
                "values": one.values,
                "products": one.products,
            }
            for one in page.samples
        ],
    }
