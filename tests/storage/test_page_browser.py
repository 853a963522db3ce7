"""The data-set page in the machine's own Chromium: filters, detail, fragment, no word to the network."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flows.generate import Order
from storage.page import describe, write_page
from storage.reader import open_store


@pytest.fixture(scope="module")
def file(sound_product_store: Order, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with products, of 60 samples: 20 of each class; 42, 6 and 12 by split."""
    return write_page(sound_product_store.root, tmp_path_factory.mktemp("page") / "page.html")


def _shown(page: Any) -> list[int]:
    """Places of the samples that are to be seen, in their order."""
    found = page.eval_on_selector_all(
        ".sample", "all => all.filter(one => one.offsetParent !== null).map(one => Number(one.dataset.at))"
    )
    assert page.locator("#shown").inner_text() == f"{len(found)} of 60 shown"
    return list(found)


def test_a_class_filter_a_range_a_reset_and_the_same_view_again(
    visit: Callable[..., Any], sound_product_store: Order
) -> None:
    about = describe(open_store(sound_product_store.root))
    samples = about.samples
    at = [one.name for one in about.columns].index("theta_E")
    theta = [one.values[at] or 0.0 for one in samples]
    page = visit()
    assert _shown(page) == list(range(60))
    assert page.eval_on_selector_all(
        "img", "all => all.length > 60 && all.every(one => one.naturalWidth > 0)"
    )

    page.locator("#gallery .switch", has_text="cdm").click()
    assert _shown(page) == [k for k, one in enumerate(samples) if one.position != 1]
    assert len(_shown(page)) == 40
    # the same switch above the histograms follows, and so do their lines
    assert not page.locator("#columns [data-class='1']").is_checked()
    assert not page.locator("[data-of='1']").first.is_visible()
    assert page.locator("[data-of='0']").first.is_visible()

    page.locator("[data-split='train']").uncheck(force=True)
    middle = sorted(theta)[30]
    page.locator("#add").select_option("theta_E")
    page.get_by_label("theta_E from").fill(str(middle))
    page.locator("#sort").select_option("theta_E")
    page.locator("#down").check(force=True)
    expected = [
        k for k, one in enumerate(samples)
        if one.position != 1 and one.split != "train" and theta[k] >= middle
    ]  # fmt: skip
    view = _shown(page)
    assert 0 < len(view) < 12
    assert view == sorted(expected, key=lambda k: -theta[k])
    first = page.locator(f"[data-at='{view[0]}'] .told").inner_text()
    assert float(first.removesuffix(" arcsec")) == pytest.approx(theta[view[0]], rel=1e-3)

    page.reload()
    assert _shown(page) == view
    assert page.get_by_label("theta_E from").input_value() == str(middle)
    assert _shown(visit(page.url.split("#")[1])) == view

    page.locator("#reset").click()
    assert _shown(page) == list(range(60))
    assert "#" not in page.url
    assert page.locator("#ranges").inner_text() == ""


def test_a_range_that_nothing_meets_says_so(visit: Callable[..., Any]) -> None:
    page = visit(
        "range=" + quote("5..6 theta_E") + "&range=" + quote("0..1 no_such_column") + "&sort=nothing"
    )
    assert _shown(page) == []
    assert page.locator("#empty").is_visible()
    page.get_by_label("Remove the range of theta_E").click()
    assert len(_shown(page)) == 60
    assert not page.locator("#empty").is_visible()


def test_a_histogram_leads_to_a_range_of_its_column(visit: Callable[..., Any]) -> None:
    page = visit()
    page.get_by_label("Filter the gallery by axion_mass_ev").click()
    assert page.get_by_label("axion_mass_ev from").is_visible()
    assert len(_shown(page)) == 60
    page.get_by_label("axion_mass_ev from").fill("1e-25")
    # only vortices have one
    assert len(_shown(page)) == 20


def test_a_sample_opens_by_keyboard_with_its_products(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator(".sample button").nth(1).focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#detail")
    title = dialog.locator("h2").inner_text()
    assert re.fullmatch(r"Sample \d+ · cdm", title)
    assert dialog.locator("img").count() == 3
    assert dialog.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    assert "theta_E" in dialog.inner_text()
    assert "axion_mass_ev" not in dialog.inner_text()
    assert "lensmill sample small.zarr --index" in dialog.inner_text()
    fragment = page.url.split("#")[1]
    page.keyboard.press("ArrowRight")
    assert "vortex" in dialog.locator("h2").inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert visit(fragment).locator("#detail h2").inner_text() == title


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_has_nothing_beside_it(visit: Callable[..., Any], scheme: str) -> None:
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_paper_has_no_controls(visit: Callable[..., Any]) -> None:
    page = visit()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator("#reset").is_visible()
    assert page.locator(".sample img").first.is_visible()


def test_without_scripts_everything_is_there_but_the_controls(visit: Callable[..., Any]) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator(".sample").count() == 60
    assert page.locator(".sample img").last.is_visible()
    assert not page.locator("#reset").is_visible()
