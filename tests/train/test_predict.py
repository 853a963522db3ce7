"""Predictions: from arrays and stores, to tables, the same as an evaluation's."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch

from flows.generate import Order
from schemas.errors import (
    DataError,
    LensmillError,
    PlaceError,
    RunError,
    StoreUnfinishedError,
    UnknownNameError,
    WriteError,
)
from storage import commit
from storage.reader import Store
from tests.sources import save_objects, with_mass
from train import predict as prediction
from train.evaluate import evaluate, report_folder
from train.predict import predict
from train.records.run_folder import load_run
from train.stretch import Stretch

IMAGE = np.random.default_rng(1).normal(size=(16, 16)).astype(np.float32)


def _saved(folder: Path, array: Any, name: str = "images.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


@pytest.mark.parametrize("shape", [(16, 16), (1, 16, 16), (3, 16, 16), (3, 1, 16, 16)], ids=str)
def test_arrays_of_all_shapes(classifier: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.broadcast_to(IMAGE, shape)
    table = predict(classifier, [_saved(tmp_path, images)])
    assert table.num_rows == (3 if 3 in shape else 1)
    assert table.column_names == [
        "file",
        "image",
        "probability_no_sub",
        "probability_cdm",
        "probability_vortex",
        "predicted",
    ]
    assert table["image"].to_pylist() == list(range(table.num_rows))
    assert set(table["file"].to_pylist()) == {str(tmp_path / "images.npy")}
    # the rows of a matrix product may differ in the last place of single precision, not by more
    alone = predict(classifier, [_saved(tmp_path, IMAGE, "alone.npy")])
    assert set(table["predicted"].to_pylist()) == set(alone["predicted"].to_pylist())
    for name in ("probability_no_sub", "probability_cdm", "probability_vortex"):
        np.testing.assert_allclose(table[name].to_numpy(), alone[name].to_numpy()[0], rtol=2**-23, atol=0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int16", "uint8", ">f4"])
def test_numbers_of_all_kinds(classifier: Path, tmp_path: Path, dtype: str) -> None:
    whole = np.abs(np.round(10 * IMAGE)).astype(np.float32)
    plain = predict(classifier, [_saved(tmp_path, whole, "plain.npy")])
    other = predict(classifier, [_saved(tmp_path, whole.astype(dtype), "other.npy")])
    assert plain.drop_columns(["file"]).equals(other.drop_columns(["file"]))


def test_an_array_in_columns_first_order(classifier: Path, tmp_path: Path) -> None:
    one = predict(classifier, [_saved(tmp_path, IMAGE, "c.npy")])
    other = predict(classifier, [_saved(tmp_path, np.asfortranarray(IMAGE), "f.npy")])
    assert one.drop_columns(["file"]).equals(other.drop_columns(["file"]))


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_predictions_are_those_of_the_evaluation(
    kind: str, request: pytest.FixtureRequest, sound_store: Order, sound: Store, tmp_path: Path
) -> None:
    shutil.copytree(request.getfixturevalue(kind), tmp_path / "run")
    report = evaluate(tmp_path / "run", sound_store.root)
    measured = pq.read_table(report_folder(tmp_path / "run", report) / "predictions.parquet")
    images = _saved(tmp_path, sound.read("test", "image"))
    table = predict(tmp_path / "run", [sound_store.root, images])
    for rows in (table.slice(0, 12), table.slice(12, 12)):
        for name in set(rows.column_names) - {"file", "image"}:
            assert rows[name].to_pylist() == measured[name].to_pylist()
    assert set(table.column_names) - {"file", "image"} == {
        name for name in measured.column_names if name.startswith(("pred", "prob"))
    }


def test_the_stretch_of_the_run_is_applied(classifier: Path, sound: Store, tmp_path: Path) -> None:
    run = load_run(classifier)
    images = sound.read("test", "image")
    with torch.no_grad():
        stretched = Stretch(run.record.stretch)(torch.from_numpy(images))
        expected = torch.softmax(run.network[1](stretched).double(), dim=1)
    table = predict(classifier, [_saved(tmp_path, images)])
    assert np.allclose(table["probability_vortex"].to_pylist(), expected[:, 2], atol=1e-6)


def test_the_batch_does_not_matter(
    classifier: Path, sound: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _saved(tmp_path, sound.read("train", "image"))
    whole = predict(classifier, [path])
    monkeypatch.setattr("train.predict.BATCH", 5)
    parts = predict(classifier, [path])
    for name in ("probability_no_sub", "probability_cdm"):
        assert np.allclose(whole[name].to_numpy(), parts[name].to_numpy(), atol=1e-6)


def test_a_split_of_a_store(classifier: Path, sound_store: Order) -> None:
    assert predict(classifier, [sound_store.root], split="val").num_rows == 6
    with pytest.raises(UnknownNameError, match="unknown split 'all'"):
        predict(classifier, [sound_store.root], split="all")


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_are_written(
    kind: str, request: pytest.FixtureRequest, sound_store: Order, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"table{suffix}"
    table = predict(request.getfixturevalue(kind), [sound_store.root], out)
    read = pa_csv.read_csv(out) if suffix == ".csv" else pq.read_table(out)
    assert read.column_names == table.column_names
    for name in table.column_names:
        if pa.types.is_floating(table[name].type):
            assert np.allclose(read[name].to_numpy(), table[name].to_numpy(), rtol=1e-12)
        else:
            assert read[name].to_pylist() == table[name].to_pylist()


def _pickled(path: Path) -> None:
    np.save(path, np.array([{"image": IMAGE}], dtype=object), allow_pickle=True)


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(content), None)[1]


def _array(array: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, array)


def _npz(path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, image=IMAGE)
    path.write_bytes(buffer.getvalue())


BAD_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another size": (_array(np.zeros((2, 17, 16))), "images of 1 x 17 x 16"),
    "more channels": (_array(np.zeros((2, 3, 16, 16))), "images of 3 x 16 x 16"),
    "one number": (_array(np.float64(3)), "of shape ()"),
    "a row": (_array(np.zeros(16)), "of shape (16,)"),
    "five axes": (_array(np.zeros((1, 1, 1, 16, 16))), "of shape (1, 1, 1, 16, 16)"),
    "words": (_array(np.full((16, 16), "x")), "holds <U1"),
    "complex numbers": (_array(np.zeros((16, 16), complex)), "holds complex128"),
    "yes and no": (_array(np.zeros((16, 16), bool)), "holds bool"),
    "NaN": (_array(np.stack([IMAGE, np.full((16, 16), np.nan)])), "the first is image 1"),
    "infinity": (_array(np.where(IMAGE > 2, np.inf, IMAGE)), "1 image holds NaN or infinity"),
    "a pickle": (_pickled, "it holds objects that are not an image and its mass"),
    "a bare pickle": (_bytes(b"\x80\x04}."), "cannot read {}: it is no .npy file (it is a pickle by"),
    "text": (_bytes(b"not an array"), "cannot read {}: it is no .npy file (it begins with 'not an array')"),
    "a cut file": (_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"), "cannot read {}: it is cut off"),
    "a folder": (Path.mkdir, "cannot read"),
    "nothing there": (lambda _: None, "cannot read"),
}
BROKEN = {
    "an empty file": (_bytes(b""), "it is empty"),
    "an archive": (_npz, "bad.npy: it is no .npy file"),
    "no images": (_array(np.zeros((0, 16, 16))), "bad.npy"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_files_that_hold_no_images_for_this_model(classifier: Path, tmp_path: Path, fault: str) -> None:
    write, says = BAD_FILES[fault]
    path, good, out = tmp_path / "bad.npy", _saved(tmp_path, IMAGE), tmp_path / "out.csv"
    write(path)
    with pytest.raises(DataError) as caught:
        predict(classifier, [good, path], out)
    assert says.format(path) in str(caught.value)
    assert str(path) in str(caught.value)
    assert "allow_pickle" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("fault", BROKEN)
def test_files_that_numpy_reads_in_its_own_way(classifier: Path, tmp_path: Path, fault: str) -> None:
    write, says = BROKEN[fault]
    write(tmp_path / "bad.npy")
    with pytest.raises(DataError, match=says):
        predict(classifier, [tmp_path / "bad.npy"])


@pytest.mark.parametrize("name", ["images.png", "images", "none.zarr", "images.npy.gz"])
def test_other_files_are_refused(classifier: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "images.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"a \.npy file or a lensmill store"):
        predict(classifier, [tmp_path / name])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_image_with_its_mass_is_an_image(classifier: Path, tmp_path: Path, protocol: int) -> None:
    """DeepLense keeps vortices so."""
    plain = predict(classifier, [_saved(tmp_path, IMAGE)])
    for image in (IMAGE, IMAGE[None]):
        save_objects(tmp_path / "both.npy", with_mass(image, 1e-23), protocol)
        found = predict(classifier, [tmp_path / "both.npy"])
        assert found.num_rows == 1
        assert found.drop_columns(["file"]).equals(plain.drop_columns(["file"]))
    # three axes are channels of one image, and not images
    save_objects(tmp_path / "both.npy", with_mass(np.stack([IMAGE] * 3), 1e-23), protocol)
    with pytest.raises(DataError, match="images of 3 x 16 x 16"):
        predict(classifier, [tmp_path / "both.npy"])


def test_what_cannot_be_read_is_told_with_what_to_do(classifier: Path, tmp_path: Path) -> None:
    for name in ("bad.npy", "images.fits"):
        (tmp_path / name).write_bytes(b"hello")
        with pytest.raises(DataError) as caught:
            predict(classifier, [tmp_path / name])
        assert caught.value.expected
        assert caught.value.advice


def test_a_pickle_is_never_run(classifier: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "hacked",))

    np.save(tmp_path / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="plain numbers"):
        predict(classifier, [tmp_path / "evil.npy"])
    assert not (tmp_path / "hacked").exists()


def test_tables_that_cannot_be_written(classifier: Path, tmp_path: Path) -> None:
    good = _saved(tmp_path, IMAGE)
    for name in ("out.txt", "out", "out.csv.gz"):
        with pytest.raises(WriteError, match=r"cannot write") as caught:
            predict(classifier, [good], tmp_path / name)
        assert ".parquet or .csv" in caught.value.expected
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_a_place_that_cannot_be_written_is_refused_before_the_network_runs(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = _saved(tmp_path, IMAGE)
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr(prediction, "pass_through", None)
    for place in (
        tmp_path / "none" / "out.csv",
        good / "out.csv",
        tmp_path / "folder.csv",
        Path("/proc/x.csv"),
    ):
        with pytest.raises(PlaceError, match=f"cannot write {place}") as caught:
            predict(classifier, [good], place)
        assert caught.value.expected
        assert caught.value.advice
        assert "Detail" not in caught.value.found
        assert "partial" not in caught.value.found
    assert {path.name for path in tmp_path.iterdir()} == {"images.npy", "folder.csv"}


def test_a_run_that_is_none_and_a_store_that_is_unfinished(
    classifier: Path, store: Order, tmp_path: Path
) -> None:
    good = _saved(tmp_path, IMAGE)
    with pytest.raises(RunError, match="is no finished run"):
        predict(tmp_path, [good])
    commit.unseal(store.root)
    with pytest.raises(StoreUnfinishedError):
        predict(classifier, [store.root])
    with pytest.raises(LensmillError):
        predict(classifier, [good, store.root], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
