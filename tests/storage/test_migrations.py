"""Stores of every schema version that ever was open, read the same, and are not touched by it."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from flows import generate
from flows.repair import repair
from flows.shards import make_shard
from schemas.errors import StoreConflictError, StoreDamagedError, StoreUnfinishedError
from schemas.store import SCHEMA_VERSION, CommitMarker, Manifest, Receipt, StoredRecipe, StorePlan
from schemas.store_schema import BOOK_MODELS
from storage import commit, layout
from storage.info import info
from storage.migrations import STEPS, migrate, version_of
from storage.pictures.gallery import show
from storage.reader import open_store
from storage.verify import verify

STORES = Path(__file__).resolve().parents[1] / "golden" / "stores"
FROZEN = sorted(path.stem for path in STORES.glob("*.zarr"))
OVERRIDES = [
    "samples_per_class=8",
    "splits={train: 1/2, val: 1/4, test: 1/4}",
    "products=[subhalos]",
]
BOOKS = {
    "recipe.json": StoredRecipe,
    "plan.json": StorePlan,
    "receipts/train/000000.json": Receipt,
    "manifest.json": Manifest,
    "COMMIT.json": CommitMarker,
}


def _array_digests(root: Path) -> dict[str, str]:
    store = open_store(root)
    return {
        f"{split.name}/{spec.name}": hashlib.sha256(
            np.ascontiguousarray(store.read(split.name, spec.name)).tobytes()
        ).hexdigest()
        for split in store.plan.splits
        for spec in store.plan.arrays
    }


@pytest.fixture(params=FROZEN)
def frozen(request: pytest.FixtureRequest) -> Path:
    """A store as the lensmill of its day wrote it. Not to be changed."""
    return STORES / f"{request.param}.zarr"


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A copy of the store of version 1, to be changed."""
    return Path(shutil.copytree(STORES / "format_1.zarr", tmp_path / "first.zarr"))


def test_there_is_a_frozen_store_of_every_version() -> None:
    assert [f"format_{version}" for version in range(1, SCHEMA_VERSION + 1)] == FROZEN


def test_a_frozen_store_opens_and_stays_as_it_is(
    frozen: Path, tmp_path: Path, bytes_of: Callable[[Path], dict[str, bytes]]
) -> None:
    before = bytes_of(frozen)
    assert verify(frozen).faults == ()
    assert info(frozen).recipe == "tiny"
    assert show(frozen, tmp_path / "gallery.png").stat().st_size > 10_000
    assert bytes_of(frozen) == before


def test_a_frozen_store_decodes_to_the_same_arrays(frozen: Path) -> None:
    expected = json.loads(frozen.with_suffix(".json").read_text())
    assert _array_digests(frozen) == expected


@pytest.mark.parametrize("name", BOOKS)
def test_a_migration_does_not_change_what_it_is_given(name: str) -> None:
    book = json.loads((STORES / "format_1.zarr/lensmill" / name).read_bytes())
    before = copy.deepcopy(book)
    migrated = migrate(BOOKS[name], book)
    assert book == before
    assert version_of(book) == 1
    assert version_of(migrated) == SCHEMA_VERSION
    assert migrate(BOOKS[name], migrated) == migrated


