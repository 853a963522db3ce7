"""Recipes that show galaxies from a file: what the file means to a data set, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import flows.galaxies
from flows import generate, orders, regenerate
from flows.catalogue import load_recipe, shipped
from flows.galaxies import galaxies_of
from flows.generate import Order
from flows.regenerate import regenerate_flow
from flows.shards import make_shards, order_of
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError, StoreConflictError
from schemas.galaxy_image import GalaxyImage
from simulate.render import render
from storage import commit, layout
from storage.reader import open_store
from storage.verify import verify
from tests.flows.messages import one_message
from tests.galaxies import galaxies, settings, write_galaxies

Lensmill = Callable[..., Any]
BAD_INPUT = 2
SMALL = [
    "instrument.num_pix=16",
    # as long as the field, so that nothing is said of them
    "classes.vortex.substructure.half_length_at_1e22_arcsec=0.008",
    "samples_per_class=8",
    "splits={train: 1/2, test: 1/2}",
    "storage.shard_images=4",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound file of its own."""
    return Path(shutil.copy(galaxies(), tmp_path / "mine.h5"))


def source_of(recipe: DatasetRecipe) -> GalaxyImage:
    assert isinstance(recipe.source, GalaxyImage)
    return recipe.source


def test_a_recipe_without_its_file_says_how_to_get_one(lensmill: Lensmill, tmp_path: Path) -> None:
    message = one_message(lensmill("simulate", "model_iv", "--out", tmp_path / "out.zarr"), BAD_INPUT)
    for words in ("no file is given", "`images` (N, y, x, 3)", "henrysky/Galaxy10", "--set source.file=PATH"):
        assert words in message
    assert not any(tmp_path.iterdir())


def test_the_identity_is_the_files_content_not_its_path(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(path, tmp_path / "elsewhere" / "other.h5")
    here, there = (load_recipe("model_iv", settings(one)) for one in (path, Path(copy)))
    assert here.digest == there.digest
    assert str(path) not in here.physics_json
    assert source_of(here).sha256 in here.physics_json  # type: ignore[operator]
    with h5py.File(path, "r+") as file:
        file["images"][0, 0, 0, 0] += 1
    assert load_recipe("model_iv", settings(path)).digest != here.digest


def test_the_identity_is_which_galaxies_not_how_they_were_chosen(path: Path) -> None:
    by_kind = load_recipe("model_iv", settings(path))
    assert source_of(by_kind).galaxies == (0, 1, 2, 3, 5, 6, 7)
    by_place = load_recipe("model_iv", [*settings(path), "source.choose={positions: [0, 1, 2, 3, 5, 6, 7]}"])
    assert by_place.digest == by_kind.digest
    some = load_recipe("model_iv", [*settings(path), "source.choose.positions=[1, 4]"])
    assert source_of(some).galaxies == (1, 5)
    all_of_it = load_recipe("model_iv", [*settings(path), "source.choose=null"])
    assert source_of(all_of_it).galaxies == tuple(range(8))
    assert len({by_kind.digest, some.digest, all_of_it.digest}) == 3


def test_a_path_counts_from_the_recipe_or_from_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        shipped()["model_iv"]
        .read_text()
        .replace("  kind: galaxy_image", "  kind: galaxy_image\n  file: mine.h5")
    )
    recipe = path.parent / "recipes" / "mine.yaml"
    recipe.parent.mkdir()
    recipe.write_text(text)
    monkeypatch.chdir(path.parent)
    with pytest.raises(RecipeError, match=r"recipes/mine\.h5 does not exist"):
        load_recipe(str(recipe), ["source.choose.positions=null"])
    found = load_recipe(str(recipe), ["source.choose.positions=null", "source.file=mine.h5"])
    assert source_of(found).file == str(path)
    shutil.move(path, recipe.parent)
    again = load_recipe(str(recipe), ["source.choose.positions=null"])
    assert again.digest == found.digest


@pytest.fixture
def order(path: Path, tmp_path: Path) -> Order:
    """A store that is to be made."""
    return orders.prepare("model_iv", tmp_path / "out.zarr", None, [*settings(path), *SMALL])


