"""`lensmill convert`, and what other commands say and do about stores in other formats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.generate import Order
from flows.sample import sample
from storage.audit import gather
from storage.pictures.gallery import show
from storage.reader import open_store
from train.data import load_samples

Lensmill = Callable[..., Any]
FormatStore = Callable[[str, str], Order]
FORMATS = [("hdf5", "float32"), ("hdf5", "quantised"), ("zarr", "quantised"), ("zarr", "archive")]


def test_a_conversion_is_told_and_repeated_does_nothing(
    lensmill: Lensmill, sound_store: Order, tmp_path: Path
) -> None:
    out = tmp_path / "new.h5store"
    said = lensmill("convert", sound_store.root, "--out", out, "--to", "hdf5", "--profile", "quantised")
    assert said.code == 0
    assert "9 of 9 shards written and compared" in said.out
    assert f"{out}: 60 images of tiny, hdf5 quantised" in said.out
    assert "image: off by at most" in said.out
    again = lensmill("convert", sound_store.root, "--out", out, "--to", "hdf5", "--profile", "quantised")
    assert again.code == 0
    assert "nothing to write: all 9 shards are there" in again.out


def test_a_lossless_conversion_says_so(lensmill: Lensmill, sound_store: Order, tmp_path: Path) -> None:
    options = ("--shard-size", "32", "--json")
    found = json.loads(lensmill("convert", sound_store.root, "--out", tmp_path / "new", *options).out)
    assert (found["made"], found["shards"], found["errors"]) == (4, 4, [])
    assert (found["backend"], found["profile"]) == ("zarr", "float32")
    said = lensmill("convert", sound_store.root, "--out", tmp_path / "new", "--shard-size", "32")
    assert "every bit is as in the source" in said.out


def test_info_tells_of_the_conversion_and_the_loss(
    lensmill: Lensmill, sound_store: Order, tmp_path: Path
) -> None:
    out = tmp_path / "new"
    lensmill("convert", sound_store.root, "--out", out, "--profile", "archive")
    said = lensmill("info", out)
    assert "archive" in said.out
    assert "from zarr float32" in said.out
    assert "values went through quantisation" in said.out
    assert "% of the noise" in said.out
    assert lensmill("verify", out).code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "hdf"), "did you mean 'hdf5'?"),
        (("--profile", "quantized"), "did you mean 'quantised'?"),
        (("--shard-size", "7"), "power of two"),
        ((), "already"),
    ],
)
def test_bad_options_are_one_message(
    lensmill: Lensmill, sound_store: Order, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    said = lensmill("convert", sound_store.root, "--out", tmp_path / "new", *options)
    assert said.code != 0
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert words in said.err
    assert not (tmp_path / "new").exists()


def test_a_source_that_is_none_is_one_message(lensmill: Lensmill, tmp_path: Path) -> None:
    said = lensmill("convert", tmp_path / "none", "--out", tmp_path / "new", "--to", "hdf5")
    assert said.code != 0
    assert "there is no lensmill store" in said.err


@pytest.mark.parametrize(("backend", "profile"), FORMATS)
def test_a_rebuilt_sample_is_as_stored(
    lensmill: Lensmill, format_store: FormatStore, backend: str, profile: str
) -> None:
    order = format_store(backend, profile)
    found = sample(order.root, 17)
    assert found.identical
    assert found.compared is not None
    bounded = {one.name for one in found.compared if one.bound is not None}
    maps = {"image", "noise_free", "convergence", "deflection"}
    assert bounded == (set() if profile == "float32" else maps)
    assert {one.name for one in found.compared} == maps | {"label", "sample_id", "params", "subhalos"}
    said = lensmill("sample", order.root, "--index", "17")
    assert said.code == 0
    assert ("it was quantised: image" in said.out) == (profile != "float32")


def test_a_sample_beyond_the_bound_differs(
    format_store: FormatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = format_store("zarr", "quantised")
    real = open_store(order.root).read
    bound = open_store(order.root).receipts["train", 0].errors[0].bound

    def shifted(self: Any, split: str, array: str, rows: slice) -> Any:
        values = real(split, array, rows)
        return values + np.float32(2.5 * bound) if array == "image" else values

    monkeypatch.setattr(type(open_store(order.root)), "read", shifted)
    found = sample(order.root, 0)
    assert not found.identical
    assert [one.name for one in found.compared or () if one.difference] == ["image"]


@pytest.mark.parametrize(("backend", "profile"), FORMATS)
def test_gallery_audit_and_training_read_it(
    format_store: FormatStore, tmp_path: Path, backend: str, profile: str
) -> None:
    root = format_store(backend, profile).root
    store, plain = open_store(root), open_store(format_store("zarr", "float32").root)
    assert show(root, tmp_path / "gallery.png").stat().st_size > 10_000
    mine, theirs = gather(store), gather(plain)
    np.testing.assert_allclose(mine.statistics["flux"], theirs.statistics["flux"], rtol=1e-2)
    samples, expected = load_samples(store, "train", (0, 1, 2)), load_samples(plain, "train", (0, 1, 2))
    assert samples.take().dtype == np.float32
    np.testing.assert_allclose(samples.take(), expected.take(), atol=2e-3)
    assert np.array_equal(samples.params, expected.params, equal_nan=True)
