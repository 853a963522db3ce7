"""What is wrong is said once and clearly, with an exit code and nothing written."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import orders, simulating
from flows.catalogue import load_recipe, shipped
from flows.cli import told_once
from flows.generate import Order
from flows.serving.api import prefect_api
from schemas.errors import LensmillError
from storage import commit, layout
from tests.flows.messages import one_message

Lensmill = Callable[..., Any]
BAD_INPUT, FAILED = 2, 1


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> Iterator[str]:
        raise AssertionError("a server was started although the input is bad")

    monkeypatch.setattr(simulating, "prefect_api", started)


def _put(pattern: str, text: str) -> Callable[[str], str]:
    """Replace what matches in the shipped `tiny`."""

    def change(recipe: str) -> str:
        changed, count = re.subn(pattern, text, recipe, count=1, flags=re.MULTILINE)
        assert count == 1, f"tiny.yaml has no {pattern}"
        return changed

    return change


BAD_RECIPES: dict[str, tuple[Callable[[str], str], list[str]]] = {
    "unknown field": (lambda text: text + "\nsamples_per_clas: 3\n", ["unknown key", "samples_per_class"]),
    "broken YAML": (_put("^classes:", "classes: ["), ["broken YAML", "line"]),
    "a python tag": (
        _put(r"^seed: \d+", "seed: !!python/object/apply:os.system ['touch HERE/hacked']"),
        ["python/object/apply", "refused"],
    ),
    "a value out of range": (_put(r"H0: \d+", "H0: -70"), ["H0", "-70"]),
    "a word for a number": (_put(r"^seed: \d+", "seed: many"), ["seed", "many"]),
    "shares that do not sum to one": (
        _put("^splits: .*", "splits: {train: 0.7, val: 0.2, test: 0.2}"),
        ["splits", "1.1", "sum to exactly 1"],
    ),
    "an unknown kind": (_put("kind: vortex", "kind: vertex"), ["vertex", "vortex"]),
    "an unknown instrument": (_put("euclid_vis", "euclid_viz"), ["euclid_viz", "euclid_vis"]),
    "no samples": (_put(r"^samples_per_class: \d+", "samples_per_class: 0"), ["samples_per_class", "0"]),
    "nothing": (lambda _: "", ["empty"]),
    "a list": (lambda _: "- 1\n- 2\n", ["mine.yaml"]),
    "a key twice": (lambda text: text + "\nseed: 5\n", ["'seed' is given twice"]),
}


@pytest.mark.parametrize("fault", BAD_RECIPES)
def test_bad_recipes(lensmill: Lensmill, tmp_path: Path, fault: str) -> None:
    change, says = BAD_RECIPES[fault]
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(change(shipped()["tiny"].read_text()).replace("HERE", str(tmp_path)))
    message = one_message(lensmill("simulate", recipe, "--out", tmp_path / "out.zarr"), BAD_INPUT)
    for words in says:
        assert words in message
    assert str(recipe) in message or fault == "an unknown instrument"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_recipe_that_is_no_text(lensmill: Lensmill, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00\x01")
    said = lensmill("simulate", tmp_path / "mine.yaml", "--out", tmp_path / "out.zarr")
    assert "UTF-8" in one_message(said, BAD_INPUT)


@pytest.mark.parametrize("recipe", ["missing.yaml", "."])
def test_a_recipe_that_cannot_be_read(lensmill: Lensmill, tmp_path: Path, recipe: str) -> None:
    said = lensmill("simulate", tmp_path / recipe, "--out", tmp_path / "out.zarr")
    assert "cannot read the recipe" in one_message(said, BAD_INPUT)
    assert not any(tmp_path.iterdir())


def test_an_unknown_recipe_lists_the_known_ones(lensmill: Lensmill, tmp_path: Path) -> None:
    said = lensmill("simulate", "model_4", "--out", tmp_path / "out.zarr")
    message = one_message(said, BAD_INPUT)
    assert "model_4" in message
    for name in shipped():
        assert name in message
    assert not any(tmp_path.iterdir())


BAD_OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "no samples": (["--set", "samples_per_class=0"], ["samples_per_class", "found 0"]),
    "negative samples": (["--set", "samples_per_class=-5"], ["samples_per_class", "found -5"]),
    "shares above one": (["--set", "splits.train=1"], ["sum to exactly 1"]),
    "no key and value": (["--set", "seed"], ["'seed' is not of the form key=value"]),
    "no key": (["--set", "=3"], ["not of the form key=value"]),
    "an unknown key": (["--set", "sed=3"], ["sed: unknown key", "did you mean 'seed'?"]),
    "a key below a value": (["--set", "seed.more=3"], ["seed is a single value"]),
    "an unknown class": (["--set", "classes.wdm.label=3"], ["'wdm' is not in the list classes", "vortex"]),
    "broken YAML": (["--set", "seed=[1"], ["broken YAML", "--set seed=[1"]),
    "a python tag": (["--set", "seed=!!python/name:os.system"], ["refused"]),
    "not a number": (["--set", "seed=.nan"], ["seed is nan"]),
    "a kind of another place": (
        ["--set", "main_lens.kind=SERSIC"],
        ["main_lens: unknown kind 'SERSIC' at this place; expected 'SIE', 'EPL'"],
    ),
    "an unknown engine": (["--set", "engine=fast"], ["engine", "'fused'", "found 'fast'"]),
    "halos by the wrong distances": (
        [
            "--set",
            "mass_conversion.kind=luminosity_shortcut",
            "--set",
            "classes.cdm.substructure.profile={kind: TNFW, concentration: 10, truncation: 5}",
        ],
        ["class 'cdm' has TNFW subhalos", "use angular_diameter"],
    ),
    "a power law without slope": (
        ["--set", "main_lens.kind=EPL"],
        ["main_lens.gamma: missing", "--set main_lens.kind=EPL"],
    ),
    "a kernel's file that is not there": (
        [
            "--set",
            "instrument={kind: detector, pixel_scale_arcsec: 0.1, psf: {kind: kernel_file, path: none.npy}}",
        ],
        ["the PSF kernel none.npy does not exist", "from the working directory"],
    ),
    "no power of two": (["--shard-size", "3"], ["--shard-size", "3", "power of two"]),
    "too few for the shares": (
        ["--set", "samples_per_class=2"],
        ["the", "split has a share", "gets none of 2"],
    ),
}


@pytest.mark.parametrize("fault", BAD_OPTIONS)
def test_bad_options(lensmill: Lensmill, tmp_path: Path, fault: str) -> None:
    options, says = BAD_OPTIONS[fault]
    said = lensmill("simulate", "tiny", "--out", tmp_path / "out.zarr", *options)
    message = one_message(said, BAD_INPUT)
    for words in says:
        assert words in message
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ["--shard-size", "0"],
        ["--shard-size", "many"],
        ["--workers", "0"],
        ["--workers", "-1"],
        ["--nonsense"],
    ],
)
def test_options_that_no_command_takes(lensmill: Lensmill, tmp_path: Path, options: list[str]) -> None:
    said = lensmill("simulate", "tiny", "--out", tmp_path / "out.zarr", *options)
    assert said.code == BAD_INPUT
    assert options[0] in said.err
    assert "Traceback" not in said.err + said.out
    assert not any(tmp_path.iterdir())


def test_a_store_of_another_recipe(lensmill: Lensmill, store: Order, small_overrides: list[str]) -> None:
    options = [word for one in [*small_overrides, "seed=9"] for word in ("--set", one)]
    message = one_message(lensmill("simulate", "tiny", "--out", store.root, *options), BAD_INPUT)
    other = orders.load_recipe("tiny", [*small_overrides, "seed=9"])
    assert store.recipe.digest in message
    assert other.digest in message
    assert commit.valid_receipt(store.root, store.plan, next(layout.spans(store.plan)))


def test_a_store_in_other_shards(lensmill: Lensmill, store: Order, small_overrides: list[str]) -> None:
    options = [word for one in small_overrides for word in ("--set", one)]
    said = lensmill("simulate", "tiny", "--out", store.root, *options, "--shard-size", "16")
    message = one_message(said, BAD_INPUT)
    assert "--shard-size 8" in message
    assert "--shard-size 16" in message


def test_a_foreign_folder(lensmill: Lensmill, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    message = one_message(lensmill("simulate", "tiny", "--out", tmp_path), BAD_INPUT)
    assert "thesis.tex" in message
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_odd_about_a_recipe_is_one_line(lensmill: Lensmill, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    said = lensmill("simulate", "model_iii", "--out", tmp_path / "file")
    first = said.err.splitlines()[0]
    assert first.startswith(
        "warning: recipe 'model_iii', class 'vortex': vortices of up to 6 arcsec are longer"
    )
    assert said.err.count("longer than the field") == 1
    assert ".py" not in said.err


def test_it_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with told_once():
        for _ in range(3):
            load_recipe("model_iii")
    assert capsys.readouterr().err.count("warning:") == 1


def test_a_path_that_is_a_file(lensmill: Lensmill, tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    path.write_text("mine")
    assert "is a file" in one_message(lensmill("simulate", "tiny", "--out", path), BAD_INPUT)
    assert path.read_text() == "mine"


# there is no room at all in /proc
@pytest.mark.parametrize(("place", "code"), [("file/out.zarr", BAD_INPUT), ("/proc/out.zarr", FAILED)])
def test_a_path_that_cannot_be_written(lensmill: Lensmill, tmp_path: Path, place: str, code: int) -> None:
    (tmp_path / "file").write_text("mine")
    message = one_message(lensmill("simulate", "tiny", "--out", tmp_path / place), code)
    assert str(tmp_path / place) in message or "/proc" in message
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("images", [10**10, 10**11, 10**12])
def test_a_disk_that_is_too_small(lensmill: Lensmill, tmp_path: Path, images: int) -> None:
    said = lensmill(
        "simulate", "tiny", "--out", tmp_path / "out.zarr", "--set", f"samples_per_class={images}"
    )
    message = one_message(said, FAILED)
    assert "GB free" in message
    # the images alone
    recipe = orders.load_recipe("tiny", [f"samples_per_class={images}"])
    needed = float(message.split("expected:")[1].split(" GB")[0].replace(",", ""))
    assert needed > recipe.sample_count * 4 * recipe.detector.num_pix**2 / 1e9
    assert not any(tmp_path.iterdir())


READERS = [("verify",), ("info",), ("info", "--json"), ("verify", "--json"), ("show",)]


UNREADABLE = ["missing", "foreign", "unfinished", "truncated", "altered"]


# `verify` lists a truncated file among its faults instead of refusing the store
@pytest.mark.parametrize(
    ("command", "what"),
    [
        (reader, what)
        for reader in READERS
        for what in UNREADABLE
        if (reader[0], what) != ("verify", "truncated")
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_stores_that_cannot_be_read(
    lensmill: Lensmill, store: Order, tmp_path: Path, command: tuple[str, ...], what: str
) -> None:
    image = "train/image/c/1/0/0/0"
    says = {
        "missing": "there is no lensmill store",
        "foreign": "there is no lensmill store",
        "unfinished": "unfinished: 9 of 9 shards",
        "truncated": f"shard 1 of train: {image} has",
        "altered": "manifest.json is not the one",
    }[what]
    root = store.root
    if what == "missing":
        root = tmp_path / "none.zarr"
    elif what == "foreign":
        root = tmp_path / "folder"
        root.mkdir()
    elif what == "unfinished":
        commit.unseal(root)
    elif what == "truncated":
        (root / image).write_bytes((root / image).read_bytes()[:100])
    else:
        path = root / commit.MANIFEST
        path.write_text(json.dumps(json.loads(path.read_text())))
    picture = ["--out", tmp_path / "gallery.png"] if command[0] == "show" else []
    code = BAD_INPUT if what in ("missing", "foreign") else FAILED
    message = one_message(lensmill(*command, root, *picture), code)
    assert says in message
    assert str(root) in message
    assert not (tmp_path / "gallery.png").exists()


def _flip(order: Order, name: str) -> None:
    path = order.root / name
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)


def test_damaged_shards_are_named(lensmill: Lensmill, store: Order) -> None:
    _flip(store, "train/image/c/1/0/0/0")
    _flip(store, "test/label/c/0")
    message = one_message(lensmill("verify", store.root), FAILED)
    assert "2 faults" in message
    assert "shard 1 of train: train/image/c/1/0/0/0" in message
    assert "shard 0 of test: test/label/c/0" in message
    assert "lensmill repair" in message


def test_damaged_shards_are_named_in_json(lensmill: Lensmill, store: Order) -> None:
    _flip(store, "val/params/c/0/0")
    said = lensmill("verify", store.root, "--json")
    assert said.code == FAILED
    (fault,) = json.loads(said.out)["faults"]
    assert "shard 0 of val: val/params/c/0/0" in fault


def test_show_refuses_what_it_cannot_do(lensmill: Lensmill, sound_store: Order, tmp_path: Path) -> None:
    said = lensmill("show", sound_store.root, "--split", "validation", "--out", tmp_path / "a.png")
    assert "one of test, train, val" in one_message(said, BAD_INPUT)
    for path in (tmp_path / "a.nonsense", tmp_path / "none" / "a.png"):
        assert "cannot write the picture" in one_message(
            lensmill("show", sound_store.root, "--out", path), BAD_INPUT
        )
    assert not any(tmp_path.iterdir())


def test_an_unknown_document(lensmill: Lensmill) -> None:
    message = one_message(lensmill("schema", "datasets"), BAD_INPUT)
    assert "dataset" in message


@pytest.mark.parametrize("name", ["gallery", "folder"])
def test_show_writes_what_it_says_or_refuses(
    lensmill: Lensmill, sound_store: Order, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    said = lensmill("show", sound_store.root, "--out", tmp_path / name)
    written = {path.name for path in tmp_path.iterdir()} - {"folder"}
    if said.code == 0:
        (picture,) = written
        assert said.out == f"wrote {tmp_path / picture}\n"
    else:
        assert "cannot write the picture" in one_message(said, BAD_INPUT)
        assert not written


def test_a_state_folder_that_cannot_be_made(
    lensmill: Lensmill, sound_store: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSMILL_HOME", "/proc/lensmill")
    monkeypatch.setenv("PREFECT_HOME", os.environ["PREFECT_HOME"])
    # what only reads needs none
    assert lensmill("info", sound_store.root).code == 0
    with pytest.raises(LensmillError, match="/proc/lensmill"):
        prefect_api().__enter__()
