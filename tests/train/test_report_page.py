"""The page of a report: sections that have something to say, marks where they belong, words for pictures."""

import html
import re
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from schemas.metrics import ClassificationMetrics
from schemas.page import Fact
from schemas.report import Report
from tests.reports import DOUBT, KINDS, LEAK, full_report, interval, plain_report
from train.report.figures import new_figure
from train.report.insight_figures import MEAN_MAPS
from train.report.page import PageContent, render
from train.report.pictures import ExamplePicture, describe, load_examples, load_mean_maps
from train.report.samples import sample_rows
from train.report.section_figures import LEFT, draw_dependences
from train.report.strips import strips
from train.report.tables import coverage_table, tables

SECTIONS = ("beside", "where", "sure", "speed", "looks", "flags")


def _words(page: str) -> str:
    page = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.mark.parametrize("kind", KINDS)
def test_sections_without_content_are_left_out(kind: str) -> None:
    page = render(PageContent(plain_report(kind)))
    assert [name for name in (*SECTIONS, "provenance", "pictures") if f'id="{name}"' in page] == []
    assert 'id="numbers"' in page
    links = set(re.findall(r'href="#(\w+)"', page))
    assert links == {"score", "numbers"}


@pytest.mark.parametrize("kind", KINDS)
def test_sections_with_content_are_there(kind: str) -> None:
    report = full_report(kind)
    page = render(PageContent(report, facts=(Fact(name="versions", text="python 3"),)))
    assert [name for name in SECTIONS if f'id="{name}"' not in page] == []
    assert 'id="provenance"' in page
    words = _words(page)
    for told in (LEAK, DOUBT, "look 3 at these samples", "1 red flag", "2 warnings", "NVIDIA H200"):
        assert told in words
    assert "nan" not in words.lower().split()
    # every link leads somewhere
    assert all(f'id="{name}"' in page for name in re.findall(r'href="#(\w+)"', page))
    # leaks come first, in red
    assert page.index("verdict damaged") < page.index("verdict outdated")
    labels = re.findall(r'role="img" aria-label="([^"]*)"', page)
    assert len(labels) >= 4
    assert all(len(one) > 20 for one in labels)


def test_a_page_stands_in_no_need_of_styles_in_its_lines() -> None:
    page = render(PageContent(full_report("classification")))
    # the policy would not let them through
    assert "style=" not in page
    assert not re.search(r"\son\w+=", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))


# -- the score on a line


def test_further_right_is_better() -> None:
    for kind in KINDS:
        for strip in strips(full_report(kind)):
            at = {mark.kind: mark.at for mark in strip.marks}
            assert at["chance"] < at["model"]
            assert [mark.at for mark in strip.marks] == sorted(mark.at for mark in strip.marks)
            assert all(0 <= mark.low <= mark.at <= mark.high <= 100 for mark in strip.marks)
    first = strips(full_report("regression"))[0]
    at = {mark.kind: mark.at for mark in first.marks}
    assert at["chance"] < at["components"] < at["model"]
    assert first.title == "MAE theta_E"


def test_the_best_possible_stands_beside_the_model() -> None:
    bounds = [{"name": "vortex", "against": "no_sub", "ideal": interval(0.8), "model": interval(0.9)}]
    (strip,) = strips(plain_report("classification", bounds=bounds))
    at = {mark.kind: mark.at for mark in strip.marks}
    assert at["ideal"] == strip.beyond < at["model"]
    assert "best possible 0.8000" in strip.alt
    # in a replica a network may know the lens
    (strip,) = strips(plain_report("classification", bounds=[{**bounds[0], "holds": False}]))
    assert strip.beyond is None


# -- tables


