"""Tables at 80 columns, which is also what a pipe gets: no name, number or word is cut."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.table import Table

from flows.catalogue import shipped
from flows.commands.app import out
from flows.commands.data import _print_audit
from flows.commands.tables import GAP, in_blocks, lined_up
from flows.generate import Order
from schemas.audit import Audit
from storage.audit import audit as audit_evidence
from storage.audit import gather
from storage.reader import open_store
from tests.sources import images, with_mass

Lensmill = Callable[..., Any]
NAME = "probability_of_a_kind_of_dark_matter_with_a_name"


@pytest.fixture(autouse=True)
def pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `COLUMNS=80` and a pipe give, whatever the tests run in."""
    monkeypatch.setattr(out, "_width", 80)
    monkeypatch.setattr(out, "_height", 25)


def _whole(said: str, names: list[str]) -> None:
    """Every name stands in a line, nothing is cut and no line is longer than the terminal."""
    for name in names:
        assert re.search(rf"(^|[ │]){re.escape(name)}([ │]|$)", said, re.MULTILINE), name
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80


def _told(capsys: pytest.CaptureFixture[str], *shown: Table) -> str:
    for table in shown:
        out.print(table)
    return capsys.readouterr().out


# -- commands


def test_info(lensmill: Lensmill, sound_store: Order) -> None:
    said = lensmill("info", sound_store.root).out
    names = [column.name for column in sound_store.plan.columns]
    assert "vortex_half_length_arcsec" in names
    _whole(said, [*names, sound_store.recipe.digest, "column", "bounds", "meaning"])
    folded = " ".join(said.split())
    assert "half the length of" in folded
    assert "shear along the" in folded


def test_info_of_the_longest_names(
    lensmill: Lensmill,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
) -> None:
    name = "a_class_with_a_name_of_32_letter"
    renamed = ("classes.cdm.label=7", f"classes.cdm.name={name}")
    split = ("samples_per_class=4", "splits={train: 0.5, test: 0.5}", "detectability=[test]")
    order = order_small(tmp_path / "seen.zarr", *split, *renamed)
    make_store(order)
    said = lensmill("info", order.root).out
    _whole(said, [column.name for column in order.plan.columns])
    # beside a name as long as this the digest takes two lines
    assert order.recipe.digest in re.sub(r"\s", "", said)
    assert f"{name} seen" in said


def test_sample(lensmill: Lensmill) -> None:
    said = lensmill("sample", "tiny", "--index", 2)
    shown = said.out[said.out.index("parameter") :]
    _whole(shown, ["vortex_half_length_arcsec", "source_magnitude", "meaning"])


def test_recipes(lensmill: Lensmill) -> None:
    said = lensmill("recipes").out
    _whole(said, [*shipped(), *shipped("experiment")])
    words = " ".join(said.split())
    # a description is told to the end of its sentence, not of its line
    for end in ("gamma1, gamma2. Everything is drawn;", "easy and says little about real lenses."):
        assert end in words


def test_models(lensmill: Lensmill) -> None:
    said = lensmill("models").out
    table = said[: said.index("every name")]
    _whole(table, ["EfficientFormer", "swinv2_tiny_window8_256", "150 x 150", "million"])


def test_import(lensmill: Lensmill, tmp_path: Path) -> None:
    classes = ("a_class_with_a_long_name", "another_class_with_one")
    for number, name in enumerate(classes):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for at, image in enumerate(images(10, number, side=16)):
            content = image if number else with_mass(image, 1e-24 * (1 + at))
            np.save(tmp_path / "mine" / name / f"{at}.npy", content, allow_pickle=True)
    said = lensmill("import", tmp_path / "mine", "--out", tmp_path / "mine.zarr", "--dry-run")
    assert said.code == 0, said
    table = said.out[said.out.index("label  class") : said.out.index("a dry run")]
    _whole(table, [*classes, "train", "columns"])
    # units are in brackets, which rich takes for markup
    assert "[eV]" in table


def test_audit_of_long_class_names(sound_store: Order, capsys: pytest.CaptureFixture[str]) -> None:
    found = audit_evidence(gather(open_store(sound_store.root), "train"))
    names = {"vortex": "vortices_of_axions_of_one_mass", "cdm": "subhalos_of_cold_dark_matter"}
    text = found.to_json()
    for old, new in names.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    _print_audit(Audit.model_validate_json(text))
    said = capsys.readouterr().out
    assert "…" not in said
    assert "source_magnitude" in said


# -- predictions and reports


