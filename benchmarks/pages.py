"""The picture of docs/data_set_page.md: two views of the page of a store, in the machine's own Chromium.

    lensmill simulate euclid --out euclid.zarr --set samples_per_class=400 --set detectability=null \\
        --set 'products=[noise_free, convergence]'
    lensmill verify euclid.zarr
    python -m benchmarks.pages euclid.zarr --out docs/pictures/data_set_page.png
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import io
import shutil
import tempfile
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from storage.page import write_page

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# of each view, and how much smaller it is shown
VIEW = {"width": 1000, "height": 880}
SMALLER = 0.8
GAP = 12
# what the gallery is filtered by, as the page itself writes it into its address
FILTERED = "without=no_sub&range=1..1.4+theta_E&sort=theta_E&order=down"


def views(page: Path) -> list[Image.Image]:
    """The top of the page, and in the dark its filtered gallery."""
    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        found = [
            _view(browser, page.as_uri(), "#top", "light"),
            _view(browser, f"{page.as_uri()}#{FILTERED}", "#gallery", "dark"),
        ]
        browser.close()
    return found


def _view(browser: Any, address: str, part: str, scheme: str) -> Image.Image:
    context = browser.new_context(viewport=VIEW, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.eval_on_selector(part, "one => one.scrollIntoView()")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    size = (round(picture.width * SMALLER), round(picture.height * SMALLER))
    return picture.resize(size, Image.Resampling.LANCZOS)


def compose(pictures: list[Image.Image], out: Path) -> None:
    """Side by side, in 256 colours."""
    width, height = pictures[0].size
    whole = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), "#8a929e")
    for place, picture in enumerate(pictures):
        whole.paste(picture, (place * (width + GAP), 0))
    whole.quantize(palette=_palette(whole), dither=Image.Dither.NONE).save(out, optimize=True)


def _palette(whole: Image.Image) -> Image.Image:
    """As many greys as lenses need, and the commonest colours of the rest: a file a third as large."""
    colours = whole.quantize(128, method=Image.Quantize.FASTOCTREE).getpalette() or []
    greys = [round(level * 255 / 127) for level in range(128) for _ in range(3)]
    found = Image.new("P", (1, 1))
    found.putpalette([*greys, *colours[: 3 * 128]])
    return found


def main(arguments: list[str] | None = None) -> None:
    """Draw the page of the store that was named."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("store", type=Path, help="a finished store")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "data_set_page.png")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        page = write_page(options.store, Path(folder) / "page.html")
        compose(views(page), options.out)
    print(f"wrote {options.out}, {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
