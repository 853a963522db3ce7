"""`lensmill import`, and what the other commands say of a store that it made."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows.generate import Order
from storage.reader import open_store
from tests.sources import folders, images

Lensmill = Callable[..., Any]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of classes. Not to be changed."""
    return folders(tmp_path_factory.mktemp("source") / "Model_X")


def test_a_dry_run_tells_and_writes_nothing(lensmill: Lensmill, source: Path, tmp_path: Path) -> None:
    said = lensmill("import", source, "--out", tmp_path / "o.zarr", "--dry-run")
    assert said.code == 0
    assert "model_x: 50 images of 1 x 12 x 12, npy_folders, 50 files" in said.out
    assert "50 float64, stored as float32" in said.out
    assert "axion_mass_ev [eV]" in said.out
    assert "nothing was written" in said.out
    assert not (tmp_path / "o.zarr").exists()


def test_an_import_is_a_store_for_every_command(lensmill: Lensmill, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.zarr"
    options = (
        "--pixel-scale",
        "0.05",
        "--class-order",
        "no_sub,cdm,axion",
        "--shard-size",
        "16",
        "--seed",
        "3",
    )
    assert "5 of 5 shards written" in lensmill("import", source, "--out", out, *options).out
    assert "nothing to do" in lensmill("import", source, "--out", out, *options).out
    found = json.loads(lensmill("info", out, "--json").out)
    assert (found["family"], found["seed"], found["pixel_scale_arcsec"]) == ("imported", 3, 0.05)
    assert [one["name"] for one in found["classes"]] == ["no_sub", "cdm", "axion"]
    assert "is sound: 50 rows" in lensmill("verify", out).out
    assert lensmill("show", out, "--out", tmp_path / "g.png").code == 0
    # images of noise alone differ in nothing; what matters is that it runs and says what it cannot know
    said = lensmill("audit", out, "--out", tmp_path / "audit")
    assert "nobody here knows how they were made" in said.out
    assert "total mass" not in said.out + said.err


def test_what_needs_a_recipe_says_that_there_is_none(
    lensmill: Lensmill, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.zarr"
    lensmill("import", source, "--out", out)
    said = lensmill("sample", out, "--index", "12")
    assert said.code == 2
    assert "sample 12 has no recipe: it was imported from cdm/002.npy" in said.err
    assert "Traceback" not in said.err
    said = lensmill("simulate", "tiny", "--out", out)
    assert said.code == 2
    assert "holds recipe 'model_x'" in said.err
    assert open_store(out).manifest


def test_faults_are_one_error_with_all_names(lensmill: Lensmill, tmp_path: Path) -> None:
    source = folders(tmp_path / "s")
    np.save(source / "cdm/000.npy", np.full((12, 12), np.nan))
    (source / "no_sub/001.npy").write_bytes(b"")
    said = lensmill("import", source, "--out", tmp_path / "o.zarr")
    assert said.code == 2
    assert "cannot be imported: 2 faults" in said.err
    assert "cdm/000.npy: 144 pixels are NaN or infinite" in said.err
    assert "no_sub/001.npy: " in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "o.zarr").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--splits", "0.5,0.1"), "shares sum to 0.6"),
        (("--splits", "0.5,0.1,0.2,0.2"), "train"),
        (("--splits", "a,b,c"), "is no share"),
        (("--seed", "-1"), "--seed: input should be greater than or equal to 0 (found -1)"),
        (("--shard-size", "3"), "error: --shard-size is 3, but must be a power of two"),
        (("--class-order", "a,b"), "each class of the source once"),
        (("--pixel-scale", "0"), "--pixel-scale: input should be greater than 0"),
        (("--columns", "theta_E"), "no such column"),
    ],
)
def test_bad_options_are_refused(
    lensmill: Lensmill, source: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    said = lensmill("import", source, "--out", tmp_path / "o.zarr", *options)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err


def test_a_bad_place_is_told_before_the_source_is_looked_at(lensmill: Lensmill, tmp_path: Path) -> None:
    source = folders(tmp_path / "s")
    (tmp_path / "file").write_text("mine")
    (source / "cdm/000.npy").write_bytes(b"")
    for out, says in (("file", "file is a file"), ("file/o.zarr", "file is a file"), ("", "is not empty")):
        said = lensmill("import", source, "--out", tmp_path / out)
        assert said.code == 2
        assert says in said.err
        assert "to do:    choose another --out" in said.err
        assert "000.npy" not in said.err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_store_is_not_imported(lensmill: Lensmill, sound_store: Order, tmp_path: Path) -> None:
    said = lensmill("import", sound_store.root, "--out", tmp_path / "o.zarr")
    assert said.code == 2
    assert "is a lensmill store already" in said.err


def test_labels_that_do_not_fit_are_no_store(lensmill: Lensmill, tmp_path: Path) -> None:
    np.savez(tmp_path / "b_len.npz", a=images(60), labels=np.arange(50) % 2)
    said = lensmill("import", tmp_path / "b_len.npz", "--out", tmp_path / "o.zarr")
    assert said.code == 2
    assert "labels has 50 entries, a has 60 images" in said.err
    assert "expected:" in said.err
    assert "to do:" in said.err
    assert not (tmp_path / "o.zarr").exists()


def test_what_is_not_used_and_the_name_of_a_file_are_told(lensmill: Lensmill, tmp_path: Path) -> None:
    np.savez(tmp_path / "Cube-1.npz", a=images(20), labels=np.arange(20) % 2, notes=np.arange(4))
    said = lensmill("import", tmp_path / "Cube-1.npz", "--out", tmp_path / "o.zarr")
    assert said.code == 0
    assert "cube_1: 20 images of 1 x 12 x 12, npz, 1 file\n" in said.out
    assert "warning: Cube-1.npz: 1 array not used: notes (4,)" in said.err
    assert open_store(tmp_path / "o.zarr").origin.name == "cube_1"


@pytest.mark.parametrize("order", ["No Sub,cdm,axion", "cdm,cdm,axion"])
def test_orders_of_no_classes_are_refused(
    lensmill: Lensmill, source: Path, tmp_path: Path, order: str
) -> None:
    said = lensmill("import", source, "--out", tmp_path / "o.zarr", "--class-order", order)
    assert said.code == 2
    assert "names no class" in said.err or "a class twice" in said.err
    assert "Value error" not in said.err


def test_a_full_disk_has_its_own_advice(
    lensmill: Lensmill, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lensmill("import", source, "--out", tmp_path / "o.zarr")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=12_345))
    commands = (
        ("import", source, "--out", tmp_path / "p.zarr"),
        ("convert", tmp_path / "o.zarr", "--to", "hdf5", "--out", tmp_path / "p.zarr"),
    )
    for command in commands:
        said = lensmill(*command)
        assert said.code == 1
        assert "has 12.35 kB free" in said.err
        assert re.search(r"expected: [\d.]+ [kM]B for the shards", said.err)
        assert "to do:    free space or choose another --out" in said.err
        assert "samples_per_class" not in said.err
        assert not (tmp_path / "p.zarr").exists()
    said = lensmill("simulate", "tiny", "--out", tmp_path / "p.zarr")
    assert "or lower samples_per_class" in said.err