@pytest.fixture
def predicted(lensmill: Lensmill, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What `lensmill predict` says of a table, without a model."""
    predict = pytest.importorskip("train.predict")

    def say(columns: dict[str, Any]) -> str:
        monkeypatch.setattr(predict, "predict", lambda *_, **__: pa.table(columns))
        said = lensmill("predict", "run", "images.npy")
        assert said.code == 0, said
        return str(said.out)

    return say


def test_predictions_of_three_classes(predicted: Callable[..., str]) -> None:
    names = ["no_sub", "cdm", "vortex"]
    columns = {"file": ["tiny.zarr"] * 3, "image": [0, 1, 2], "predicted": names}
    said = predicted(columns | {f"probability_{name}": [0.123456, 1 / 3, 1e-9] for name in names})
    _whole(said, ["tiny.zarr", "predicted", *(f"probability_{name}" for name in names), "0.1235", "1e-09"])
    assert said.count("image") == 1


def test_predictions_of_many_columns_come_in_blocks(predicted: Callable[..., str]) -> None:
    names = [f"predicted_parameter_{number}" for number in range(9)]
    columns = {"file": ["a[b].npy"] * 2 + ["c/" * 60 + "d.npy"], "image": [0, 1, 0]}
    said = predicted(columns | {name: [0.5, 0.25, float(at)] for at, name in enumerate(names)})
    assert "a[b].npy\n" in said
    # a path is for copying: it is in one line, however long
    assert "c/" * 60 + "d.npy\n" in said
    _whole("\n".join(line for line in said.splitlines() if len(line) <= 80), [*names, "image"])
    assert said.count("image") == 2 * 3


def test_reports_tell_their_units(
    lensmill: Lensmill, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows import assess

    evaluate = pytest.importorskip("train.evaluate")

    class Short:
        experiment, store_recipe, warnings, headline = "regress_[x]", "tiny", (), "MAE 0.1"
        split, bounds, flags, looks, verdict = "test", (), (), (), None

    metrics = ("MAE theta_E [arcsec]", "time per image [ms]")
    rows = [{"metric": name, "value": "0.5", "constant": "[1]"} for name in metrics]
    monkeypatch.setattr(assess, "metric_rows", lambda _: rows)
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: Short)
    monkeypatch.setattr(evaluate, "report_folder", lambda *_: tmp_path)
    said = lensmill("evaluate", tmp_path, "--data", "tiny.zarr")
    assert said.code == 0, said
    _whole(said.out[: said.out.index("MAE 0.1")], [*metrics, "[1]"])
    assert "regress_[x] on tiny, test" in said.out


# -- the tables themselves


def test_names_stay_whole_while_there_is_place(capsys: pytest.CaptureFixture[str]) -> None:
    name, words = "n" * 40, "of many words " * 6
    whole = _told(capsys, lined_up(("name", "meaning"), [(name, words)]))
    assert f"{name}  of many" in whole
    # a longer one would leave too little for the rest: it folds, and so does a word
    name, words = "N" * 90, "W" * 90
    folded = _told(capsys, lined_up(("name", "meaning"), [(name, words)]))
    assert (folded.count("N"), folded.count("W")) == (90, 90)
    assert all(max(map(len, said.splitlines())) <= 80 for said in (whole, folded))


ENDS = ("-0.009938 to -0.001928", "-0.0122 to 0.00012")
METRICS = ("bias vortex_half_length_arcsec [arcsec]", "average precision of all others")


@pytest.mark.parametrize("names", [METRICS, ("bias theta_E [arcsec]", "average precision of all others")])
def test_numbers_are_never_broken(names: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    headings = ("metric", "value", "95%", "baseline", "constant")
    numbers = [("-0.001928", ENDS[0], "-0.002611", "0.01234"), ("1,234,567", ENDS[1], "", "-1.234e-05")]
    rows = [(name, *row) for name, row in zip(names, numbers, strict=True)]
    said = _told(capsys, lined_up(headings, rows))
    whole = [part for row in numbers for cell in row for part in cell.split(" to ") if part]
    _whole(said, [*whole, *(word for name in names for word in name.split())])
    if names != METRICS:
        _whole(said, list(ENDS))


def test_numbers_come_before_whole_names(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("time per image in batches of 256 [ms]", "8.246", "-0.001234 to -0.001111", "1.234e-05", "0.5")]
    said = _told(capsys, lined_up(("metric", "value", "95%", "baseline", "constant"), rows))
    _whole(said, list(rows[0][1:]))


def test_cells_are_taken_literally(capsys: pytest.CaptureFixture[str]) -> None:
    said = _told(capsys, lined_up(("[bold]", "b"), [("[/]", "[red]x")], title="[1]"))
    assert all(text in said for text in ("[bold]", "[/]", "[red]x", "[1]"))


@pytest.mark.parametrize(("columns", "blocks"), [(1, 1), (6, 1), (7, 2), (12, 2), (13, 3)])
def test_blocks_are_as_wide_as_the_terminal(columns: int, blocks: int) -> None:
    headings = ["image", *(f"column_{number:03d}" for number in range(columns))]
    rows = [[str(number)] * len(headings) for number in range(3)]
    made = list(in_blocks(headings, rows))
    assert len(made) == blocks
    shown = [[str(column.header) for column in table.columns] for table in made]
    assert all(block[0] == "image" for block in shown)
    assert [name for block in shown for name in block[1:]] == headings[1:]
    assert all(out.measure(table).maximum <= 80 for table in made)


def test_a_column_wider_than_the_terminal_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    said = _told(capsys, *in_blocks(["image", NAME * 3, "b"], [["0", "1", "2"]]))
    lines = said[: said.index("─")].splitlines()
    assert "".join(line[1 + len("image") + GAP :].strip() for line in lines) == NAME * 3
