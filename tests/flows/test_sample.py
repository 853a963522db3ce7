"""`lensmill sample`: one sample alone, all that is known of it, and whether a store holds the same."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot

from flows.catalogue import load_recipe
from flows.generate import Order
from flows.sample import sample
from schemas.columns import columns_of
from schemas.errors import (
    DataError,
    RecipeError,
    StoreDamagedError,
    StoreUnfinishedError,
    UnknownNameError,
    WriteError,
)
from schemas.products import CATALOGUE, PRODUCTS
from simulate.render import render
from storage import commit, layout
from storage.layout import locate
from storage.reader import open_store
from tests.galaxies import galaxies, settings

Lensmill = Callable[..., Any]
FILES = {
    "image.npy", "noise_free.npy", "convergence.npy", "deflection.npy",
    "subhalos.csv", "parameters.json", "sample.png",
}  # fmt: skip


@pytest.fixture
def damaged(sound_product_store: Order, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    root = tmp_path / "damaged.zarr"
    shutil.copytree(sound_product_store.root, root)
    return root


@pytest.mark.parametrize("index", [0, 1, 2, 59])
def test_a_folder_holds_the_sample(tmp_path: Path, small_overrides: list[str], index: int) -> None:
    folder = tmp_path / "one"
    sheet = sample("tiny", index, folder, small_overrides)
    assert {path.name for path in folder.iterdir()} == FILES
    recipe = load_recipe("tiny", [*small_overrides, f"products=[{', '.join(PRODUCTS)}]"])
    expected = render(recipe, np.array([index]))
    for name in ("image", "noise_free", "convergence", "deflection"):
        found = np.load(folder / f"{name}.npy")
        assert found.dtype == np.float32
        assert found.tobytes() == expected.arrays()[name][0].tobytes()
    assert sheet.compared is None
    assert sheet.identical
    assert (sheet.sample_id, sheet.label, sheet.subhalos) == (index, index % 3, [0, 10, 1][index % 3])
    assert (sheet.split, sheet.row) == locate(recipe, index)
    assert json.loads((folder / "parameters.json").read_text()) == json.loads(sheet.to_json())


def test_parameters_are_those_that_apply(small_overrides: list[str]) -> None:
    recipe = load_recipe("tiny", small_overrides)
    columns = columns_of(recipe)
    for index in range(3):
        told = {one.name: one for one in sample("tiny", index, None, small_overrides).parameters}
        assert list(told) == [column.name for column in columns if index in column.labels]
        values = dict(
            zip([c.name for c in columns], render(recipe, np.array([index])).params[0], strict=True)
        )
        for column in columns:
            if index in column.labels:
                one = told[column.name]
                assert (one.value, one.unit, one.description) == (
                    values[column.name], column.unit, column.description,
                )  # fmt: skip


def test_subhalos_are_a_table_with_all_digits(tmp_path: Path, small_overrides: list[str]) -> None:
    sample("tiny", 1, tmp_path / "one", small_overrides)
    with (tmp_path / "one/subhalos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.name for column in CATALOGUE]
    recipe = load_recipe("tiny", [*small_overrides, "products=[subhalos]"])
    expected = render(recipe, np.array([1])).subhalos
    assert expected is not None
    assert [float(row["theta_E"]) for row in rows] == expected["theta_E"].tolist()
    assert {row["Rs"] for row in rows} == {""}
    assert {row["profile"] for row in rows} == {"POINT_MASS"}


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_picture_shows_something(tmp_path: Path, small_overrides: list[str], index: int) -> None:
    sample("tiny", index, tmp_path / "one", small_overrides)
    pixels = np.asarray(pyplot.imread(tmp_path / "one/sample.png"))
    assert pixels.shape[0] > 500
    assert len(np.unique(pixels[..., 0])) > 50


# -- beside a store


@pytest.mark.parametrize("index", [0, 7, 44, 59])
def test_a_store_holds_the_same(sound_product_store: Order, index: int) -> None:
    sheet = sample(sound_product_store.root, index)
    assert sheet.identical
    assert sheet.compared is not None
    assert [one.name for one in sheet.compared] == ["image", "label", "sample_id", "params", *PRODUCTS]
    assert sheet.digest == sound_product_store.recipe.digest


def test_a_store_without_products_is_compared_as_far_as_it_goes(sound_store: Order, tmp_path: Path) -> None:
    sheet = sample(sound_store.root, 5, tmp_path / "five")
    assert sheet.compared is not None
    assert [one.name for one in sheet.compared] == ["image", "label", "sample_id", "params"]
    assert {path.name for path in (tmp_path / "five").iterdir()} == FILES


def test_a_store_with_detectability(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path
) -> None:
    order = order_small(tmp_path / "seen.zarr", "samples_per_class=4", "splits={train: 0.5, test: 0.5}",
                        "detectability=[test]")  # fmt: skip
    make_store(order)
    for index in range(order.recipe.sample_count):
        sheet = sample(order.root, index)
        assert sheet.identical, sheet.compared
        assert ("detectability" in [one.name for one in sheet.parameters]) == (sheet.split == "test")


def _rewrite(root: Path, recipe: Any, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """A store that is sound by its books and whose first shard of train holds something else."""
    store = open_store(root)
    span = next(layout.spans(store.plan))
    made = render(recipe, layout.sample_ids(recipe, span))
    assert made.subhalos is not None
    arrays, subhalos = made.arrays(), dict(made.subhalos)
    change(arrays, subhalos)
    commit.write_shard(root, recipe, store.plan, span, arrays, subhalos)
    receipts = [commit.valid_receipt(root, store.plan, one) for one in layout.spans(store.plan)]
    commit.seal(root, recipe, store.plan, [one for one in receipts if one])


def test_other_values_in_a_store_are_told(
    sound_product_store: Order, damaged: Path, lensmill: Lensmill
) -> None:
    def change(arrays: dict[str, Any], subhalos: dict[str, Any]) -> None:
        arrays["image"][1, 0, 3, 4] += 0.5
        arrays["deflection"][1, 1] += 1
        subhalos["center_x"] = subhalos["center_x"] + 1e-9

    _rewrite(damaged, sound_product_store.recipe, change)
    index = int(open_store(damaged).read("train", "sample_id", slice(1, 2))[0])
    sheet = sample(damaged, index)
    assert not sheet.identical
    differ = {one.name: one.difference for one in sheet.compared or () if one.difference}
    assert differ == {
        "image": "1 of 256 values differ, by at most 0.5",
        "deflection": "256 of 512 values differ, by at most 1",
        "subhalos": "center_x differ",
    }
    said = lensmill("sample", damaged, "--index", index, "--out", damaged.parent / "made")
    assert said.code == 1
    assert "error: the sample is not as it is stored" in said.err
    assert "image: 1 of 256 values differ" in said.err
    assert {path.name for path in (damaged.parent / "made").iterdir()} == FILES


# -- the command


def test_the_command_prints_parameters_with_units(lensmill: Lensmill, sound_product_store: Order) -> None:
    said = lensmill("sample", sound_product_store.root, "--index", 7)
    assert said.code == 0
    for words in ("sample 7: cdm (label 1), 10 subhalos", "row 1 of test", "theta_E", "arcsec",
                  "subhalo_mass_msun", "as stored, bit by bit: image, label"):  # fmt: skip
        assert words in said.out
    assert "vortex" not in said.out


@pytest.mark.parametrize(
    ("index", "pieces"), [(0, "no substructure"), (1, "10 subhalos"), (2, "1 line of mass")]
)
def test_the_command_calls_what_a_class_has_by_its_name(
    lensmill: Lensmill, sound_product_store: Order, index: int, pieces: str
) -> None:
    said = lensmill("sample", sound_product_store.root, "--index", index)
    assert f"(label {index}), {pieces}; tiny" in said.out


def test_pieces_are_counted_by_their_kind(small_overrides: list[str]) -> None:
    sheet = sample("tiny", 2, None, small_overrides)
    assert (sheet.subhalos, sheet.lines) == (1, 1)
    counts = {(1, 0): "1 subhalo", (2, 2): "2 lines of mass", (1200, 1): "1,199 subhalos and 1 line of mass"}
    for (subhalos, lines), pieces in counts.items():
        assert sheet.model_copy(update={"subhalos": subhalos, "lines": lines}).pieces == pieces


def test_the_command_prints_json(lensmill: Lensmill, tmp_path: Path) -> None:
    said = lensmill("sample", "tiny", "--index", 2, "--json", "--out", tmp_path / "two", "--set", "seed=5")
    assert said.code == 0
    found = json.loads(said.out)
    assert (found["sample_id"], found["class_name"], found["compared"]) == (2, "vortex", None)
    assert found == json.loads((tmp_path / "two/parameters.json").read_text())


# -- bad input


@pytest.mark.parametrize("index", [-1, 4500, 10**15])
def test_an_index_out_of_range(index: int, lensmill: Lensmill, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no sample {index}"):
        sample("tiny", index, tmp_path / "made")
    said = lensmill("sample", "tiny", f"--index={index}")
    assert said.code == 2
    assert "0 to 4499: 'tiny' has 4,500 samples" in said.err
    assert not (tmp_path / "made").exists()


def test_an_unknown_recipe(lensmill: Lensmill) -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'tinny'"):
        sample("tinny", 0)
    said = lensmill("sample", "tinny", "--index", 0)
    assert said.code == 2
    assert "did you mean 'tiny'?" in said.err


def test_a_path_where_nothing_is() -> None:
    with pytest.raises(RecipeError, match=r"gone\.zarr"):
        sample("nowhere/gone.zarr", 0)


def test_a_folder_that_is_not_empty(tmp_path: Path, lensmill: Lensmill) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(WriteError, match="is not empty"):
        sample("tiny", 0, tmp_path)
    with pytest.raises(WriteError, match="is a file"):
        sample("tiny", 0, tmp_path / "note.txt")
    assert lensmill("sample", "tiny", "--index", 0, "--out", tmp_path).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    (tmp_path / "empty").mkdir()
    sample("tiny", 0, tmp_path / "empty")


def test_a_store_cannot_be_overridden(sound_store: Order) -> None:
    with pytest.raises(DataError, match="--set seed=3 cannot change"):
        sample(sound_store.root, 0, None, ["seed=3"])


def test_a_damaged_store(damaged: Path) -> None:
    path = damaged / "train/image/c/0/0/0/0"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="checksum"):
        sample(damaged, 0)
    path.unlink()
    with pytest.raises(StoreDamagedError, match="missing"):
        sample(damaged, 0)
    commit.unseal(damaged)
    with pytest.raises(StoreUnfinishedError):
        sample(damaged, 0)


def test_a_normalised_image_is_seen_in_the_picture(tmp_path: Path) -> None:
    sample("model_iv", 1, tmp_path / "one", settings(galaxies()))
    assert np.load(tmp_path / "one/image.npy").max() == 1
    pixels = np.asarray(pyplot.imread(tmp_path / "one/sample.png"))[..., 0]
    height, width = pixels.shape
    first = pixels[int(0.15 * height) : int(0.4 * height), int(0.15 * width) : int(0.32 * width)]
    assert first.max() > 0.9
    assert (first > 0.3).mean() > 0.02
