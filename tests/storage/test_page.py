"""The data-set page: what it says, how large it may be, and that nothing of a store can run in it."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.generate import Order
from flows.importing import import_data
from schemas.errors import StoreUnfinishedError, WriteError
from schemas.imported import ImportOptions, shares
from schemas.page import Page
from schemas.store import Conversion
from storage import commit
from storage.page import describe, render, selection, write_page
from storage.page.pictures import BUDGET, MOST_SAMPLES, PNG_BYTES, Row, draw_pictures, size_of
from storage.page.selection import MOST_ROWS, STRETCHES, look, rows_of_class, stretches
from storage.reader import Store, open_store
from storage.upkeep import verification
from storage.verify import verify

HOSTILE = """</script><script>alert(1)</script><img src=x onerror="alert(2)">' "{{ 7 * 7 }}\u2028"""


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.raw: list[tuple[dict[str, str], str]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.raw.append((self.tags[-1][1], data))
        self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(next(text for how, text in self.raw if how.get("id") == "data"))
        return found


@pytest.fixture(scope="module")
def sound(sound_store: Order) -> Store:
    return open_store(sound_store.root)


@pytest.fixture(scope="module")
def page(sound: Store) -> Page:
    return describe(sound)


@pytest.fixture(scope="module")
def parsed(page: Page) -> Parsed:
    return Parsed(render(page))


def test_every_column_has_a_histogram_of_the_classes_that_have_it(
    sound: Store, page: Page, parsed: Parsed
) -> None:
    params = np.concatenate([sound.read(split.name, "params") for split in sound.plan.splits])
    label = np.concatenate([sound.read(split.name, "label") for split in sound.plan.splits])
    assert [one.name for one in page.columns] == [one.name for one in sound.plan.columns]
    for at, (column, spec) in enumerate(zip(page.columns, sound.plan.columns, strict=True)):
        for one, counts in zip(sound.plan.classes, column.counts, strict=True):
            values = params[label == one.label, at]
            assert sum(counts) == np.isfinite(values).sum(), column.name
            assert bool(sum(counts)) == (one.label in spec.labels), column.name
    figures = [how["data-column"] for how in parsed.all("figure") if "data-column" in how]
    assert sorted(figures) == sorted(one.name for one in page.columns)
    assert len(parsed.all("svg")) == len(figures)
    axion = next(one for one in page.columns if one.name == "axion_mass_ev")
    assert (axion.only, axion.unit) == ("vortex", "eV")
    for at, column in enumerate(page.columns):
        known = params[np.isfinite(params[:, at]), at]
        assert column.constant == (len(np.unique(known)) == 1), column.name


def test_classes_and_splits_are_counted(sound: Store, page: Page, parsed: Parsed) -> None:
    assert page.splits == ("train", "val", "test")
    for one in page.classes:
        found = tuple(int((sound.read(split, "label") == one.label).sum()) for split in page.splits)
        assert one.rows == one.looked_at == found == (14, 2, 4)
    assert page.counted == "All rows were read."
    for words in ("tiny", sound.stored.digest, "seed", "1001", "numpy", "16 × 16", "60"):
        assert words in parsed.words


def test_samples_are_of_every_class_and_split_and_tell_their_values(sound: Store, page: Page) -> None:
    groups = {(one.split, one.position) for one in page.samples}
    assert groups == {(split, position) for split in page.splits for position in range(3)}
    assert len({one.sample_id for one in page.samples}) == len(page.samples)
    for one in page.samples:
        rows = slice(one.row, one.row + 1)
        assert sound.read(one.split, "sample_id", rows)[0] == one.sample_id
        assert sound.read(one.split, "label", rows)[0] == sound.plan.classes[one.position].label
        stored = sound.read(one.split, "params", rows)[0]
        shown = [np.nan if value is None else value for value in one.values]
        np.testing.assert_allclose(shown, stored, rtol=1e-5)
        assert one.caption


def test_pictures_are_upright(sound: Store) -> None:
    (uri,) = draw_pictures(sound, "image", [Row("train", 3)], binned=1)
    picture = np.asarray(Image.open(_file(uri)))
    image = sound.read("train", "image", slice(3, 4))[0, 0]
    # the brightest pixel is white, and row 0 is at the bottom
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert picture.shape == image.shape
    assert picture[len(image) - 1 - row, column] == 255
    assert picture[::-1][image < np.percentile(image, 25)].max() == 0


def _file(uri: str) -> Any:
    assert uri.startswith("data:image/png;base64,")
    return io.BytesIO(base64.b64decode(uri.split(",")[1]))


def test_products_stand_beside_the_image(sound_product_store: Order) -> None:
    page = describe(open_store(sound_product_store.root))
    assert {one.name for one in page.arrays} == {
        "image",
        "noise_free",
        "convergence",
        "deflection",
        "subhalos",
    }
    assert all(set(one.products) == {"noise_free", "convergence"} for one in page.samples)
    for one in page.samples:
        mass = np.asarray(Image.open(_file(one.products["convergence"])).convert("RGB"))
        assert bool(mass.max()) == (one.position > 0)


def test_nothing_comes_from_elsewhere_and_only_our_script_runs(parsed: Parsed) -> None:
    for _, how in parsed.tags:
        for name, value in how.items():
            if name in ("src", "href"):
                assert value.startswith(("data:image/png;base64,", "#"))
            assert not name.startswith("on")
            assert name != "style"
    assert not parsed.all("link")
    policy = next(how["content"] for how in parsed.all("meta") if "http-equiv" in how)
    assert policy.startswith("default-src 'none'; img-src data:;")
    style, script = (
        next(text for how, text in parsed.raw if not how and ("use strict" in text) == is_script)
        for is_script in (False, True)
    )
    for directive, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttp|eval", style + script)


def test_hostile_words_stay_words(page: Page) -> None:
    columns = (page.columns[0].model_copy(update={"name": HOSTILE, "description": HOSTILE, "unit": HOSTILE}),)
    classes = tuple(one.model_copy(update={"name": HOSTILE}) for one in page.classes)
    samples = tuple(one.model_copy(update={"caption": (HOSTILE,), "split": HOSTILE}) for one in page.samples)
    words = dict.fromkeys(("title", "purpose", "digest", "recipe", "command", "made", "counted"), HOSTILE)
    hostile = page.model_copy(
        update={
            **words, "columns": columns, "classes": classes, "samples": samples, "splits": (HOSTILE,),
            "facts": tuple(one.model_copy(update={"name": HOSTILE, "text": HOSTILE}) for one in page.facts),
            "soundness": page.soundness.model_copy(update={"faults": (HOSTILE,), "text": HOSTILE}),
        }
    )  # fmt: skip
    parsed, usual = Parsed(render(hostile)), Parsed(render(page))
    assert len(parsed.all("script")) == 2
    assert len(parsed.all("img")) == len(usual.all("img"))
    assert not [how for _, how in parsed.tags if "onerror" in how or how.get("src") == "x"]
    assert parsed.data["classes"] == [HOSTILE] * 3
    assert parsed.data["columns"][0]["text"] == HOSTILE
    assert parsed.words.count(HOSTILE) > 10


@pytest.mark.parametrize("rows", [1, 100, MOST_ROWS, MOST_ROWS + 1, 10_000_000, 10**12])
def test_few_rows_are_read_from_all_over_a_split(rows: int) -> None:
    found = stretches(rows)
    assert sum(one.stop - one.start for one in found) == min(rows, MOST_ROWS)
    assert (found[0].start, found[-1].stop) == (0, rows)
    assert len(found) <= STRETCHES
    # no row twice
    assert all(one.stop <= after.start for one, after in pairwise(found))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that looks at 12 rows of a split, in four stretches."""
    monkeypatch.setattr(selection, "MOST_ROWS", 12)
    monkeypatch.setattr(selection, "STRETCHES", 4)


@pytest.mark.usefixtures("few")
def test_a_page_says_how_much_it_looked_at(sound: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, int]] = []
    plain = Store.read

    def count(self: Store, split: str, array: str, rows: slice = slice(None)) -> Any:
        found = plain(self, split, array, rows)
        read.append((f"{split} {array}", len(found)))
        return found

    monkeypatch.setattr(Store, "read", count)
    page = describe(sound)
    assert "12 of 42 rows of train" in page.counted
    assert "12 of 12" not in page.counted
    # classes take turns, so their rows are known all the same
    assert [one.rows for one in page.classes] == [(14, 2, 4)] * 3
    assert [one.looked_at for one in page.classes] == [(4, 2, 4)] * 3
    assert sum(rows for what, rows in read if what == "train params") == 12
    assert sum(rows for what, rows in read if what == "train image") <= 12


@pytest.mark.usefixtures("few")
def test_rows_of_classes_in_any_order_are_estimated(sound: Store) -> None:
    looked = look(sound, "train")
    assert rows_of_class(sound.plan, looked, 0) == 14
    mixed = replace(looked, label=np.where(np.arange(12) < 3, 0, 1))
    assert [rows_of_class(sound.plan, mixed, position) for position in range(3)] == [10, 32, 0]


@pytest.mark.parametrize("side", [16, 64, 101, 150, 512])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("groups", [1, 9, 96])
def test_pictures_of_noise_keep_within_their_budget(
    sound_product_store: Order, side: int, channels: int, groups: int
) -> None:
    plan = sound_product_store.plan
    larger = tuple(
        one.model_copy(update={"tail": (channels, side, side)}) if one.name == "image" else one
        for one in plan.arrays
    )
    size = size_of(plan.model_copy(update={"arrays": larger}), groups, strip=18)
    planes, pixels = 3 if channels == 3 else 1, (side // size.binned) ** 2
    bytes_ = (size.samples * (2 * planes + 1) + 18 * planes) * pixels
    assert bytes_ <= BUDGET
    assert groups <= size.samples <= MOST_SAMPLES


def test_a_picture_of_noise_is_hardly_larger_than_its_pixels(
    sound: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(1).normal(size=(1, 1, 128, 128)).astype(np.float32)
    monkeypatch.setattr(Store, "read", lambda *_: noise)
    (uri,) = draw_pictures(sound, "image", [Row("train", 0)], binned=1)
    assert len(_file(uri).getvalue()) <= 128 * 128 + PNG_BYTES


def test_the_state_follows_verification(store: Order) -> None:
    def state() -> str:
        return describe(open_store(store.root)).soundness.state

    assert state() == "unknown"
    assert verification.record(store.root, verify(store.root)) == ""
    assert state() == "sound"
    kept = verification.last_record(store.root)
    assert kept is not None
    older = kept.model_copy(update={"manifest_sha256": "0" * 64})
    (store.root / commit.VERIFICATION).write_text(older.to_json())
    assert state() == "outdated"
    (store.root / commit.VERIFICATION).write_text("{}")
    assert state() == "unknown"
    receipt = store.root / "lensmill/receipts/train/000001.json"
    receipt.write_text(receipt.read_text().replace('"shard": 1', '"shard": 2'))
    assert verification.record(store.root, verify(store.root)) == ""
    page = describe(open_store(store.root))
    assert page.soundness.state == "damaged"
    assert "shard 1 of train" in page.soundness.faults[0]
    assert page.soundness.faults[0] in Parsed(render(page)).words


def test_what_was_found_is_forgotten_when_the_store_changes(store: Order) -> None:
    verification.record(store.root, verify(store.root))
    commit.unseal(store.root)
    assert verification.last_record(store.root) is None


def test_a_result_that_cannot_be_kept_is_told(store: Order) -> None:
    (store.root / commit.VERIFICATION).mkdir()
    assert "cannot write" in verification.record(store.root, verify(store.root))
    assert verify(store.root).sound


def test_a_record_tells_only_the_first_of_many_faults(store: Order) -> None:
    found = verify(store.root).model_copy(update={"faults": tuple(f"fault {k}" for k in range(30))})
    verification.record(store.root, found)
    kept = verification.last_record(store.root)
    assert kept is not None
    assert (kept.faults, len(kept.first_faults), kept.sound) == (30, 10, False)


def test_a_page_is_written_whole_and_again(sound: Store, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("what was there")
    assert write_page(sound.root, out) == out
    assert out.read_text().startswith("<!doctype html>")
    assert out.read_text().rstrip().endswith("</html>")
    assert out.stat().st_size < 500_000
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_name_follows_from_the_store(
    sound: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_page(sound.root) == Path("small.html")
    assert (tmp_path / "small.html").is_file()


@pytest.mark.parametrize("out", ["page.png", "page", "no/such/folder/page.html", "folder.html"])
def test_a_path_that_is_no_page_is_refused(sound: Store, tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(WriteError, match="cannot write the page"):
        write_page(sound.root, tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_an_unfinished_store_has_no_page(store: Order, tmp_path: Path) -> None:
    commit.unseal(store.root)
    with pytest.raises(StoreUnfinishedError):
        write_page(store.root, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_three_bands_are_in_colour(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path
) -> None:
    order = order_small(tmp_path / "bands.zarr", "bands=[g, r, i]", "samples_per_class=10")
    make_store(order)
    page = describe(open_store(order.root))
    assert "red i, green r, blue g" in page.pictured
    assert ("g, r, i", "3 bands") in [(one.name, one.text) for one in page.cards]
    assert np.asarray(Image.open(_file(page.samples[0].image))).shape == (16, 16, 3)


def test_codes_are_shown_as_the_numbers_that_they_stand_for(
    format_store: Callable[[str, str], Order], sound_product_store: Order
) -> None:
    exact = describe(open_store(sound_product_store.root))
    page = describe(open_store(format_store("hdf5", "quantised").root))
    assert "hdf5, quantised" in next(one.text for one in page.facts if one.name == "format")
    assert "uint16 codes" in page.arrays[0].text
    assert [one.values for one in page.samples] == [one.values for one in exact.samples]
    for one, other in zip(page.samples, exact.samples, strict=True):
        shown, expected = (np.asarray(Image.open(_file(uri)), int) for uri in (one.image, other.image))
        # a step of the codes may tip a grey over to the next
        assert np.abs(shown - expected).max() <= 1


def test_a_conversion_is_part_of_the_provenance(sound: Store) -> None:
    step = Conversion(
        manifest_sha256="ab" * 32, backend="hdf5", profile="archive", lossy=True, versions={"numpy": "2"}
    )
    made_by = sound.plan.provenance.model_copy(update={"conversions": (step,)})
    converted = replace(sound, plan=sound.plan.model_copy(update={"provenance": made_by}))
    told = {one.name: one.text for one in describe(converted).facts}
    expected = "from hdf5, archive (manifest abababababab), through quantised values, by numpy 2"
    assert told["converted"] == expected
    assert "converted" not in {one.name for one in describe(sound).facts}


def test_imported_images_say_where_they_came_from(tmp_path: Path) -> None:
    images = np.random.default_rng(3).random((60, 16, 16)).astype(np.float32)
    # two classes in no order, one twice as large
    labels = np.random.default_rng(4).permutation(np.arange(60) % 3 == 0).astype(np.int64)
    np.savez(tmp_path / "theirs.npz", images=images, labels=labels, radius=np.linspace(1, 2, 60))
    options = ImportOptions(images="images", labels="labels", columns=("radius",), splits=shares("0.5,0,0.5"))
    import_data(tmp_path / "theirs.npz", tmp_path / "theirs.zarr", options, quiet=True)
    page = describe(open_store(tmp_path / "theirs.zarr"))
    told = {one.name: one.text for one in page.facts}
    assert "theirs.npz" in told["imported from"]
    assert "seed" not in told
    assert (page.kind, page.command) == ("Images that were imported", "")
    assert ("pixels of unknown size", "16 × 16") in [(one.name, one.text) for one in page.cards]
    assert [sum(one.rows) for one in page.classes] == [40, 20]
    assert "radius" in [one.name for one in page.columns]
    assert len(Parsed(render(page)).all("figure")) == len(page.columns)
