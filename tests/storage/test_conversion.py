"""Stores in another format: equal bits or the bound, the same identity, resumable, held to their source."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import google_crc32c
import numpy as np
import pytest

from flows.generate import Order
from schemas.errors import (
    DataError,
    LensmillError,
    StoreConflictError,
    StoreDamagedError,
    StoreUnfinishedError,
    UnknownNameError,
    WriteError,
)
from storage import catalogue, commit, layout, profiles
from storage.conversion import convert
from storage.formats import BACKENDS
from storage.info import info
from storage.layout import Span
from storage.reader import Store, open_store
from storage.verify import verify

FormatStore = Callable[[str, str], Order]
BytesOf = Callable[[Path], dict[str, bytes]]
SPLITS = ("train", "val", "test")


def _shard_files(root: Path, bytes_of: BytesOf) -> dict[str, bytes]:
    listed = {file.path for receipt in open_store(root).manifest.receipts for file in receipt.files}
    return {path: content for path, content in bytes_of(root).items() if path in listed}


def _assert_same(one: Store, other: Store, *, codes: bool = False) -> None:
    """Every array bit by bit, and every row of the catalogue."""
    for split in SPLITS:
        for spec in one.plan.decoded:
            read = (store.read(split, spec.name).tobytes() for store in (one, other))
            assert len(set(read)) == 1, spec.name
    if codes:
        assert one.codes("train", "image").tobytes() == other.codes("train", "image").tobytes()
    for sample in (0, 1, 2, 59):
        mine, theirs = one.subhalos(sample), other.subhalos(sample)
        for name, values in mine.items():
            assert list(map(str, values)) == list(map(str, theirs[name]))


def test_there_and_back_gives_the_files_of_the_original(
    format_store: FormatStore, tmp_path: Path, bytes_of: BytesOf
) -> None:
    original = format_store("zarr", "float32").root
    there = convert(original, tmp_path / "there", to="hdf5")
    back = convert(tmp_path / "there", tmp_path / "back", to="zarr")
    assert (there.made, there.rows, there.errors, back.errors) == (9, 60, (), ())
    _assert_same(open_store(original), open_store(tmp_path / "there"))
    assert _shard_files(tmp_path / "back", bytes_of) == _shard_files(original, bytes_of)
    assert (tmp_path / "back/lensmill/recipe.json").read_bytes() == (
        original / "lensmill/recipe.json"
    ).read_bytes()
    assert verify(tmp_path / "there").sound
    assert verify(tmp_path / "back").sound
    assert _shard_files(tmp_path / "there", bytes_of) == _shard_files(
        format_store("hdf5", "float32").root, bytes_of
    )


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("profile", ["quantised", "archive"])
def test_quantising_later_gives_the_files_of_quantising_at_once(
    format_store: FormatStore, tmp_path: Path, bytes_of: BytesOf, backend: str, profile: str
) -> None:
    source, direct = format_store("zarr", "float32").root, format_store(backend, profile).root
    found = convert(source, tmp_path / "new", to=backend, profile=profile)
    assert _shard_files(tmp_path / "new", bytes_of) == _shard_files(direct, bytes_of)
    for mine, theirs in zip(
        open_store(tmp_path / "new").manifest.receipts, open_store(direct).manifest.receipts, strict=True
    ):
        assert mine.errors == theirs.errors
    assert {error.map for error in found.errors} == {"image", "noise_free", "convergence", "deflection"}


def test_codes_go_over_as_they_are(format_store: FormatStore, tmp_path: Path) -> None:
    quantised = open_store(format_store("zarr", "quantised").root)
    convert(quantised.root, tmp_path / "archive", to="hdf5", profile="archive")
    archive = open_store(tmp_path / "archive")
    _assert_same(quantised, archive, codes=True)
    assert [one.errors for one in archive.manifest.receipts] == [
        one.errors for one in quantised.manifest.receipts
    ]


@pytest.mark.parametrize("size", [4, 16, 64])
def test_shards_of_another_size(
    format_store: FormatStore,
    tmp_path: Path,
    bytes_of: BytesOf,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    size: int,
) -> None:
    source = format_store("zarr", "quantised")
    convert(source.root, tmp_path / "new", shard_size=size)
    new = open_store(tmp_path / "new")
    assert new.plan.shard_rows == size
    _assert_same(open_store(source.root), new, codes=True)
    assert verify(new.root).sound
    if size == 16:
        products = f"products=[{', '.join(source.recipe.products)}]"
        direct = order_small(
            tmp_path / "direct", products, "storage.profile=quantised", "storage.shard_images=16"
        )
        make_store(direct)
        assert _shard_files(new.root, bytes_of) == _shard_files(direct.root, bytes_of)
    # a large shard takes the worst of those that it holds
    worst = [max(error.worst for error in one.errors) for one in open_store(source.root).manifest.receipts]
    found = [max(error.worst for error in one.errors) for one in new.manifest.receipts]
    assert max(found) == max(worst)


def test_what_was_lost_stays_lost_and_is_said(format_store: FormatStore, tmp_path: Path) -> None:
    exact = open_store(format_store("zarr", "float32").root)
    quantised = open_store(format_store("zarr", "quantised").root)
    convert(exact.root, tmp_path / "plain", to="hdf5")
    convert(quantised.root, tmp_path / "floats", profile="float32")
    convert(tmp_path / "floats", tmp_path / "again", profile="archive")
    lossy = {
        name: [step.lossy for step in open_store(tmp_path / name).plan.provenance.conversions]
        for name in ("plain", "floats", "again")
    }
    assert lossy == {"plain": [False], "floats": [True], "again": [True, True]}
    floats, again = open_store(tmp_path / "floats"), open_store(tmp_path / "again")
    _assert_same(quantised, floats)
    assert floats.plan.array("image").dtype == "float32"
    for step in (floats, again):
        for receipt in step.manifest.receipts:
            rows = slice(receipt.first_row, receipt.first_row + receipt.rows)
            for error in receipt.errors:
                values = (store.read(receipt.split, error.map, rows) for store in (exact, step))
                off = np.abs(np.subtract(*values, dtype=np.float64)).max()
                assert off <= error.worst * (1 + 1e-6) <= error.bound * (1 + 1e-6)


def test_provenance_keeps_what_made_the_data(format_store: FormatStore, tmp_path: Path) -> None:
    source = format_store("zarr", "float32")
    convert(source.root, tmp_path / "one", to="hdf5")
    convert(tmp_path / "one", tmp_path / "two", to="zarr", profile="archive")
    new, old = open_store(tmp_path / "two"), open_store(source.root)
    assert new.stored == old.stored
    assert new.plan.recipe_digest == old.plan.recipe_digest
    made_by = new.plan.provenance
    assert (made_by.engine, made_by.versions) == (old.plan.provenance.engine, old.plan.provenance.versions)
    first, second = made_by.conversions
    manifest = (source.root / "lensmill/manifest.json").read_bytes()
    assert first.manifest_sha256 == hashlib.sha256(manifest).hexdigest()
    assert (first.backend, first.profile, set(first.versions)) == (
        "zarr",
        "float32",
        {"lensmill", "numpy", "h5py", "pyarrow"},
    )
    assert (second.backend, second.lossy) == ("hdf5", True)
    assert "numcodecs" in second.versions
    assert info(new.root).provenance.conversions == (first, second)


def test_a_recipe_keeps_its_spelling(format_store: FormatStore, tmp_path: Path) -> None:
    """Newer code may write the same recipe in other words: the store's own are kept."""
    source = tmp_path / "older"
    shutil.copytree(format_store("zarr", "float32").root, source)
    _respell(source)
    convert(source, tmp_path / "new", to="hdf5")
    new, old = open_store(tmp_path / "new"), open_store(source)
    assert new.stored == old.stored
    assert new.stored.digest != new.recipe.digest
    assert convert(source, tmp_path / "new", to="hdf5").made == 0


