"""Commands about models, in this process: what they do, and bad input said once and clearly."""

import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow.csv as pa_csv
import pytest

from flows.catalogue import shipped
from flows.generate import Order
from flows.telling import journal
from schemas.reading import parse
from schemas.report import Report
from schemas.run import RunRecord
from storage import commit
from tests.flows.messages import one_message

Lensmill = Callable[..., Any]
BAD_INPUT, FAILED = 2, 1
CLASSIFY = """\
name: quick
objective: {kind: classification}
training: {epochs: 2, batch_size: 16}
"""
REGRESS = """\
name: quick
objective:
  kind: regression
  targets: [{column: theta_E}]
training: {epochs: 1, batch_size: 16}
"""


@pytest.fixture(scope="module", params=["classify", "regress"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """An experiment of two epochs, as a file."""
    path = tmp_path / "quick.yaml"
    path.write_text(CLASSIFY)
    return path


@pytest.fixture(scope="module")
def trained(sound_store: Order, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Not to be changed."""
    from flows.fitting import fit_experiment

    folder = tmp_path_factory.mktemp("trained")
    (folder / "quick.yaml").write_text(CLASSIFY)
    fit_experiment(str(folder / "quick.yaml"), sound_store.root, folder / "run", quiet=True)
    return folder / "run"


def test_train_evaluate_and_predict(
    lensmill: Lensmill, quick: Path, sound_store: Order, tmp_path: Path, kind: str
) -> None:
    quick.write_text(CLASSIFY if kind == "classify" else REGRESS)
    run = tmp_path / "runs" / "quick"
    said = lensmill("train", quick, "--data", sound_store.root, "--out", run, "--quiet")
    assert said.code == 0, said
    record = RunRecord.model_validate_json((run / "run.json").read_bytes())
    assert f"lensmill_stem_vit ({record.parameters:,} parameters) trained on 42 images" in said.out
    assert f"best epoch {record.best_epoch} of {record.epochs}, validation loss" in said.out
    assert f"lensmill evaluate {run} --data {sound_store.root}" in said.out

    said = lensmill("evaluate", run, "--data", sound_store.root)
    assert said.code == 0, said
    (folder,) = (run / "reports").iterdir()
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    assert said.out.splitlines()[-2:] == [report.headline, f"report: {folder / 'report.html'}"]
    assert "constant" in said.out
    assert "time per image in a batch of one" in said.out
    found = json.loads(lensmill("evaluate", run, "--data", sound_store.root, "--json").out)
    assert found["metrics"] == json.loads(report.to_json())["metrics"]

    out = tmp_path / "table.csv"
    said = lensmill("predict", run, sound_store.root, "--out", out)
    assert (said.code, said.out) == (0, f"wrote {out}: 12 rows\n")
    assert pa_csv.read_csv(out).num_rows == 12
    said = lensmill("predict", run, sound_store.root, "--split", "train")
    assert said.code == 0
    assert "and 22 more" in said.out
    assert ("predicted_theta_E" if kind == "regress" else "vortex") in said.out.replace("\n", "")


def test_a_training_tells_machines_of_its_epochs(
    lensmill: Lensmill, quick: Path, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (journal.VARIABLE, *journal.PREFECT):
        # what the command puts into the environment is for this test alone
        monkeypatch.setenv(name, "")
    words = ("--log", "json", "train", quick, "--data", sound_store.root, "--set", "placement.kind=pool")
    said = lensmill(*words, "--set", "placement.pool=gpu", "--out", tmp_path / "run")
    assert said.code == 0, said
    placed, first, *_, last = [json.loads(line) for line in said.err.splitlines()]
    assert placed["message"].startswith("trained here: placement (pool) is followed by `lensmill run`")
    assert (first["total"], first["unit"], last["done"]) == (2, "epochs", 2)
    assert 0 < first["done"] < 1
    assert last["message"].startswith("quick: 2 of 2 epochs, training loss ")
    assert last["val_loss"] > 0


def test_set_changes_the_experiment(
    lensmill: Lensmill, quick: Path, sound_store: Order, tmp_path: Path
) -> None:
    changes = [
        "--set",
        "training.epochs=1",
        "--set",
        "model.name=test_resnet",
        "--set",
        "data.max_per_class=6",
    ]
    said = lensmill("train", quick, "--data", sound_store.root, "--out", tmp_path / "run", "-q", *changes)
    assert said.code == 0, said
    assert "test_resnet" in said.out
    assert "18 images" in said.out
    assert "best epoch 1 of 1" in said.out


def test_the_store_may_stand_in_the_recipe(
    lensmill: Lensmill, quick: Path, sound_store: Order, tmp_path: Path
) -> None:
    quick.write_text(CLASSIFY + f"data: {{store: '{sound_store.root}'}}\n")
    assert lensmill("train", quick, "--out", tmp_path / "run", "--quiet").code == 0
    said = lensmill("train", quick, "--data", tmp_path / "none.zarr", "--out", tmp_path / "b", "--quiet")
    assert "there is no lensmill store" in one_message(said, BAD_INPUT)


@pytest.mark.parametrize(
    ("terminal", "options"), [(True, []), (True, ["--quiet"]), (False, []), (False, ["--quiet"])]
)
def test_progress_is_a_bar_or_lines_unless_quiet(
    lensmill: Lensmill,
    quick: Path,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    options: list[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    said = lensmill("train", quick, "--data", sound_store.root, "--out", tmp_path / "run", *options)
    assert said.code == 0, said
    assert ("Epoch" in said.out + said.err) == (terminal and not options)
    assert ("quick: 2 of 2 epochs, training loss " in said.err) == (not terminal and not options)
    for advertisement in ("GPU available", "TPU", "litlogger", "litmodels"):
        assert advertisement not in said.out + said.err


def test_the_schema_of_experiments(lensmill: Lensmill) -> None:
    said = lensmill("schema", "experiment")
    assert said.code == 0
    schema = json.loads(said.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    for name, path in shipped("experiment").items():
        jsonschema.validate(parse(path.read_text(), name).value, schema)


# -- bad input

AXION = "objective={kind: regression, targets: [{column: axion_mass_ev}]}"
BAD_TRAINING: dict[str, tuple[list[str], int, list[str]]] = {
    "an unknown model": (["model.name=resnet_50"], BAD_INPUT, ["unknown model 'resnet_50'", "'resnet50'"]),
    "an unknown objective": (["objective.kind=clasification"], BAD_INPUT, ["objective", "clasification"]),
    "an unknown column": (
        ["objective={kind: regression, targets: [{column: thetaE}]}"],
        BAD_INPUT,
        ["unknown column 'thetaE'", "'theta_E'"],
    ),
    "a column that does not apply": (
        [AXION, "data.classes=[no_sub]"],
        BAD_INPUT,
        ["no chosen class has axion_mass_ev"],
    ),
    "a column that is constant": (
        ["objective={kind: regression, targets: [{column: subhalo_count}]}"],
        BAD_INPUT,
        ["subhalo_count is the same"],
    ),
    "a column that cannot follow": (
        [AXION, "augmentation.scale={low: 0.9, high: 1.1}"],
        BAD_INPUT,
        ["augmentation moves images, but not the target axion_mass_ev"],
    ),
    "a column twice": (
        ["objective={kind: regression, targets: [{column: e1}, {column: e1}]}"],
        BAD_INPUT,
        ["a column is listed twice"],
    ),
    "an unknown class": (
        ["data.classes=[no_sub, vertex]"],
        BAD_INPUT,
        ["unknown class 'vertex'", "'vortex'"],
    ),
    "one class": (["data.classes=[vortex]"], BAD_INPUT, ["1 class to tell apart"]),
    "a size that cannot be met": (
        ["model.name=efficientformer_l1"],
        BAD_INPUT,
        ["'efficientformer_l1' cannot take images of 16 x 16"],
    ),
    "weights that are not there": (
        ["model.pretrained=true", "model.weights=nowhere.safetensors"],
        BAD_INPUT,
        ["there is no file nowhere.safetensors", "model.pretrained=false"],
    ),
    "no epochs": (["training.epochs=0"], BAD_INPUT, ["training.epochs", "greater than or equal to 1"]),
    "an unknown key": (["trainin.epochs=1"], BAD_INPUT, ["trainin: unknown key", "'training'"]),
    "a hub": (["model.name=hf-hub:timm/resnet18"], BAD_INPUT, ["model.name", "hf-hub"]),
}


@pytest.mark.parametrize("fault", BAD_TRAINING)
def test_experiments_that_cannot_be_trained(
    lensmill: Lensmill, quick: Path, sound_store: Order, tmp_path: Path, fault: str
) -> None:
    overrides, code, says = BAD_TRAINING[fault]
    words = [word for one in overrides for word in ("--set", one)]
    said = lensmill("train", quick, "--data", sound_store.root, "--out", tmp_path / "a" / "run", *words)
    message = one_message(said, code)
    for one in says:
        assert one in message
    assert [path.name for path in tmp_path.iterdir()] == ["quick.yaml"]


def test_an_unknown_experiment(lensmill: Lensmill, sound_store: Order, tmp_path: Path) -> None:
    said = lensmill("train", "clasify_tiny", "--data", sound_store.root, "--out", tmp_path / "run")
    assert "did you mean 'classify_tiny'?" in one_message(said, BAD_INPUT)
    assert not list(tmp_path.iterdir())


def test_no_store_is_named(lensmill: Lensmill, quick: Path, tmp_path: Path) -> None:
    said = lensmill("train", quick, "--out", tmp_path / "run")
    assert "names no store" in one_message(said, BAD_INPUT)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_an_unfinished_store(
    lensmill: Lensmill, quick: Path, trained: Path, store: Order, tmp_path: Path, command: str
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    commit.unseal(store.root)
    arguments = {
        "train": ["train", quick, "--data", store.root, "--out", tmp_path / "new"],
        "evaluate": ["evaluate", tmp_path / "run", "--data", store.root],
        "predict": ["predict", tmp_path / "run", store.root, "--out", tmp_path / "table.csv"],
    }[command]
    assert "is unfinished: 9 of 9 shards" in one_message(lensmill(*arguments), FAILED)
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "table.csv").exists()
    assert not (tmp_path / "run" / "reports").exists()


def test_an_existing_run_folder(
    lensmill: Lensmill, quick: Path, trained: Path, sound_store: Order, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    said = lensmill("train", quick, "--data", sound_store.root, "--out", trained)
    message = one_message(said, BAD_INPUT)
    assert f"{trained} exists" in message
    assert "choose another path" in message
    assert {path: path.read_bytes() for path in trained.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize("fault", ["missing", "a store", "garbage", "altered weights", "no weights"])
def test_a_run_folder_that_is_none(
    lensmill: Lensmill, trained: Path, sound_store: Order, tmp_path: Path, command: str, fault: str
) -> None:
    run = tmp_path / "run"
    if fault == "a store":
        run = sound_store.root
    elif fault != "missing":
        shutil.copytree(trained, run)
    if fault == "garbage":
        (run / "run.json").write_text("{")
    elif fault == "altered weights":
        with (run / "weights.safetensors").open("ab") as file:
            file.write(b"x")
    elif fault == "no weights":
        (run / "weights.safetensors").unlink()
    says = {
        "garbage": "is not what lensmill wrote",
        "altered weights": "is not the file that run.json describes",
        "no weights": "is missing",
    }.get(fault, "is no finished run")
    where = ["--data", sound_store.root] if command == "evaluate" else [sound_store.root]
    code = BAD_INPUT if fault in ("missing", "a store") else FAILED
    message = one_message(lensmill(command, run, *where), code)
    assert says in message
    assert str(run) in message
    assert not (tmp_path / "run" / "reports").exists()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((2, 20, 20)), "images of 1 x 20 x 20"),
        (np.zeros(16), "of shape (16,)"),
        (np.full((16, 16), np.nan), "NaN"),
        (np.array([{}], dtype=object), "plain numbers"),
    ],
    ids=["size", "a row", "NaN", "a pickle"],
)
def test_an_image_file_that_does_not_fit(
    lensmill: Lensmill, trained: Path, tmp_path: Path, array: Any, says: str
) -> None:
    np.save(tmp_path / "images.npy", array, allow_pickle=True)
    said = lensmill("predict", trained, tmp_path / "images.npy", "--out", tmp_path / "table.csv")
    message = one_message(said, BAD_INPUT)
    assert says in message
    assert str(tmp_path / "images.npy") in message
    assert not (tmp_path / "table.csv").exists()


def test_samples_of_the_training_are_refused(lensmill: Lensmill, trained: Path, sound_store: Order) -> None:
    said = lensmill("evaluate", trained, "--data", sound_store.root, "--split", "train")
    assert "42 of 42 samples of the train split were trained on" in one_message(said, BAD_INPUT)
    said = lensmill("evaluate", trained, "--data", sound_store.root, "--split", "tests")
    assert "did you mean 'test'?" in one_message(said, BAD_INPUT)
    assert not (trained / "reports").exists()


def test_options_that_are_missing(lensmill: Lensmill, quick: Path, trained: Path) -> None:
    for arguments in (["train", quick], ["evaluate", trained], ["predict", trained], ["evaluate"]):
        said = lensmill(*arguments)
        assert said.code == BAD_INPUT
        assert "Missing" in said.err
        assert "Traceback" not in said.err


def test_run_refuses_bad_input_before_it_starts(
    lensmill: Lensmill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started() -> Any:
        raise AssertionError("a server was started although the input is bad")

    monkeypatch.setattr("flows.running.prefect_api", started)
    for arguments, says in (
        (["tinny"], "unknown recipe 'tinny'"),
        (["tiny", "clasify_tiny"], "unknown experiment 'clasify_tiny'"),
        (["tiny", "classify_tiny", "--set", "sed=1"], "sed: unknown key"),
    ):
        said = lensmill("run", *arguments, "--out", tmp_path / "out")
        assert says in one_message(said, BAD_INPUT)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_training_ends_with_130(
    lensmill: Lensmill, quick: Path, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.module import LensModule

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(LensModule, "training_step", interrupted)
    try:
        said = lensmill("train", quick, "--data", sound_store.root, "--out", tmp_path / "run", "-q")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["quick.yaml"]
    assert said.code == 130, said
