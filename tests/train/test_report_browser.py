"""The page of a report in the machine's own Chromium: tables sort, pictures open, nothing leaves the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas.page import Fact
from tests.reports import full_report
from train.report.figures import new_figure
from train.report.page import PageContent, render
from train.report.pictures import load_examples, save_figures


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with something in every section."""
    folder, report = tmp_path_factory.mktemp("page"), full_report("classification")
    for one in report.examples:
        for name in (one.picture, one.map):
            assert name is not None
            Image.fromarray(np.zeros((16, 16), np.uint8)).save(folder / name)
    figure, axis = new_figure()
    axis.set(title="ROC, one class against the rest", xlabel="false", ylabel="true")
    content = PageContent(
        report,
        save_figures({"ROC": figure}, folder),
        load_examples(report.examples, folder),
        facts=(Fact(name="versions", text="python 3.12, " * 30),),
        commands=(Fact(name="the model", text="lensmill train experiment.yaml --data " + "long/" * 40),),
        texts=(Fact(name="experiment.yaml", text='{"name": "' + "x" * 300 + '"}'),),
    )
    (folder / "report.html").write_text(render(content))
    return folder / "report.html"


def _first_column(table: Any) -> list[str]:
    return list(table.locator("tbody th").all_inner_texts())


def test_tables_sort_and_pictures_open(visit: Callable[..., Any]) -> None:
    page = visit()
    assert page.eval_on_selector_all(
        "img", "all => all.length === 17 && all.every(one => one.naturalWidth > 0)"
    )

    table = page.locator("#where table").first
    head = table.locator("thead th", has_text="samples")
    assert _first_column(table) == ["cdm", "no_sub", "vortex"]
    head.locator("button").click()
    assert (_first_column(table), head.get_attribute("aria-sort")) == (
        ["vortex", "no_sub", "cdm"],
        "ascending",
    )
    head.locator("button").press("Enter")
    assert (_first_column(table), head.get_attribute("aria-sort")) == (
        ["cdm", "no_sub", "vortex"],
        "descending",
    )
    table.locator("thead button").first.click()
    assert head.get_attribute("aria-sort") is None

    # numbers sort as numbers, and what has none comes last either way
    table = page.locator("#beside table").first
    gain = table.locator("thead button", has_text="better by")
    for _ in range(2):
        gain.click()
        assert _first_column(table)[0].startswith("60 principal")

    dialog = page.locator("#large")
    for opener, tag in (
        (page.get_by_label("Open large: ROC"), "img"),
        (page.get_by_label("Open large: theta_E"), "svg"),
    ):
        opener.focus()
        page.keyboard.press("Enter")
        assert dialog.locator(tag).is_visible()
        assert len(dialog.locator("#large-text").inner_text()) > 10
        page.keyboard.press("Escape")
        assert not dialog.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_has_nothing_beside_it(visit: Callable[..., Any], scheme: str) -> None:
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme, reduced_motion="reduce")
    for one in page.locator("details").all():
        one.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_paper_shows_what_is_folded_away(visit: Callable[..., Any]) -> None:
    page = visit()
    assert not page.locator("#looks table").is_visible()
    page.evaluate(
        """() => addEventListener("beforeprint", () => {
            window.opened = [...document.querySelectorAll("details")].every((one) => one.open);
        })"""
    )
    assert len(page.pdf(format="A4")) > 20_000
    assert page.evaluate("window.opened")
    assert not page.locator("#looks table").is_visible()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()


def test_a_table_that_goes_on_beside_the_screen_shows_it_and_paper_has_all_of_it(
    visit: Callable[..., Any],
) -> None:
    page = visit(viewport={"width": 360, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    hints = page.locator(".wide").evaluate_all(
        """all => all.filter((one) => one.scrollWidth > one.clientWidth)
            .map((one) => getComputedStyle(one).backgroundAttachment)"""
    )
    # covers move with the table, shadows stay at the sides
    assert set(hints) == {"local, local, scroll, scroll"}
    # A4 less its margins
    page.set_viewport_size({"width": 688, "height": 1017})
    page.emulate_media(media="print")
    rights = page.locator("table").evaluate_all("all => all.map((one) => one.getBoundingClientRect().right)")
    assert max(rights) <= 688
    cut = page.locator(".wide").evaluate_all("all => all.map((one) => getComputedStyle(one).overflowX)")
    assert set(cut) == {"visible"}


def test_without_scripts_everything_is_there(visit: Callable[..., Any]) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator("table.sortable").count() >= 6
    assert page.locator("img").last.is_visible()
    assert page.locator("thead button").count() == 0