def test_a_store_is_made_and_tells_its_galaxies(order: Order, make_store: Callable[[Order], None]) -> None:
    make_store(order)
    store = open_store(order.root)
    assert verify(order.root).sound
    assert store.plan.array("image").tail == (3, 16, 16)
    assert set(store.column("train", "galaxy_index")) <= {0, 1, 2, 3, 5, 6, 7}
    assert source_of(store.recipe) == source_of(order.recipe)
    ids = store.read("test", "sample_id")
    again = render(store.recipe, ids, galaxies_of(store.recipe)).image
    assert again.tobytes() == store.read("test", "image").tobytes()


def test_a_stored_recipe_is_a_recipe(order: Order, tmp_path: Path) -> None:
    (tmp_path / "stored.yaml").write_text(order.recipe.to_json())
    assert load_recipe(str(tmp_path / "stored.yaml")) == order.recipe
    moved = shutil.move(source_of(order.recipe).file, tmp_path / "moved.h5")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="does not exist"):
        load_recipe(str(tmp_path / "stored.yaml"))
    again = load_recipe(str(tmp_path / "stored.yaml"), [f"source.file={moved}"])
    assert again.digest == order.recipe.digest
    other = write_galaxies(tmp_path / "other.h5", count=8, side=64)
    with pytest.raises(RecipeError, match="another than before"):
        load_recipe(str(tmp_path / "stored.yaml"), [f"source.file={other}"])


def test_a_run_goes_on_from_another_place_of_the_file(
    order: Order, path: Path, tmp_path: Path, simulate_here: Any
) -> None:
    moved = tmp_path / "moved.h5"
    with commit.writing(order.root):
        commit.begin(order.root, order.recipe, order.plan)
        spans = list(layout.spans(order.plan))
        make_shards(order.ticket, spans[:2])
        shutil.move(path, moved)
        later = orders.prepare("model_iv", order.root, None, [*settings(moved), *SMALL])
        assert later.ticket != order.ticket
        assert source_of(order_of(later.ticket).recipe).file == str(moved)
        make_shards(later.ticket, spans[2:4])
    done = generate.simulate_flow.fn(
        "model_iv", str(order.root), None, None, [*settings(moved), *SMALL], True
    )
    assert (done.made, done.shards) == (len(spans) - 4, len(spans))
    assert verify(order.root).sound
    assert source_of(open_store(order.root).recipe).file == str(moved)


def test_a_run_does_not_go_on_with_another_file(order: Order, path: Path) -> None:
    commit.begin(order.root, order.recipe, order.plan)
    ticket = order.ticket
    # a worker of its own opens the file when it renders
    flows.galaxies._reader.cache_clear()
    with h5py.File(path, "r+") as file:
        file["images"][0, 0, 0, 0] += 1
    with pytest.raises(StoreConflictError, match="digest"):
        orders.prepare("model_iv", order.root, None, [*settings(path), *SMALL])
    with pytest.raises(RecipeError, match="another than before"):
        make_shards(ticket, [next(layout.spans(order.plan))])


def test_versions_are_made_of_the_same_galaxies(
    path: Path, tmp_path: Path, simulate_here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regenerate, "simulate_flow", generate.simulate_flow.fn)
    made = [
        regenerate_flow.fn("model_iv", str(tmp_path / "versions"), None, [*settings(path), *SMALL])
        for _ in range(2)
    ]
    recipes = [open_store(Path(one.store)).recipe for one in made]
    assert recipes[0].seed != recipes[1].seed
    assert source_of(recipes[0]) == source_of(recipes[1])


def test_it_is_simulated_by_real_workers(lensmill: Lensmill, path: Path, tmp_path: Path) -> None:
    sets = [word for one in [*settings(path), *SMALL] for word in ("--set", one)]
    said = lensmill(
        "simulate", "model_iv", "--out", tmp_path / "out.zarr", "--workers", "2", "--quiet", *sets
    )
    assert said.code == 0, said.err
    store = open_store(tmp_path / "out.zarr")
    ids = store.read("train", "sample_id")
    expected = render(store.recipe, ids, galaxies_of(store.recipe)).image
    assert store.read("train", "image").tobytes() == expected.tobytes()
    alone = lensmill("sample", tmp_path / "out.zarr", "--index", str(ids[0]), "--out", tmp_path / "alone")
    assert alone.code == 0, alone.err
    assert "as stored, bit by bit" in alone.out