def test_targets_have_a_row_each_and_metrics_a_column() -> None:
    overall, apart = tables(full_report("classification"))
    assert [row[0].text for row in overall.rows] == [
        "accuracy", "AUC macro", "AUC micro", "average precision macro", "average precision micro",
    ]  # fmt: skip
    assert [cell.text for cell in overall.rows[0]] == ["accuracy", "91.4%", "33.3%"]
    assert overall.rows[0][1].small == "90.4% to 92.4%"
    assert [row[0].text for row in apart.rows] == ["no_sub", "cdm", "vortex"]
    (apart,) = tables(full_report("regression"))
    assert [(row[0].text, row[0].small) for row in apart.rows] == [
        ("theta_E", "arcsec"),
        ("axion_mass_ev", "dex"),
    ]
    row = dict(zip(apart.heads, apart.rows[0], strict=True))
    assert (row["MAE"].text, row["MAE of a constant"].text, row["median error, %"].key) == (
        "0.0312",
        "0.143",
        3.21,
    )


def test_widths_have_units_and_thresholds_are_called_so() -> None:
    cells = {row[0].text: row[-1].text for row in coverage_table(full_report("regression")).rows}
    assert cells == {"theta_E": "0.29 arcsec", "axion_mass_ev": "0.29 dex"}
    report = full_report("regression")
    assert "not calibrated" in coverage_table(report).heads
    assert report.reliability is not None
    plain = [one.model_copy(update={"before": None}) for one in report.reliability.coverage]
    reliability = report.reliability.model_copy(update={"coverage": tuple(plain)})
    table = coverage_table(report.model_copy(update={"reliability": reliability}))
    assert "not calibrated" not in table.heads
    assert {len(row) for row in table.rows} == {len(table.heads)}
    table = coverage_table(full_report("anomaly"))
    assert table.heads[0] == "threshold of the anomaly score"
    assert "width" not in " ".join(table.heads)


def test_what_a_constant_finds_stands_in_the_name_alone() -> None:
    apart = tables(full_report("anomaly"))[-1]
    found = [one for one in apart.heads if one.startswith("found")]
    assert found == ["found at 1% false positives", "found at 5% false positives"]


# -- drawings


def _edges(report: Report) -> None:
    for one in draw_dependences(report):
        for shape in one.shapes:
            for name, value in shape.places.items():
                if name in ("x", "x1", "x2", "cx"):
                    assert -1 <= float(value) <= one.width + 1
                if name in ("y", "y1", "y2", "cy"):
                    assert -1 <= float(value) <= one.height + 1


@pytest.mark.parametrize("kind", KINDS)
def test_drawings_stay_inside(kind: str) -> None:
    report = full_report(kind)
    assert draw_dependences(report)
    _edges(report)


def test_columns_of_one_value_and_of_many_decades_can_be_drawn() -> None:
    plain = {"column": "count", "unit": "1", "class_name": "cdm", "score": "accuracy", "better": "higher"}
    one_value = [{"low": 3.0, "high": 3.0, "samples": 9, "score": interval(1.0, 0.0)}]
    decades = [
        {"low": 10.0**k, "high": 10.0 ** (k + 1), "samples": 9, "score": interval(0.1 * k, 0.0)}
        for k in range(9)
    ]
    found = [
        {**plain, "bins": one_value},
        {**plain, "column": "m", "bins": decades},
        {**plain, "column": "x", "bins": []},
    ]
    report = plain_report("classification", dependences=found)
    one, other = draw_dependences(report)
    _edges(report)
    assert (one.title, other.title) == ("count", "m")
    # even steps on the axis
    places = [float(shape.places["cx"]) for shape in other.shapes if shape.tag == "circle"]
    steps = [right - left for left, right in pairwise(places)]
    assert max(steps) - min(steps) < 0.5


@pytest.mark.parametrize("height", [0.9999, 0.99999, 0.9999999])
def test_numbers_beside_an_axis_differ_and_no_point_covers_them(height: float) -> None:
    plain = {"column": "n", "unit": "", "score": "AUC", "better": "higher"}
    bins = [
        {"low": 3.0 * k, "high": 3.0 * k + 1e-3, "samples": 9,
         "score": {"value": height, "low": 2 * height - 1, "high": 1.0}}
        for k in range(3)
    ]  # fmt: skip
    found = [{**plain, "class_name": name, "bins": bins} for name in ("cdm", "vortex", "no_sub")]
    (one,) = draw_dependences(plain_report("classification", dependences=found))
    heights = [shape.text for shape in one.shapes if shape.places.get("text-anchor") == "end"]
    assert len(set(heights)) == len(heights) > 2
    assert all(len(text) <= 7 for text in heights)
    assert ("difference from 1, in 10" in one.note) == (height > 0.9999)
    assert one.unit == ""
    points = [float(shape.places["cx"]) for shape in one.shapes if shape.tag == "circle"]
    assert min(points) > LEFT + 3.5


