"""What a report's page says of how to make it again can be typed, and gives the report again."""

import html
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows.generate import Order
from schemas.report import Report
from storage.reader import open_store
from tests.sources import images, with_mass

pytest.importorskip("torch")

from train.evaluate import evaluate, report_folder
from train.records.run_folder import load_run
from train.report.repetition import commands, texts

Lensmill = Callable[..., Any]
QUICK = ("--set", "training.epochs=1", "--set", "training.batch_size=16", "--quiet")


@pytest.fixture(scope="module")
def made(sound_store: Order, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A run of one epoch, and its report."""
    from flows.fitting import fit_experiment

    run = tmp_path_factory.mktemp("repetition") / "a run"
    fit_experiment("classify_tiny", sound_store.root, run, list(QUICK[1:4:2]), True, None)
    return run, evaluate(run, sound_store.root)


def _page(run: Path, report: Report) -> str:
    return (report_folder(run, report) / "report.html").read_text()


def _typed(page: str) -> list[list[str]]:
    found = re.findall(r"<dt>.*?</dt><dd><code>(.*?)</code>", page, re.DOTALL)
    return [shlex.split(html.unescape(one))[1:] for one in found]


def _write_texts(page: str, folder: Path) -> None:
    for name, text in re.findall(
        r"<details><summary>([^<:]*)[^<]*</summary><pre[^>]*>(.*?)</pre>", page, re.DOTALL
    ):
        if name.endswith(".yaml"):
            (folder / name).write_text(html.unescape(text))


@pytest.mark.slow
def test_a_report_comes_about_again(
    lensmill: Lensmill, made: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, report = made
    page = _page(run, report)
    monkeypatch.chdir(tmp_path)
    _write_texts(page, tmp_path)
    for words in _typed(page):
        said = lensmill(*words)
        assert said.code == 0, said
    (found,) = tmp_path.glob("a run/reports/*/report.json")
    again = Report.model_validate_json(found.read_bytes())
    assert again.store_digest == report.store_digest
    assert again.metrics == report.metrics


def test_commands_name_nothing_of_this_machine(made: tuple[Path, Report], sound_store: Order) -> None:
    simulate, train, measure = _typed(_page(*made))
    name = sound_store.root.name
    assert simulate == ["simulate", "data.yaml", "--out", name]
    assert train == ["train", "experiment.yaml", "--data", name, "--out", "a run"]
    assert measure == ["evaluate", "a run", "--data", name, "--split", "test"]


def _store(sound_store: Order, **changes: Any) -> Any:
    plan = SimpleNamespace(backend="zarr", profile="float32")
    return SimpleNamespace(**{"origin": sound_store.recipe, "plan": plan} | changes)


def test_a_store_in_another_format_is_converted(made: tuple[Path, Report], sound_store: Order) -> None:
    run, report = made
    there = _store(sound_store, plan=SimpleNamespace(backend="hdf5", profile="quantised"))
    told = [one.text for one in commands(report, load_run(run).record, there)]
    assert told[0] == "lensmill simulate data.yaml --out as-simulated-tiny"
    assert told[1].endswith(f"--out {sound_store.root.name} --to hdf5 --profile quantised")


def test_a_model_is_trained_on_its_own_data(made: tuple[Path, Report], sound_store: Order) -> None:
    run, report = made
    other = report.model_copy(update={"same_recipe": False, "store": "s3://bucket/other.zarr/"})
    simulate, train, measure = commands(other, load_run(run).record, _store(sound_store))
    assert simulate.text.endswith("--out other.zarr")
    assert f"--data {sound_store.root.name} " in train.text
    assert f"{sound_store.root.name} are the data that it was trained on, tiny" in train.name
    assert "--data other.zarr " in measure.text


def test_a_recipe_that_is_too_long_for_a_page_is_said_to_be(
    made: tuple[Path, Report], sound_store: Order
) -> None:
    run, report = made
    record = load_run(run).record
    long = sound_store.recipe.model_copy(update={"description": "x" * 70_000})
    there = _store(sound_store, origin=long)
    assert "lensmill/recipe.json in the store" in commands(report, record, there)[0].name
    assert "data.yaml" not in texts(record, there)[1].name


def test_an_import_comes_about_again(
    lensmill: Lensmill, made: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("zebra", "axion")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for at, image in enumerate(images(12, number, side=16)):
            content = with_mass(image, 1e-24 * (at + 1)) if name == "axion" else image
            np.save(tmp_path / "mine" / name / f"{at:02d}.npy", content, allow_pickle=True)
    options = ("--name", "ours", "--seed", "4", "--splits", "0.5,0.25,0.25", "--pixel-scale", "0.05")
    said = lensmill("import", "mine", "--out", "a.zarr", *options, "--class-order", "zebra,axion", "--quiet")
    assert said.code == 0, said
    run, report = made
    told = commands(report.model_copy(update={"store": "b.zarr"}), load_run(run).record, open_store("a.zarr"))
    said = lensmill(*shlex.split(told[0].text)[1:])
    assert said.code == 0, said
    one, other = open_store(tmp_path / "a.zarr"), open_store(tmp_path / "b.zarr")
    assert one.stored.digest == other.stored.digest
    assert one.read("test", "label").tolist() == other.read("test", "label").tolist()