def test_more_galaxies_than_a_recipe_can_name_are_to_be_chosen_from(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.ones((50_001, 2, 2, 3), np.uint8)
    with pytest.raises(RecipeError, match="has 50,001 such galaxies, more than the 50,000"):
        load_recipe("model_iv", [f"source.file={path}", "source.choose=null"])
    found = load_recipe("model_iv", [f"source.file={path}", "source.choose={positions: [50000]}"])
    assert source_of(found).galaxies == (50_000,)


def _replaced(name: str, values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            if values is not None:
                file[name] = values

    return change


DARK = np.full((8, 64, 64, 3), 9, np.uint8)
BAD_FILES: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "no images": (_replaced("images", None), [], ["has no data set `images`"]),
    "wrong dimensions": (_replaced("images", DARK[..., 0]), [], ["shape (8, 64, 64)"]),
    "wrong numbers": (_replaced("images", DARK.astype(float)), [], ["`images` of float64"]),
    "empty": (_replaced("images", DARK[:0]), [], ["has no galaxy"]),
    "not HDF5": (lambda path: path.write_text("hello") and None, [], ["cannot be read as HDF5"]),
    "not there": (lambda path: path.unlink(), [], ["does not exist"]),
    "no classes": (_replaced("ans", None), [], ["has no `ans`"]),
    "no redshifts": (_replaced("redshift", None), [], ["has no `redshift`"]),
    "dark": (_replaced("images", DARK), [], ["galaxy 0 has no light", "source.choose.positions"]),
    "none of the kind": (lambda _: None, ["source.choose.classes=[9]"], ["no such galaxy among its 8"]),
    "too few": (lambda _: None, ["source.choose.positions=[7]"], ["has 7 such galaxies, no position 7"]),
    "no such number": (lambda _: None, ["source.galaxies=[0, 8]"], ["has 8 galaxies, no galaxy 8"]),
    "a number twice": (lambda _: None, ["source.galaxies=[1, 1]"], ["source.galaxies: 1 is given twice"]),
    "a place twice": (
        lambda _: None,
        ["source.choose.positions=[2, 0, 2]"],
        ["source.choose.positions: 2 is given twice"],
    ),
    "another file": (lambda _: None, [f"source.sha256={'a' * 64}"], ["another than before"]),
    "no hash": (lambda _: None, ["source.sha256=abc"], ["source.sha256"]),
    "too few for the splits": (
        lambda _: None,
        ["source.own_galaxies_per_split=true", "source.choose.positions=[0]"],
        ["the test split gets none of 1 galaxies"],
    ),
    "four bands": (
        lambda _: None,
        ["bands=[g, r, i, z]", "source.magnitude=20", "lens_light=null"],
        ["3 colours", "4 bands"],
    ),
    "no magnitude": (lambda _: None, ["source.magnitude=null"], ["source.magnitude"]),
    "in a list": (lambda _: None, ["source=[{kind: galaxy_image}, {kind: galaxy_image}]"], ["source"]),
    "as light of the lens": (lambda _: None, ["lens_light={kind: galaxy_image}"], ["lens_light.kind"]),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_bad_files_and_choices(lensmill: Lensmill, path: Path, tmp_path: Path, fault: str) -> None:
    change, overrides, says = BAD_FILES[fault]
    change(path)
    sets = [word for one in [*settings(path), *SMALL, *overrides] for word in ("--set", one)]
    message = one_message(lensmill("simulate", "model_iv", "--out", tmp_path / "out.zarr", *sets), BAD_INPUT)
    for words in [*says, "to do:"]:
        assert words in message
    assert not (tmp_path / "out.zarr").exists()
