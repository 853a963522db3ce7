"""Every damage is found and named; what is not finished or not whole is not opened."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.generate import Order
from flows.shards import make_shard
from schemas.errors import (
    LensmillError,
    StoreConflictError,
    StoreDamagedError,
    StoreMissingError,
    StoreUnfinishedError,
)
from schemas.frozen import canonical_json, sha256_of
from schemas.store import FileRecord
from simulate.render import render
from storage import commit, layout
from storage.info import info
from storage.layout import Span
from storage.pictures.gallery import show
from storage.reader import open_store
from storage.verify import verify

READERS: dict[str, Callable[[Path], Any]] = {
    "open_store": open_store,
    "info": info,
    "verify": verify,
    "show": lambda root: show(root, root.parent / "gallery.png"),
}


def _records(order: Order) -> list[tuple[Span, FileRecord]]:
    found = []
    for span in layout.spans(order.plan):
        receipt = commit.valid_receipt(order.root, order.plan, span)
        assert receipt is not None
        found += [(span, record) for record in receipt.files]
    return found


def test_a_sound_store(sound_store: Order) -> None:
    seen: list[int] = []
    found = verify(sound_store.root, seen.append)
    assert found.sound
    assert found.faults == ()
    assert found.recipe == "tiny"
    assert found.digest == sound_store.recipe.digest
    assert found.bytes == sum(record.size for _, record in _records(sound_store))
    assert seen == list(range(1, 10))


def test_one_flipped_bit_in_any_file_is_found(store: Order) -> None:
    rng = np.random.default_rng(5)
    for span, record in _records(store):
        path = store.root / record.path
        sound = path.read_bytes()
        broken = bytearray(sound)
        broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        (fault,) = verify(store.root).faults
        path.write_bytes(sound)
        assert str(span) in fault
        assert record.path in fault
        assert "checksum" in fault
    assert verify(store.root).sound


def test_all_faults_are_told_not_the_first(store: Order) -> None:
    records = _records(store)[::3]
    for _, record in records:
        path = store.root / record.path
        broken = bytearray(path.read_bytes())
        broken[0] ^= 1
        path.write_bytes(broken)
    faults = verify(store.root).faults
    assert len(faults) == len(records)
    for (span, record), fault in zip(records, faults, strict=True):
        assert str(span) in fault
        assert record.path in fault


# `verify` lists such files among its faults instead
@pytest.mark.parametrize("reader", sorted(set(READERS) - {"verify"}))
@pytest.mark.parametrize(
    ("damage", "says"),
    [("truncate", "bytes instead of"), ("lengthen", "bytes instead of"), ("lose", "missing")],
)
def test_a_wrong_size_is_refused_on_opening(store: Order, reader: str, damage: str, says: str) -> None:
    span, record = _records(store)[17]
    path = store.root / record.path
    if damage == "lose":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-1] if damage == "truncate" else content + b"\0")
    with pytest.raises(StoreDamagedError, match=says) as caught:
        READERS[reader](store.root)
    assert str(span) in str(caught.value)
    assert record.path in str(caught.value)
    assert "repair" in caught.value.advice


@pytest.mark.parametrize("array", ["image", "label", "sample_id", "params"])
def test_swapped_shards_are_found(store: Order, array: str) -> None:
    spans = list(layout.spans(store.plan))
    one, other = (
        store.root / record.path
        for span, record in _records(store)
        if span in spans[:2] and f"/{array}/" in record.path
    )
    mine, theirs = one.read_bytes(), other.read_bytes()
    assert len(mine) == len(theirs)
    assert mine != theirs
    one.write_bytes(theirs)
    other.write_bytes(mine)
    faults = verify(store.root).faults
    assert [fault.split(":")[0] for fault in faults] == [str(span) for span in spans[:2]]


def _rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


ALTERED: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "manifest, a receipt less": ("manifest.json", lambda found: found["receipts"].pop()),
    "manifest, another checksum": (
        "manifest.json",
        lambda found: found["receipts"][0]["files"][0].update(sha256="0" * 64),
    ),
    "manifest, an unknown key": ("manifest.json", lambda found: found.update(more=1)),
    "marker, another seal": ("COMMIT.json", lambda found: found.update(manifest_sha256="0" * 64)),
    "marker, another recipe": ("COMMIT.json", lambda found: found.update(recipe_digest="0" * 64)),
    "marker, another format": ("COMMIT.json", lambda found: found.update(schema_version=3)),
    "recipe, other physics": (
        "recipe.json",
        lambda found: found.update(physics=found["physics"].replace("0.3", "0.31")),
    ),
    "recipe, another digest": ("recipe.json", lambda found: found.update(digest="0" * 64)),
    "recipe, another seed beside the digest": ("recipe.json", lambda found: found["recipe"].update(seed=7)),
    "recipe, a consistent other one": ("recipe.json", lambda found: found.update(_other_physics(found))),
    "schema, another number": ("schema.json", lambda found: found.update(title="a store")),
    "plan, another column": ("plan.json", lambda found: found["columns"][0].update(unit="kpc")),
    "plan, fewer rows": ("plan.json", lambda found: found["splits"][0].update(rows=41)),
    "plan, other versions": (
        "plan.json",
        lambda found: found["provenance"]["versions"].update(numpy="99.0"),
    ),
    "plan, another recipe": ("plan.json", lambda found: found.update(recipe_digest="0" * 64)),
    "plan, another format": ("plan.json", lambda found: found.update(schema_version=3)),
}


def _other_physics(found: dict[str, Any]) -> dict[str, str]:
    physics = canonical_json({**json.loads(found["physics"]), "seed": 7})
    return {"physics": physics, "digest": sha256_of(physics)}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("altered", ALTERED)
def test_altered_books_are_refused(store: Order, altered: str, reader: str) -> None:
    name, change = ALTERED[altered]
    _rewrite(store.root / commit.BOOKS / name, change)
    # a newer format is no damage, and said to be what it is
    newer = altered in ("marker, another format", "plan, another format")
    with pytest.raises(StoreConflictError if newer else StoreDamagedError) as caught:
        READERS[reader](store.root)
    assert str(store.root) in str(caught.value)
    assert caught.value.advice


@pytest.mark.parametrize("name", ["manifest.json", "COMMIT.json", "recipe.json", "plan.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff\xfe\x00"])
def test_books_that_cannot_be_read_are_refused(store: Order, name: str, content: bytes) -> None:
    (store.root / commit.BOOKS / name).write_bytes(content)
    with pytest.raises(StoreDamagedError, match=name.removesuffix(".json")):
        open_store(store.root)


@pytest.mark.parametrize("name", ["manifest.json", "recipe.json", "schema.json"])
def test_lost_books_are_refused(store: Order, name: str) -> None:
    (store.root / commit.BOOKS / name).unlink()
    with pytest.raises(StoreDamagedError, match=name):
        open_store(store.root)


@pytest.mark.parametrize(
    "name", ["zarr.json", "train/zarr.json", "train/image/zarr.json", "test/params/zarr.json"]
)
@pytest.mark.parametrize("damage", ["bit", "missing", "garbage"])
def test_damaged_metadata_is_found(store: Order, name: str, damage: str) -> None:
    path = store.root / name
    if damage == "missing":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"{")
    else:
        # a digit of a number or a letter of a name: still JSON, no longer what was written
        content = bytearray(path.read_bytes())
        content[content.index(b"zarr_format") + 3] ^= 1
        path.write_bytes(content)
    try:
        faults = verify(store.root).faults
    except LensmillError as error:
        faults = (str(error),)
    assert any(name in fault for fault in faults)


@pytest.mark.parametrize("reader", READERS)
def test_nothing_there_is_told_from_unfinished(tmp_path: Path, reader: str) -> None:
    with pytest.raises(StoreMissingError, match="there is no lensmill store"):
        READERS[reader](tmp_path / "none.zarr")
    (tmp_path / "foreign").mkdir()
    with pytest.raises(StoreMissingError, match="there is no lensmill store"):
        READERS[reader](tmp_path / "foreign")


@pytest.mark.parametrize("reader", READERS)
def test_an_unfinished_store_is_refused(sound_store: Order, tmp_path: Path, reader: str) -> None:
    order = replace(sound_store, root=tmp_path / "begun.zarr")
    commit.begin(order.root, order.recipe, order.plan)
    for span in list(layout.spans(order.plan))[:4]:
        make_shard(order.root, order.recipe, order.plan, span)
    with pytest.raises(StoreUnfinishedError, match="unfinished: 4 of 9 shards") as caught:
        READERS[reader](order.root)
    assert "simulate" in caught.value.advice
    assert not (tmp_path / "gallery.png").exists()


@pytest.mark.parametrize("reader", READERS)
def test_a_store_without_its_marker_is_refused(store: Order, reader: str) -> None:
    commit.unseal(store.root)
    with pytest.raises(StoreUnfinishedError, match="9 of 9 shards, no commit marker"):
        READERS[reader](store.root)


@pytest.fixture
def shard(sound_store: Order) -> tuple[Span, dict[str, Any]]:
    """A shard as it was rendered."""
    span = list(layout.spans(sound_store.plan))[1]
    return span, render(sound_store.recipe, layout.sample_ids(sound_store.recipe, span)).arrays()


def _faults(order: Order, shard: tuple[Span, dict[str, Any]]) -> list[str]:
    return commit.shard_faults(order.recipe, order.plan, *shard)


def test_a_rendered_shard_has_no_faults(sound_store: Order, shard: tuple[Span, dict[str, Any]]) -> None:
    assert _faults(sound_store, shard) == []


@pytest.mark.parametrize("array", ["image", "label", "sample_id", "params"])
def test_wrong_number_formats_and_shapes_are_told(
    sound_store: Order, shard: tuple[Span, dict[str, Any]], array: str
) -> None:
    span, arrays = shard
    for wrong in (arrays[array].astype(np.longdouble), arrays[array][:-1]):
        (fault,) = _faults(sound_store, (span, {**arrays, array: wrong}))
        assert fault.startswith(f"{array} is ")
        assert "expected" in fault


@pytest.mark.parametrize("array", ["label", "sample_id"])
def test_a_wrong_label_or_number_is_told(
    sound_store: Order, shard: tuple[Span, dict[str, Any]], array: str
) -> None:
    _, arrays = shard
    right = int(arrays[array][5])
    arrays[array][5] = -1
    fault = _faults(sound_store, shard)[0]
    assert fault == f"{array}: 1 of 8 rows wrong (row 5: -1 instead of {right})"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_is_told(
    sound_store: Order, shard: tuple[Span, dict[str, Any]], value: float
) -> None:
    _, arrays = shard
    arrays["image"][2, 0, 15, 15] = value
    arrays["image"][6] = value
    assert _faults(sound_store, shard) == ["image: 2 of 8 images not finite (row 2)"]


def test_opposite_infinities_do_not_cancel(sound_store: Order, shard: tuple[Span, dict[str, Any]]) -> None:
    _, arrays = shard
    arrays["image"][0, 0, 0, :2] = (np.inf, -np.inf)
    assert _faults(sound_store, shard) == ["image: 1 of 8 images not finite (row 0)"]


def test_parameters_out_of_bounds_or_place_are_told(
    sound_store: Order, shard: tuple[Span, dict[str, Any]]
) -> None:
    _, arrays = shard
    columns = sound_store.plan.columns
    names = [column.name for column in columns]
    special = next(position for position, column in enumerate(columns) if len(column.labels) == 1)
    stranger = int(np.flatnonzero(~np.isin(arrays["label"], columns[special].labels))[0])
    arrays["params"][3, names.index("theta_E")] = -1.0
    arrays["params"][4, names.index("z_lens")] = np.nan
    arrays["params"][stranger, special] = 1.0
    faults = _faults(sound_store, shard)
    assert len(faults) == 3
    assert any(fault.startswith("theta_E: 1 of 8 values not ") and "row 3" in fault for fault in faults)
    assert any(fault.startswith("z_lens: 1 of 8 values not finite (row 4") for fault in faults)
    assert any(fault.startswith(f"{names[special]}: 1 of 8 values set although") for fault in faults)


def test_all_faults_of_a_shard_are_told(sound_store: Order, shard: tuple[Span, dict[str, Any]]) -> None:
    _, arrays = shard
    names = [column.name for column in sound_store.plan.columns]
    arrays["sample_id"][0] = 10**6
    arrays["image"][1] = np.nan
    arrays["params"][2, names.index("theta_E")] = np.nan
    arrays["params"][2, names.index("z_source")] = np.inf
    assert [fault.split(":")[0] for fault in _faults(sound_store, shard)] == [
        "sample_id",
        "image",
        "z_source",
        "theta_E",
    ]


def test_a_sealed_store_with_wrong_content_is_found(store: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    # checksums of what was written are right, the content is not: the second half of verify
    span = list(layout.spans(store.plan))[6]
    arrays = render(store.recipe, layout.sample_ids(store.recipe, span)).arrays()
    arrays["label"] = np.roll(arrays["label"], 1)
    with monkeypatch.context() as patch:
        patch.setattr(commit, "shard_faults", lambda *_: [])
        commit.write_shard(store.root, store.recipe, store.plan, span, arrays)
    receipts = [commit.valid_receipt(store.root, store.plan, one) for one in layout.spans(store.plan)]
    commit.seal(store.root, store.recipe, store.plan, [one for one in receipts if one])
    faults = verify(store.root).faults
    assert faults
    assert all(str(span) in fault for fault in faults)
    assert f"{span}: label: 6 of 6 rows wrong" in faults[0]


def test_a_manifest_that_leaves_out_a_shard_is_found(store: Order) -> None:
    receipts = [commit.valid_receipt(store.root, store.plan, one) for one in layout.spans(store.plan)]
    commit.seal(store.root, store.recipe, store.plan, [one for one in receipts[:-1] if one])
    assert verify(store.root).faults == ("shard 1 of test: not in the manifest",)