def _respell(root: Path) -> None:
    """A store whose digest is of a text that today's code would not write."""
    book = json.loads((root / commit.RECIPE).read_text())
    old, book["physics"] = book["digest"], book["physics"].replace(":", ": ", 1)
    new = hashlib.sha256(book["physics"].encode()).hexdigest()
    book["digest"] = new
    (root / commit.RECIPE).write_text(json.dumps(book))

    def rewrite(path: Path, *more: tuple[str, str]) -> None:
        text = path.read_text()
        for before, after in ((old, new), *more):
            text = text.replace(before, after)
        path.write_text(text)

    plan_before = commit.plan_digest(root)
    rewrite(root / commit.PLAN)
    plan = (plan_before, commit.plan_digest(root))
    for receipt in (root / commit.RECEIPTS).rglob("*.json"):
        rewrite(receipt, plan)
    manifest = json.loads((root / commit.MANIFEST).read_text().replace(old, new).replace(*plan))
    manifest["recipe_sha256"] = hashlib.sha256((root / commit.RECIPE).read_bytes()).hexdigest()
    (root / commit.MANIFEST).write_text(json.dumps(manifest))
    marker = json.loads((root / commit.MARKER).read_text().replace(old, new))
    marker["manifest_sha256"] = hashlib.sha256((root / commit.MANIFEST).read_bytes()).hexdigest()
    (root / commit.MARKER).write_text(json.dumps(marker))