def test_errors_say_their_unit() -> None:
    assert draw_dependences(full_report("regression"))[0].note.startswith("MAE of theta_E in arcsec; ")


def test_classes_have_the_colours_of_their_order() -> None:
    detectability = draw_dependences(full_report("classification"))[0]
    assert detectability.legend == (("k1", "cdm"), ("k2", "vortex"), ("ideal", "best possible"))
    assert "cdm 0.55 at 0.3 to 0.646 and 0.96" in detectability.alt


# -- pictures


def test_a_figure_is_described_by_its_own_words() -> None:
    figure, axis = new_figure()
    axis.plot([0, 1], [0, 1], label="cdm (AUC 0.9)")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    axis.text(0.5, 0.5, "12\n60%")
    axis.legend()
    assert describe(figure) == "ROC: true positive rate against false positive rate; cdm (AUC 0.9); 12 60%"


def test_pictures_of_examples_are_shown_once(tmp_path: Path) -> None:
    report = full_report("classification")
    shared = [one.model_copy(update={"picture": "all.png", "map": None}) for one in report.examples[:3]]
    Image.new("L", (4, 4)).save(tmp_path / "all.png")
    found = load_examples(shared, tmp_path)
    assert [len(one.pictures) for one in found] == [1, 0, 0]
    assert found[0].pictures[0].alt == "Image: sample 7, true no_sub, told vortex .97"


def test_samples_are_in_a_row_for_each_class() -> None:
    report = full_report("classification")
    assert isinstance(report.metrics, ClassificationMetrics)
    confusion = ((362, 35, 3), (396, 0, 4), (10, 11, 379))
    metrics = report.metrics.model_copy(update={"confusion": confusion})
    told = [one for one in report.examples if (one.kind, one.true) != ("best", "cdm")]
    report = report.model_copy(update={"metrics": metrics, "examples": tuple(told)})
    best, worst = sample_rows(report, [ExamplePicture(one, ()) for one in told])
    assert (best.title, worst.title) == ("Told best", "Told worst")
    assert [(row.title, len(row.samples)) for row in best.rows] == [("no_sub", 2), ("cdm", 0), ("vortex", 1)]
    assert best.rows[1].order == "No sample of this class was told rightly."
    assert [row.title for row in worst.rows] == ["no_sub", "cdm", "vortex"]
    page = _words(render(PageContent(report, examples=tuple(ExamplePicture(one, ()) for one in told))))
    assert "Bold: what is true; beside it what the model said. Below, in orange" in page
    assert sample_rows(report, ()) == ()


@pytest.mark.parametrize(
    ("kind", "orders"),
    [
        ("anomaly", ["lowest score first", "highest score first", "highest score first"]),
        ("regression", ["smallest error first"] * 3),
    ],
)
def test_rows_of_samples_say_their_order(kind: str, orders: list[str]) -> None:
    report = full_report(kind)
    best, worst = sample_rows(report, [ExamplePicture(one, ()) for one in report.examples])
    assert [row.order for row in best.rows] == orders
    assert set(orders).isdisjoint(row.order for row in worst.rows) == (kind == "regression")


def test_mean_maps_are_shown_where_there_are_some(tmp_path: Path) -> None:
    assert load_mean_maps(tmp_path) is None
    Image.new("L", (4, 4)).save(tmp_path / MEAN_MAPS)
    found = load_mean_maps(tmp_path)
    assert found is not None
    page = render(PageContent(plain_report("classification"), mean_maps=found))
    assert "Where it works Looked at on average" in _words(page)
    assert found.uri in page
