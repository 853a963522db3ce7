"""Models to be given away: the exported folder, loading it, its ONNX file and its card."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from flows.generate import Order
from schemas.card import Card
from schemas.errors import DataError, PlaceError, RunError, RunMissingError
from schemas.experiment import ExperimentRecipe
from schemas.metrics import ClassificationMetrics
from schemas.run import NetworkInput
from storage.reader import Store
from train.evaluate import evaluate
from train.fit import fit
from train.models.image_size import sized
from train.predict import predict
from train.records.run_folder import load_run
from train.release import export, load_model, onnx_file
from train.release.model import sample_images

DOCS = Path(__file__).parents[2] / "docs" / "using_models.md"
PYTHON = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def measured(classifier: Path, sound_store: Order, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a report."""
    root = tmp_path_factory.mktemp("measured") / "run"
    shutil.copytree(classifier, root)
    evaluate(root, sound_store.root)
    return root


@pytest.fixture(scope="module")
def exported(measured: Path) -> Path:
    """An exported classifier. Not to be changed."""
    out = measured.parent / "exported"
    export(measured, out, licence="CC-BY-4.0")
    return out


def _card(folder: Path) -> Card:
    return Card.model_validate_json((folder / "card.json").read_bytes())


def test_it_predicts_as_the_run(exported: Path, measured: Path, sound_store: Order, sound: Store) -> None:
    assert {path.name for path in exported.iterdir()} == {
        "card.json",
        "card.md",
        "model.onnx",
        "run.json",
        "weights.safetensors",
    }
    expected = predict(measured, sound_store.root).drop_columns(["file", "image"])
    assert predict(exported, sound_store.root).drop_columns(["file", "image"]).equals(expected)
    images = sound.read("test", "image")
    for folder in (exported, measured):
        model = load_model(folder)
        for given in (images, images[:, 0], images.astype(np.float64)):
            table = model.predict(given)
            assert list(table) == expected.column_names
            assert table["predicted"].tolist() == expected["predicted"].to_pylist()
        assert model.classes == ("no_sub", "cdm", "vortex")
        assert model.image_shape == (1, 16, 16)
        assert model.pixel_scale_arcsec == pytest.approx(0.101)


def test_onnx_says_what_torch_says(exported: Path, measured: Path, sound: Store) -> None:
    run, card = load_run(measured), _card(exported)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3, 12):
        images = sound.read("test", "image", slice(0, count))
        output, probability = session.run(None, {"images": images})
        with torch.inference_mode():
            expected = run.network(torch.from_numpy(images)).numpy()
        assert np.allclose(output, expected, rtol=1e-5, atol=1e-5)
        table = load_model(exported).predict(images)
        assert np.allclose(probability[:, 1], table["probability_cdm"], atol=1e-5)
    assert card.onnx is not None
    assert card.onnx.outputs == dict.fromkeys(("output", "probability"), ("no_sub", "cdm", "vortex"))
    assert (card.onnx.checked_images, card.onnx.checked_on) == (16, "training data")
    assert card.onnx.largest_difference is not None
    assert card.onnx.largest_difference < 1e-4


def test_the_card(exported: Path, measured: Path, sound_store: Order) -> None:
    card, record = _card(exported), load_run(measured).record
    assert card.data.recipe_digest == sound_store.recipe.digest
    assert card.data.family == "survey"
    assert card.data.samples == 42
    assert card.weights_sha256 == record.weights_sha256
    assert card.evaluation is not None
    assert card.evaluation.samples == 12
    (score,) = card.evaluation.scores
    text = (exported / "card.md").read_text()
    for words in (
        sound_store.recipe.digest,
        f"{score.value.value:.4g} | {score.value.low:.4g} to {score.value.high:.4g}",
        "16 x 16 pixels with 1 channel",
        "0.101 arcsec",
        "real ones have",
        "CC-BY-4.0",
        "load_model",
        record.versions["torch"],
        "| AUC macro | ",
        "| class | AUC | average precision |",
        "the same for every image | AUC macro 0.5 [0.5, 0.5] |",
    ):
        assert words in text
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}
    assert isinstance(card.evaluation.metrics, ClassificationMetrics)
    area = card.evaluation.metrics.auc["vortex"]
    assert f"| {area.value:.4g} [{area.low:.4g}, {area.high:.4g}] |" in rows["vortex"]
    # what has no unit is not given one
    assert "[1]" not in text


