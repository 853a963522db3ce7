"""A run folder is checked before it is used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.errors import PlaceError, RunError, RunMissingError
from train.records.run_folder import load_run, new_folder, read_record, sha256_of_file


@pytest.fixture
def run(classifier: Path, tmp_path: Path) -> Path:
    """A finished run to be damaged."""
    shutil.copytree(classifier, tmp_path / "run")
    return tmp_path / "run"


def test_a_sound_run_loads_and_is_ready_to_predict(classifier: Path) -> None:
    loaded = load_run(classifier)
    assert not any(module.training for module in loaded.network.modules())
    assert loaded.network(torch.zeros(1, 1, 16, 16)).shape == (1, 3)


def test_a_run_may_be_moved(run: Path, classifier: Path) -> None:
    images = torch.randn(2, 1, 16, 16)
    assert torch.equal(load_run(run).network(images), load_run(classifier).network(images))


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a file", "a store"])
def test_what_is_no_run(tmp_path: Path, what: str, sound_store: object) -> None:
    path = tmp_path / "run"
    if what == "an empty folder":
        path.mkdir()
    elif what == "a file":
        path.write_text("{}")
    elif what == "a store":
        path = sound_store.root  # type: ignore[attr-defined]
    with pytest.raises(RunMissingError, match="is no finished run") as caught:
        load_run(path)
    assert str(path) in str(caught.value)
    assert "lensmill train" in caught.value.advice


RECORDS: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "no JSON": lambda text: text[:-20],
    "a list": lambda _: "[]",
    "an unknown field": lambda text: json.dumps({**json.loads(text), "more": 1}),
    "a field missing": lambda text: json.dumps(
        {key: value for key, value in json.loads(text).items() if key != "stretch"}
    ),
    "a digest that is none": lambda text: json.dumps({**json.loads(text), "weights_sha256": "x"}),
}


@pytest.mark.parametrize("fault", RECORDS)
def test_a_record_that_is_not_ours(run: Path, fault: str) -> None:
    path = run / "run.json"
    path.write_text(RECORDS[fault](path.read_text()))
    with pytest.raises(RunError, match="is not what lensmill wrote") as caught:
        read_record(run)
    assert "the record of a run" in caught.value.expected
    assert "restore it from a copy" in caught.value.advice
    assert ("newer lensmill" in caught.value.advice) == (fault == "an unknown field")


def test_a_record_of_a_newer_version(run: Path) -> None:
    path = run / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2}))
    with pytest.raises(RunError, match="has format version 2") as caught:
        load_run(run)
    assert caught.value.expected == "version 1"
    assert "newer lensmill" in caught.value.advice


@pytest.mark.parametrize("fault", ["missing", "garbage"])
def test_samples_that_are_lost_are_no_export(run: Path, fault: str) -> None:
    path = run / "samples.parquet"
    path.unlink()
    if fault == "garbage":
        path.write_text("{}")
    loaded = load_run(run)
    for ask in (loaded.used_samples, loaded.used_contents):
        with pytest.raises(
            RunError, match="is missing" if fault == "missing" else "cannot be read"
        ) as caught:
            ask("train")
        assert str(path) in caught.value.found
        assert "export" not in str(caught.value)
        assert not caught.value.is_bad_input


def test_a_record_that_is_no_text(run: Path) -> None:
    (run / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="is not what lensmill wrote"):
        load_run(run)


@pytest.mark.parametrize("fault", ["missing", "cut", "altered", "empty"])
def test_weights_that_are_not_those_of_the_record(run: Path, fault: str) -> None:
    path = run / "weights.safetensors"
    content = bytearray(path.read_bytes())
    if fault == "missing":
        path.unlink()
    elif fault == "altered":
        content[-3] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2] if fault == "cut" else b"")
    said = "is missing" if fault == "missing" else "is not the file that run.json describes"
    said += r": it is cut off, [\d,]+ of [\d,]+ bytes" if fault == "cut" else ""
    with pytest.raises(RunError, match=said) as caught:
        load_run(run)
    assert str(path) in str(caught.value)


def _record_the_weights(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record["weights_sha256"] = sha256_of_file(run / "weights.safetensors")
    (run / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize("fault", ["a tensor missing", "another shape", "no safetensors"])
def test_weights_of_another_network(run: Path, fault: str) -> None:
    path = run / "weights.safetensors"
    tensors = load_file(path)
    if fault == "no safetensors":
        path.write_bytes(b"\x80\x04}.")
    else:
        tensors = {**tensors, "head.bias": torch.zeros(9)}
        if fault == "a tensor missing":
            del tensors["head.bias"]
        save_file(tensors, path)
    _record_the_weights(run)
    with pytest.raises(RunError, match="the weights do not fit model 'lensmill_stem_vit'"):
        load_run(run)


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with new_folder(target) as folder:
        (folder / "x").write_text("1")
        assert not target.exists()
    assert (target / "x").read_text() == "1"
    with pytest.raises(PlaceError, match="exists"), new_folder(target):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(target, replace=True) as folder:
        (folder / "x").write_text(str(2 / len(list(folder.iterdir()))))
    assert (target / "x").read_text() == "1", "a failed replacement cost the old one"
    with new_folder(target, replace=True) as folder:
        (folder / "y").write_text("3")
    assert [path.name for path in target.iterdir()] == ["y"]
    assert [path.name for path in target.parent.iterdir()] == ["b"]


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PlaceError, match="file is a file") as caught, new_folder(tmp_path / "file" / "run"):
        pass
    assert caught.value.advice == "choose another path"
    assert (tmp_path / "file").read_text() == "mine"
