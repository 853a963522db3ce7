"""Every form of source becomes the same kind of store, which can be made again, continued and traced back."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from flows.importing import import_data
from schemas.errors import DataError, StoreConflictError
from schemas.imported import ImportedData, ImportOptions, shares
from storage import commit
from storage.importing import orders
from storage.importing.orders import SOURCES, source_of
from storage.info import info
from storage.pictures.gallery import show
from storage.reader import Store
from storage.verify import verify
from tests.sources import CLASSES, SIDE, by_sample, folders, images, imported, refused, warned, write_csv

BytesOf = Callable[[Path], dict[str, bytes]]
COUNT = 30
STACK = images(COUNT, 9)
LABELS = np.arange(COUNT) % 3
MASS = np.where(LABELS == 2, np.linspace(1, 2, COUNT), np.nan)


def assert_holds(store: Store, expected: Any, labels: Sequence[int]) -> None:
    """All images, in the order of their numbers."""
    found = np.stack(list(by_sample(store).values()))
    want = np.asarray(expected, np.float32)
    np.testing.assert_array_equal(found, want[:, None] if want.ndim == 3 else want)
    assert list(by_sample(store, "label").values()) == list(labels)


@pytest.fixture(scope="module")
def deeplense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of classes. Not to be changed."""
    return folders(tmp_path_factory.mktemp("deeplense") / "Model_X")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Folders of classes, to be changed."""
    return folders(tmp_path / "mine")


def test_deeplense_folders(deeplense: Path, tmp_path: Path) -> None:
    store = imported(deeplense, tmp_path / "o.zarr", pixel_scale_arcsec=0.05)
    assert [(one.name, one.label) for one in store.plan.classes] == [("axion", 0), ("cdm", 1), ("no_sub", 2)]
    assert {one.name: one.rows for one in store.plan.splits} == {"train": 35, "val": 5, "test": 10}
    expected = np.concatenate([images(count, k) for k, count in enumerate(CLASSES.values())])
    assert_holds(store, expected, [0] * 10 + [1] * 20 + [2] * 20)
    column, copies = store.plan.columns
    assert (copies.name, copies.derived) == ("copies", True)
    assert (column.name, column.unit, column.labels) == ("axion_mass_ev", "eV", (0,))
    mass = np.array(list(by_sample(store, "params").values()))[:, 0]
    np.testing.assert_array_equal(mass[:10], [10.0 ** (-24 + 2 * at / 10) for at in range(10)])
    assert np.isnan(mass[10:]).all()


def test_a_store_of_imported_data_tells_what_it_is(deeplense: Path, tmp_path: Path) -> None:
    store = imported(deeplense, tmp_path / "o.zarr", name="deep", description="old", pixel_scale_arcsec=0.05)
    found = info(store.root)
    assert (found.recipe, found.family, found.description, found.seed) == ("deep", "imported", "old", 0)
    assert found.pixel_scale_arcsec == 0.05
    assert show(store.root, tmp_path / "g.png").stat().st_size > 10_000
    assert isinstance(store.origin, ImportedData)
    assert (store.origin.files, store.origin.source) == (50, str(deeplense))
    with pytest.raises(DataError, match="no recipe") as caught:
        assert store.recipe
    assert "simulated" in caught.value.expected


def test_every_sample_leads_back_to_its_file(deeplense: Path, tmp_path: Path) -> None:
    store = imported(deeplense, tmp_path / "o.zarr")
    assert source_of(store, 0) == "axion/000.npy"
    assert source_of(store, 49) == "no_sub/019.npy"
    table = pq.read_table(store.root / SOURCES)
    assert table.column_names == ["sample_id", "class", "source"]
    assert len(table) == 50
    # the list is sealed: a changed byte is found
    content = bytearray((store.root / SOURCES).read_bytes())
    content[len(content) // 2] ^= 1
    (store.root / SOURCES).write_bytes(content)
    assert any(SOURCES in fault for fault in verify(store.root).faults)


def test_folders_may_say_the_splits(tmp_path: Path) -> None:
    for seed, (split, count) in enumerate({"train": 6, "val": 2, "test": 3}.items()):
        folders(tmp_path / "s" / split, {"cdm": count, "no_sub": count + 1}, seed)
    store = imported(tmp_path / "s", tmp_path / "o.zarr")
    assert {one.name: one.rows for one in store.plan.splits} == {"train": 13, "val": 5, "test": 7}
    # names that are known keep the label that they have everywhere
    assert {one.name: one.label for one in store.plan.classes} == {"no_sub": 0, "cdm": 1}
    test = {source_of(store, int(one)) for one in store.read("test", "sample_id")}
    assert all(name.startswith("test/") for name in test)
    assert any("--splits are given" in line for line in refused(tmp_path / "s", splits=shares("0.5,0,0.5")))


@pytest.mark.parametrize("form", ["npy", "npz", "packed npz", "hdf5", "fits", "packed fits"])
def test_stacks_of_every_form_are_the_same(tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    if form == "npy":
        np.save(source / "images.npy", STACK)
    if form == "fits":
        fits.writeto(source / "images.fits", STACK.astype(">f8"))
    if form == "packed fits":
        fits.writeto(source / "images.fits.gz", STACK.astype(">f8"))
    if form in ("npy", "fits", "packed fits"):
        np.save(source / "labels.npy", LABELS)
        write_csv(
            source / "params.csv",
            ["mass [Msun]"],
            [["" if np.isnan(one) else repr(float(one))] for one in MASS],
        )
    if form == "npz":
        np.savez(source / "data.npz", images=STACK, labels=LABELS, mass=MASS)
    if form == "packed npz":
        np.savez_compressed(source / "data.npz", images=STACK, labels=LABELS, mass=MASS)
    if form == "hdf5":
        with h5py.File(source / "data.h5", "w") as file:
            file.create_dataset("some/images", data=STACK, chunks=(7, SIDE, SIDE), compression="gzip")
            file["some/labels"], file["some/mass"] = LABELS, MASS
    store = imported(source, tmp_path / "o.zarr", class_order=("smooth", "cdm", "vortex_like"))
    order = np.argsort(LABELS, kind="stable")
    assert_holds(store, STACK[order], LABELS[order].tolist())
    assert [one.name for one in store.plan.classes] == ["smooth", "cdm", "vortex_like"]
    mass = np.array(list(by_sample(store, "params").values()))[:, 0]
    np.testing.assert_array_equal(mass, MASS[order])
    assert [(one.name, one.labels) for one in store.plan.columns[:-1]] == [("mass", (2,))]
    assert source_of(store, 1).endswith("[3]")


def test_one_stack_for_each_class(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s/No-Sub.npy", STACK[:12])
    np.save(tmp_path / "s/sphere.npy", STACK[12:].astype(np.float32))
    store = imported(tmp_path / "s", tmp_path / "o.zarr", class_order=("sphere", "no_sub"))
    assert_holds(store, np.concatenate([STACK[12:], STACK[:12]]), [0] * 18 + [1] * 12)


@pytest.mark.parametrize("ending", ["fits", "fits.gz"])
def test_fits_files_in_folders_with_a_table(tmp_path: Path, ending: str) -> None:
    rows = []
    for name in ("cdm", "no_sub"):
        (tmp_path / "s" / name).mkdir(parents=True)
        for at, image in enumerate(images(6, len(name))):
            # scaled integers, as telescopes write them
            unit = fits.PrimaryHDU((1000 * image).astype(np.int16))
            unit.header["BSCALE"], unit.header["BZERO"] = 0.5, 8.0
            unit.writeto(tmp_path / "s" / name / f"{at}.{ending}")
            rows.append([f"{name}/{at}.{ending}", at + 0.5, ""])
    table = write_csv(tmp_path / "t.csv", ["file", "theta_E[arcsec]", "nothing"], rows)
    store = imported(tmp_path / "s", tmp_path / "o.zarr", table=str(table), columns=("theta_E",))
    assert [(one.name, one.unit, one.labels) for one in store.plan.columns[:-1]] == [
        ("theta_E", "arcsec", (0, 1))
    ]
    np.testing.assert_array_equal(
        np.array(list(by_sample(store, "params").values()))[:, 0], np.tile(np.arange(6) + 0.5, 2)
    )
    first = (1000 * images(6, len("no_sub"))[0]).astype(np.int16) * 0.5 + 8
    np.testing.assert_array_equal(by_sample(store)[0][0], first.astype(np.float32))


def test_labels_may_be_words_or_in_the_table(tmp_path: Path) -> None:
    for name in ("words", "table"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "images.npy", STACK)
    words = np.array(["CDM", "no sub", "vortex"])[LABELS]
    np.save(tmp_path / "words/labels.npy", words)
    write_csv(tmp_path / "table/params.csv", ["class", "x"], [[word, 1.0] for word in words])
    for name in ("words", "table"):
        store = imported(tmp_path / name, tmp_path / f"{name}.zarr")
        assert {one.name: one.label for one in store.plan.classes} == {"no_sub": 0, "cdm": 1, "vortex": 2}


@pytest.mark.parametrize("last", [False, True])
def test_three_channels(tmp_path: Path, last: bool) -> None:
    colour = np.stack([STACK, STACK + 1, STACK + 2], axis=-1 if last else 1)
    np.savez(tmp_path / "s.npz", images=colour, labels=LABELS)
    if last:
        assert any("--channels-last" in line for line in refused(tmp_path / "s.npz"))
    store = imported(tmp_path / "s.npz", tmp_path / "o.zarr", channels_last=last)
    assert store.plan.array("image").tail == (3, SIDE, SIDE)
    np.testing.assert_array_equal(by_sample(store)[0][2], (STACK[0] + 2).astype(np.float32))


def test_one_class_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", STACK)
    store = imported(tmp_path / "images.npy", tmp_path / "o.zarr", splits=shares("0.8,0,0.2"))
    assert [one.name for one in store.plan.classes] == ["images"]
    assert [one.name for one in store.plan.splits] == ["train", "test"]
    assert any("one class" in line for line in warned(tmp_path / "images.npy"))


def test_the_same_source_gives_the_same_bytes(deeplense: Path, tmp_path: Path, bytes_of: BytesOf) -> None:
    one, other = (imported(deeplense, tmp_path / name) for name in ("one.zarr", "other.zarr"))
    assert bytes_of(one.root) == bytes_of(other.root)


def test_identity_is_the_contents_and_not_the_place(deeplense: Path, tmp_path: Path) -> None:
    moved = folders(tmp_path / "elsewhere")
    digests = {
        name: json.loads((imported(source, tmp_path / name, **options).root / commit.RECIPE).read_text())[
            "digest"
        ]
        for name, source, options in (
            ("a", deeplense, {}),
            ("b", moved, {"name": "other"}),
            ("c", moved, {"seed": 1}),
            ("d", moved, {"class_order": ("no_sub", "cdm", "axion")}),
        )
    }
    assert digests["a"] == digests["b"]
    assert len(set(digests.values())) == 3
    np.save(moved / "cdm/000.npy", images(1, 77)[0])
    with pytest.raises(StoreConflictError, match="holds recipe"):
        import_data(moved, tmp_path / "a", quiet=True)


class Died(BaseException):
    """Stands for a process that ends in the middle."""


def test_a_killed_import_is_resumed_to_the_same_bytes(
    deeplense: Path, tmp_path: Path, bytes_of: BytesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = imported(deeplense, tmp_path / "whole.zarr")
    real, written = orders.write_shard, []

    def dies(order: Any, span: Any) -> Any:
        if len(written) == 3:
            raise Died
        written.append(span)
        return real(order, span)

    out = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("flows.importing.write_shard", dies)
        with pytest.raises(Died):
            import_data(deeplense, out, ImportOptions(shard_images=8), quiet=True)
    assert not (out / commit.MARKER).exists()
    made = import_data(deeplense, out, ImportOptions(shard_images=8), quiet=True)
    assert made is not None
    assert (made.made, made.shards) == (5, 8)
    assert bytes_of(out) == bytes_of(whole.root)
    again = import_data(deeplense, out, ImportOptions(shard_images=8), quiet=True)
    assert again is not None
    assert again.made == 0


def test_a_source_that_changes_meanwhile_is_noticed(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = orders.write_shard

    def changing(order: Any, span: Any) -> Any:
        np.save(mine / "cdm/000.npy", images(1, 5)[0])
        return real(order, span)

    monkeypatch.setattr("flows.importing.write_shard", changing)
    with pytest.raises(DataError, match=r"cdm/000\.npy changed while"):
        import_data(mine, tmp_path / "o.zarr", quiet=True)
    assert not (tmp_path / "o.zarr" / commit.MARKER).exists()


def test_a_target_with_something_else_is_refused(deeplense: Path, sound_store: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreConflictError, match="'tiny'"):
        import_data(deeplense, sound_store.root, quiet=True)
    (tmp_path / "o").mkdir()
    (tmp_path / "o/thesis.tex").write_text("mine")
    with pytest.raises(StoreConflictError, match=r"thesis\.tex"):
        import_data(deeplense, tmp_path / "o", quiet=True)