def test_replicas_and_runs_without_a_report_say_so(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.release.folder._training_store", lambda _: None)
    card = export(classifier, tmp_path / "out", onnx=False)
    assert card.data.family is None
    assert card.evaluation is None
    assert card.onnx is None
    assert "there was no report" in (tmp_path / "out" / "card.md").read_text().lower()
    from train.release.card import FAMILY_LIMITS

    assert "says little about real lenses" in " ".join(FAMILY_LIMITS["replica"].split())


def test_no_path_of_this_computer_is_in_it(exported: Path, measured: Path, sound_store: Order) -> None:
    record = load_run(measured).record
    assert record.data.store == str(sound_store.root)
    for path in exported.iterdir():
        content = path.read_bytes()
        for root in (sound_store.root.parent, measured.parent, Path.home(), Path(sys.prefix)):
            assert str(root).encode() not in content, path.name


def test_python_of_the_page_runs(
    exported: Path, sound: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exported").symlink_to(exported)
    np.save(tmp_path / "images.npy", sound.read("test", "image"))
    monkeypatch.chdir(tmp_path)
    assert len(PYTHON) == 2
    for block in PYTHON:
        exec(compile(block, str(DOCS), "exec"), {})  # noqa: S102 - our own page


@pytest.mark.slow
def test_lightning_and_prefect_are_not_needed() -> None:
    heavy = ("lightning", "prefect", "dask", "lenstronomy", "onnx")
    code = f"import sys, train.release; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True
    )
    assert done.stdout.strip() == "[]"


def test_weights_that_were_changed_are_refused(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"is not the file that run\.json describes"):
        load_model(folder)


@pytest.mark.parametrize(
    "shape", [(16, 16), (2, 3, 16, 16), (0, 16, 16), (2, 17, 16), (1, 1, 1, 16, 16)], ids=str
)
def test_arrays_that_are_no_images(exported: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="images"):
        load_model(exported).predict(np.zeros(shape))


def test_nan_is_refused(exported: Path) -> None:
    images = np.zeros((4, 16, 16))
    images[2, 1, 1] = np.nan
    with pytest.raises(DataError, match="1 image holds NaN"):
        load_model(exported).predict(images)


def test_what_is_there_is_not_replaced(exported: Path, measured: Path, tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="exists"):
        export(measured, exported)
    with pytest.raises(RunMissingError, match="is an exported model already"):
        export(exported, tmp_path / "again")
    with pytest.raises(RunMissingError, match="does not say which samples"):
        load_run(exported).used_samples("train")
    assert not (tmp_path / "again").exists()


def test_a_network_that_onnx_does_not_take(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator\nand a page of insides")

    monkeypatch.setattr(torch.onnx, "export", fail)
    card = export(classifier, tmp_path / "out")
    assert card.onnx is None
    assert card.remarks == ("no ONNX file: torch cannot put lensmill_stem_vit into ONNX: no such operator",)
    assert "no such operator" in (tmp_path / "out" / "card.md").read_text()
    assert load_model(tmp_path / "out").predict(np.zeros((1, 16, 16)))
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_a_file_that_says_something_else_is_not_given_away(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "_export", lambda *given: given[-1].write_bytes(b"onnx"))
    run = load_run(classifier)
    images = sample_images(run, 4)
    with torch.inference_mode():
        logits = run.network(torch.from_numpy(images))
    answers = [logits.numpy() * 1.001, torch.softmax(logits, 1).numpy()]
    monkeypatch.setattr(onnx_file, "_run", lambda _, some: [one[: len(some)] for one in answers])
    with pytest.raises(onnx_file.NotExportedError, match=r"differs from torch by 0\.001"):
        onnx_file.write_onnx(run, tmp_path / "model.onnx", images, real=False)
    assert not (tmp_path / "model.onnx").exists()
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxruntime" else True)
    assert onnx_file.write_onnx(run, tmp_path / "model.onnx", images, real=False).checked_images == 0
    monkeypatch.setattr(onnx_file, "find_spec", lambda _: None)
    with pytest.raises(onnx_file.NotExportedError, match="onnx and onnxscript not installed"):
        onnx_file.write_onnx(run, tmp_path / "model.onnx", images, real=False)


def test_a_disk_that_is_full_leaves_nothing(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.release.folder.shutil.copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        export(classifier, tmp_path / "out", onnx=False)
    assert list(tmp_path.iterdir()) == []


class Halving(torch.nn.Module):
    """A network that gives two answers, as small as one can be that sees every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.last = torch.nn.Conv2d(1, 4, 3, 2, 1), torch.nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.last(torch.relu(self.maps(images)).mean((2, 3))),)


@pytest.mark.parametrize(("method", "side"), [("padded", 32), ("resized", 40), ("resized", 24)])
def test_onnx_of_networks_that_take_images_of_another_size(method: Any, side: int, tmp_path: Path) -> None:
    way = NetworkInput(method=method, image_side=30, network_side=side)
    network, path = sized(Halving(), way).eval(), tmp_path / "model.onnx"
    images = np.random.default_rng(0).random((3, 1, 30, 30), np.float32)
    with onnx_file._quiet():
        onnx_file._export(network, torch.from_numpy(images[:2]), ["answer"], path)
    assert onnx_file._difference(network, path, images) < onnx_file.MOST_DIFFERENCE
    # the comparison can tell a network that is resized from one that is not
    assert onnx_file._difference(network.network, path, images) > onnx_file.MOST_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["anomaly", "regression", "gaussian"])
def test_onnx_of_other_objectives(
    kind: str, experiment: Callable[..., ExperimentRecipe], sound_store: Order, sound: Store, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {}
    if kind == "gaussian":
        targets = [{"column": "theta_E"}, {"column": "source_R_sersic", "transform": "log10"}]
        changes["objective"] = {"kind": "regression", "loss": {"kind": "gaussian"}, "targets": targets}
    recipe = experiment("anomaly" if kind == "anomaly" else "regression", **changes)
    fit(recipe, sound_store.root, tmp_path / "run", quiet=True)
    card = export(tmp_path / "run", tmp_path / "out")
    assert card.onnx is not None, card.remarks
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    images = sound.read("test", "image")
    found = dict(zip(card.onnx.outputs, session.run(None, {"images": images}), strict=True))
    table = load_model(tmp_path / "out").predict(images)
    if kind == "anomaly":
        assert np.allclose(found["output"][:, 1], table["anomaly_score"], rtol=1e-4)
        return
    for k, name in enumerate(("theta_E", "source_R_sersic")):
        assert np.allclose(found["predicted"][:, k], table[f"predicted_{name}"], rtol=1e-4)
        if kind == "gaussian":
            assert np.allclose(found["sigma"][:, k], table[f"sigma_{name}"], rtol=1e-4)


def test_card_json_is_plain(exported: Path) -> None:
    assert json.loads((exported / "card.json").read_text())["format_version"] == 1