def test_every_book_has_a_step_from_every_version() -> None:
    assert set(STEPS) == set(BOOK_MODELS.values()) == set(BOOKS.values())
    for steps in STEPS.values():
        assert set(steps) == set(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("name", BOOKS)
def test_a_book_of_a_later_version_is_refused_as_such(tmp_path: Path, name: str) -> None:
    path = tmp_path / "book.json"
    book = json.loads((STORES / "format_1.zarr/lensmill" / name).read_bytes())
    path.write_text(json.dumps({**book, "schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(StoreConflictError, match=f"schema version {SCHEMA_VERSION + 1}") as caught:
        commit.read_json(path, BOOKS[name])
    assert "newer lensmill" in caught.value.advice


@pytest.mark.parametrize("content", ['{"receipts": 3}', '{"schema_version": 0}', '{"schema_version": "2"}'])
def test_a_damaged_old_book_is_damaged_and_not_a_crash(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(StoreDamagedError, match=r"manifest\.json"):
        commit.read_json(tmp_path / "manifest.json", Manifest)


class _Continued:
    """The command that began the store of version 1, run by this version."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        plan = commit.read_json(STORES / "format_1.zarr/lensmill/plan.json", StorePlan)
        # whatever is installed here: the test is about books
        monkeypatch.setattr(generate, "provenance", lambda _: plan.provenance)
        monkeypatch.setattr(generate, "_make", self._make)

    def _make(self, order: Any, missing: list[Any], *_: Any) -> Any:
        self.made += [str(span) for span in missing]
        return {span: make_shard(order.root, order.recipe, order.plan, span) for span in missing}, 1.0

    def __call__(self, root: Path) -> None:
        generate.simulate_flow.fn("tiny", str(root), None, 8, OVERRIDES, True)


def test_a_finished_store_of_version_1_is_left_alone_by_the_same_command(
    first: Path, monkeypatch: pytest.MonkeyPatch, bytes_of: Callable[[Path], dict[str, bytes]]
) -> None:
    before, again = bytes_of(first), _Continued(monkeypatch)
    again(first)
    assert again.made == []
    assert bytes_of(first) == before


def test_a_half_finished_store_of_version_1_is_continued(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, kept = (first / commit.PLAN).read_bytes(), first / "lensmill/receipts/train/000000.json"
    receipt = kept.read_bytes()
    commit.unseal(first)
    (first / "lensmill/receipts/train/000001.json").unlink()
    with pytest.raises(StoreUnfinishedError, match="3 of 4 shards"):
        open_store(first)
    again = _Continued(monkeypatch)
    again(first)
    assert again.made == ["shard 1 of train"]
    assert verify(first).faults == ()
    # what receipts refer to stands as it was; what this run wrote is of this version
    assert ((first / commit.PLAN).read_bytes(), kept.read_bytes()) == (plan, receipt)
    manifest = json.loads((first / commit.MANIFEST).read_text())
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert manifest["schema_sha256"] == hashlib.sha256((first / commit.SCHEMA).read_bytes()).hexdigest()


def _books(root: Path) -> dict[str, Any]:
    names = {"marker": "COMMIT.json", "receipt": "receipts/train/000000.json"}
    return {
        name: json.loads((root / "lensmill" / names.get(name, f"{name}.json")).read_text())
        for name in BOOK_MODELS
    }


def test_the_schema_in_a_store_describes_its_books_and_rows(sound_store: Any) -> None:
    schema = json.loads((sound_store.root / commit.SCHEMA).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    store = open_store(sound_store.root)
    names = [column.name for column in store.plan.columns]
    params, labels = store.read("train", "params"), store.read("train", "label")
    for values, label in zip(params[:6], labels[:6], strict=True):
        numbers = [None if np.isnan(value) else float(value) for value in values]
        row = {"sample_id": 3, "label": int(label), **dict(zip(names, numbers, strict=True))}
        validator.validate({**_books(sound_store.root), "row": row})
        assert not validator.is_valid({"row": {**row, "theta_E": None}})
        assert not validator.is_valid({"row": {**row, "theta_E": -1.0}})
        assert not validator.is_valid({"row": {**row, "label": 7}})
        assert validator.is_valid({"row": {**row, "axion_mass_ev": 1e-22}}) == (label == 2)
    assert not validator.is_valid({"plan": {**_books(sound_store.root)["plan"], "shard_rows": 0}})


def test_the_digest_of_the_schema_is_sealed(sound_store: Any) -> None:
    manifest = open_store(sound_store.root).manifest
    assert (
        manifest.schema_sha256 == hashlib.sha256((sound_store.root / commit.SCHEMA).read_bytes()).hexdigest()
    )
    assert layout.shard_count(sound_store.plan) == len(manifest.receipts)


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_damaged_schema_is_made_again(
    store: Any, bytes_of: Callable[[Path], dict[str, bytes]], content: bytes | None
) -> None:
    before = bytes_of(store.root)
    (store.root / commit.SCHEMA).unlink()
    if content is not None:
        (store.root / commit.SCHEMA).write_bytes(content)
    made = repair(store.root, quiet=True)
    assert set(made.rebuilt) == {"lensmill/schema.json"}
    assert bytes_of(store.root) == before
    assert repair(store.root, quiet=True).rebuilt == {}


def test_a_store_of_version_1_is_whole_for_repair(
    first: Path, bytes_of: Callable[[Path], dict[str, bytes]]
) -> None:
    before = bytes_of(first)
    assert repair(first, quiet=True).found == ()
    assert bytes_of(first) == before