def test_keys_are_named(lensmill: Lensmill, tmp_path: Path) -> None:
    stack = images(20)
    np.savez(tmp_path / "s.npz", a=stack, b=stack + 1, which=np.arange(20) % 2, m=np.ones(20), n=np.zeros(20))
    said = lensmill("import", tmp_path / "s.npz", "--out", tmp_path / "o.zarr")
    assert said.code == 2
    assert "name it with --images" in said.err
    keys = ("--images", "b", "--labels", "which", "--columns", "n", "--columns", "m")
    assert lensmill("import", tmp_path / "s.npz", "--out", tmp_path / "o.zarr", *keys).code == 0
    columns = [one.name for one in open_store(tmp_path / "o.zarr").plan.columns]
    assert columns == ["n", "m", "copies"]


def test_an_imported_store_has_a_page_and_can_be_converted(
    lensmill: Lensmill, source: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "o.zarr", tmp_path / "o.h5store"
    lensmill("import", source, "--out", out)
    assert lensmill("show", out, "--html", "--out", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    for words in ("imported from", source.name, "pixels of unknown size", "axion_mass_ev"):
        assert words in page
    assert lensmill("convert", out, "--out", other, "--to", "hdf5").code == 0
    assert "is sound: 50 rows" in lensmill("verify", other).out
    # the list of files goes with it
    assert "imported from cdm/002.npy" in lensmill("sample", other, "--index", "12").err


def test_repair_of_an_imported_store_mends_books_and_refuses_the_rest(
    lensmill: Lensmill, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.zarr"
    lensmill("import", source, "--out", out)
    assert "nothing to do" in lensmill("repair", out).out
    (out / "lensmill/receipts/train/000000.json").unlink()
    (out / "lensmill/schema.json").unlink()
    assert lensmill("repair", out).code == 0
    assert "is sound" in lensmill("verify", out).out
    shard = out / "train/image/c/0/0/0/0"
    for path in (shard, out / "lensmill/sources.parquet"):
        content = path.read_bytes()
        path.write_bytes(content[:40] + bytes((content[40] ^ 1,)) + content[41:])
        said = lensmill("repair", out, "--accept-new-bytes")
        assert said.code == 2
        assert "imported" in said.err
        assert "import the originals again" in said.err
        # the same import replaces what is damaged
        assert lensmill("import", source, "--out", out).code == 0
        assert path.read_bytes() == content
        assert "is sound" in lensmill("verify", out).out