# -- interrupted, damaged, refused


def test_a_killed_conversion_goes_on(
    format_store: FormatStore, tmp_path: Path, bytes_of: BytesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = format_store("zarr", "float32").root, tmp_path / "new"
    whole = convert(source, tmp_path / "whole", to="hdf5", profile="quantised")
    real, written = commit.write_shard, []

    def dies(root: Path, *rest: Any, **more: Any) -> Any:
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(rest[2])
        return real(root, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(commit, "write_shard", dies)
        with pytest.raises(KeyboardInterrupt):
            convert(source, out, to="hdf5", profile="quantised")
    with pytest.raises(StoreUnfinishedError):
        open_store(out)
    assert convert(source, out, to="hdf5", profile="quantised").made == whole.shards - len(written)
    assert bytes_of(out) == bytes_of(tmp_path / "whole")
    assert convert(source, out, to="hdf5", profile="quantised").made == 0


def test_a_rerun_mends_the_new_store(format_store: FormatStore, tmp_path: Path, bytes_of: BytesOf) -> None:
    source, out = format_store("zarr", "float32").root, tmp_path / "new"
    convert(source, out, profile="archive")
    before = bytes_of(out)
    path = out / "train/image/c/2/0/0/0"
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    assert convert(source, out, profile="archive").made == 1
    assert bytes_of(out) == before


def test_a_damaged_source_is_refused(format_store: FormatStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(format_store("zarr", "float32").root, source)
    path = source / "test/image/c/1/0/0/0"
    content = bytearray(path.read_bytes())
    # data and the chunk's own checksum alike, so that only SHA-256 tells
    chunk = len(content) - 4 - 16 - 4
    content[5] ^= 1
    content[chunk : chunk + 4] = int(google_crc32c.value(bytes(content[:chunk]))).to_bytes(4, "little")
    path.write_bytes(content)
    assert open_store(source).read("test", "image").shape == (12, 1, 16, 16)
    with pytest.raises(StoreDamagedError, match="test/image/c/1"):
        convert(source, tmp_path / "new", to="hdf5")
    with pytest.raises(StoreUnfinishedError):
        open_store(tmp_path / "new")


@pytest.mark.parametrize("name", ["image", "label", "params", "image_scale", "subhalos"])
def test_a_shard_that_is_not_as_the_source_is_an_error(
    format_store: FormatStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real, tables = type(BACKENDS["hdf5"]).read_shard, catalogue.read

    def misread(self: Any, root: Path, plan: Any, span: Span, array: str, *rows: Any) -> Any:
        found = real(self, root, plan, span, array, *rows)
        return found + 1 if array == name and span == Span("train", 2, 16, 8) else found

    def other_table(root: Path, plan: Any, span: Span, *rest: Any) -> Any:
        found = dict(tables(root, plan, span, *rest))
        if name == "subhalos" and root == tmp_path / "new" and span.shard == 2:
            found["mass_msun"] = found["mass_msun"] * 2
        return found

    monkeypatch.setattr(type(BACKENDS["hdf5"]), "read_shard", misread)
    monkeypatch.setattr(catalogue, "read", other_table)
    with pytest.raises(
        StoreDamagedError, match=f"shard 2 of train.*\n.*{name.removesuffix('_scale')}"
    ) as caught:
        convert(format_store("zarr", "float32").root, tmp_path / "new", to="hdf5", profile="quantised")
    assert caught.value.advice
    monkeypatch.undo()
    plan = commit.read_json(tmp_path / "new" / commit.PLAN, type(format_store("hdf5", "float32").plan))
    assert commit.valid_receipt(tmp_path / "new", plan, Span("train", 2, 16, 8)) is None
    assert not (tmp_path / "new" / commit.MARKER).exists()


def test_values_off_by_more_than_the_bound_are_an_error(
    format_store: FormatStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = profiles.decode
    monkeypatch.setattr(profiles, "decode", lambda codes, scales: real(codes, scales * np.float32(1.001)))
    with pytest.raises(StoreDamagedError, match="off by more than the bound"):
        convert(format_store("zarr", "float32").root, tmp_path / "new", profile="quantised")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"to": "hdf"}, UnknownNameError, "hdf5, zarr"),
        ({"profile": "uint8"}, UnknownNameError, "archive, float32, quantised"),
        ({"shard_size": 12}, DataError, "power of two"),
        ({}, DataError, "already"),
        ({"to": "zarr", "profile": "float32", "shard_size": 8}, DataError, "already"),
    ],
)
def test_odd_options_are_refused_and_nothing_written(
    format_store: FormatStore, tmp_path: Path, options: Any, error: type[LensmillError], words: str
) -> None:
    with pytest.raises(error, match=words):
        convert(format_store("zarr", "float32").root, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_places_that_hold_something_else_are_refused(
    format_store: FormatStore, tmp_path: Path, bytes_of: BytesOf
) -> None:
    source = format_store("zarr", "float32").root
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("years of work")
    with pytest.raises(StoreConflictError, match="no lensmill store"):
        convert(source, tmp_path / "full", to="hdf5")
    before = bytes_of(format_store("hdf5", "archive").root)
    with pytest.raises(StoreConflictError, match="conversions none"):
        convert(source, format_store("hdf5", "archive").root, to="hdf5", profile="archive")
    assert bytes_of(format_store("hdf5", "archive").root) == before
    for out in (source, source / "inside", source.parent):
        with pytest.raises(WriteError, match="one is inside the other"):
            convert(source, out, to="hdf5")


def test_an_unfinished_source_is_refused(format_store: FormatStore, tmp_path: Path) -> None:
    shutil.copytree(format_store("zarr", "float32").root, tmp_path / "source")
    commit.unseal(tmp_path / "source")
    with pytest.raises(StoreUnfinishedError):
        convert(tmp_path / "source", tmp_path / "new", to="hdf5")
    assert not (tmp_path / "new").exists()


def test_a_disk_that_is_too_small_is_told_before(
    format_store: FormatStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(WriteError, match="free"):
        convert(format_store("zarr", "float32").root, tmp_path / "new", to="hdf5")
    assert not (tmp_path / "new").exists()


def test_simulate_leaves_a_converted_store_alone(
    format_store: FormatStore, tmp_path: Path, order_small: Callable[..., Order], bytes_of: BytesOf
) -> None:
    source = format_store("zarr", "float32")
    convert(source.root, tmp_path / "new", to="hdf5")
    before = bytes_of(tmp_path / "new")
    products = f"products=[{', '.join(source.recipe.products)}]"
    with pytest.raises(StoreConflictError, match="conversions from zarr float32"):
        order_small(tmp_path / "new", products, "storage.backend=hdf5")
    assert bytes_of(tmp_path / "new") == before


def test_progress_ends_with_all_rows(format_store: FormatStore, tmp_path: Path) -> None:
    told: list[int] = []
    convert(format_store("zarr", "float32").root, tmp_path / "new", to="hdf5", progress=told.append)
    assert told == sorted(told)
    assert told[-1] == sum(split.rows for split in format_store("zarr", "float32").plan.splits)
    assert len(told) == layout.shard_count(format_store("zarr", "float32").plan)
