"""`lensmill show --html`, and the result of `verify` that it tells."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.generate import Order
from storage import commit

Lensmill = Callable[..., Any]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_beside_the_person_or_where_it_is_asked_for(
    lensmill: Lensmill, sound_store: Order, here: Path
) -> None:
    said = lensmill("show", sound_store.root, "--html")
    assert (said.code, said.out) == (0, "wrote small.html\n")
    page = (here / "small.html").read_text()
    assert sound_store.recipe.digest in page
    said = lensmill("show", sound_store.root, "--html", "--out", "talk.html")
    assert (said.code, said.out) == (0, "wrote talk.html\n")
    # run again, it takes the place of what was there, as the picture does
    (here / "talk.html").write_text("old")
    assert lensmill("show", sound_store.root, "--html", "--out", "talk.html").code == 0
    assert (here / "talk.html").stat().st_size == len(page.encode())
    assert sorted(path.name for path in here.iterdir()) == ["small.html", "talk.html"]


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--html", "--out", "page.png"), "a path ending in .html", 2),
        (("--html", "--out", "no/folder/page.html"), "a file in a folder that is there", 2),
        (("--html", "--split", "test"), "a page has all splits", 2),
        (("--html", "--columns", "3"), "a page has all splits", 2),
        (("--out", "page.html"), "a path ending in .png", 2),
    ],
)
def test_what_cannot_be_is_said(
    lensmill: Lensmill, sound_store: Order, here: Path, options: tuple[str, ...], words: str, code: int
) -> None:
    said = lensmill("show", sound_store.root, *options)
    assert said.code == code
    assert words in said.err
    assert "Traceback" not in said.err
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(
    lensmill: Lensmill, sound_store: Order, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.files.durable._pour", full)
    said = lensmill("show", sound_store.root, "--html")
    assert said.code == 1
    assert "cannot write small.html: No space left on device" in said.err
    assert list(here.iterdir()) == []


def test_an_unfinished_store_has_no_page(lensmill: Lensmill, store: Order, here: Path) -> None:
    commit.unseal(store.root)
    said = lensmill("show", store.root, "--html", "--out", here / "page.html")
    assert said.code == 1
    assert "unfinished" in said.err
    assert not (here / "page.html").exists()


def test_a_page_tells_what_verify_found(
    lensmill: Lensmill, store: Order, here: Path, bytes_of: Callable[[Path], dict[str, bytes]]
) -> None:
    before = bytes_of(store.root)

    def page() -> str:
        assert lensmill("show", store.root, "--html", "--out", here / "page.html").code == 0
        return (here / "page.html").read_text()

    assert "not verified" in page()
    assert lensmill("verify", store.root).code == 0
    assert "verified sound on" in page()
    receipt = store.root / "lensmill/receipts/test/000000.json"
    receipt.write_text(receipt.read_text().replace('"rows": 8', '"rows": 7'))
    assert lensmill("verify", store.root).code == 1
    found = page()
    assert "found damaged on" in found
    assert "shard 0 of test" in found
    receipt.write_bytes(before["lensmill/receipts/test/000000.json"])
    assert bytes_of(store.root) == before


def test_a_store_made_again_is_not_verified(
    lensmill: Lensmill, store: Order, here: Path, simulate_here: Any
) -> None:
    assert lensmill("verify", store.root).code == 0
    kept = json.loads((store.root / commit.VERIFICATION).read_text())
    assert (kept["faults"], kept["first_faults"]) == (0, [])
    # nothing was to be done: what was found still holds
    simulate_here(store)
    assert (store.root / commit.VERIFICATION).is_file()
    (store.root / "train/image/c/0/0/0/0").unlink()
    assert lensmill("verify", store.root).code == 1
    simulate_here(store)
    assert not (store.root / commit.VERIFICATION).exists()


def test_a_store_that_cannot_be_written_can_be_verified(
    lensmill: Lensmill, store: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the tests may run as root, whom no permission stops
    (store.root / commit.VERIFICATION).mkdir()
    said = lensmill("verify", store.root)
    assert said.code == 0
    assert "is sound" in said.out
    assert "warning: the result is not kept in the store" in said.err
    assert json.loads(lensmill("verify", store.root, "--json").out)["faults"] == []
    shutil.rmtree(store.root / commit.VERIFICATION)
