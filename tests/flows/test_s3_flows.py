"""The command and the flow with a store on a real S3 server."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from flows import repair as repairing
from flows.generate import Order
from flows.regenerate import next_version
from flows.shards import make_shard
from schemas.store import Receipt
from storage import commit
from storage.files.object_path import ObjectPath
from storage.layout import Span
from storage.reader import Store, open_store
from storage.reading.epochs import Batching
from storage.reading.resident import open_rows
from tests.s3 import KEY, S3, SECRET

MIXING = Batching(batch=5, seed=3, mixed=2)
BytesOf = Callable[[Any], dict[str, bytes]]
Lensmill = Callable[..., Any]


@pytest.fixture(scope="module")
def there(s3: S3, sound_store: Order, bytes_of: BytesOf) -> ObjectPath:
    """A finished store on the server."""
    return _upload(sound_store, s3.new_root("small.zarr"), bytes_of)


def _upload(order: Order, root: ObjectPath, bytes_of: BytesOf) -> ObjectPath:
    for path, content in bytes_of(order.root).items():
        (root / path).put(content)
    return root


@pytest.mark.slow
def test_a_real_run_with_dask_workers_writes_there(
    s3: S3, start: Lensmill, small_overrides: list[str], sound_store: Order, bytes_of: BytesOf
) -> None:
    root = s3.new_root("made.zarr")
    changed = [word for one in small_overrides for word in ("--set", one)]
    options = ("simulate", "tiny", "--out", str(root), "--workers", "1", *changed)
    command = start(*options)
    said = command.wait()
    assert said.code == 0, said
    assert "9 of 9 shards made" in said.out
    assert f"{root}: 60 images" in said.out
    command.wait_until_alone()
    assert bytes_of(root) == bytes_of(sound_store.root)
    assert not [word for word in (KEY, SECRET) if word in said.out + said.err]


def test_info_and_verify_take_a_url(lensmill: Lensmill, there: ObjectPath, sound_store: Order) -> None:
    said = lensmill("info", f"{there}/", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert found["store"] == str(there)
    assert found["digest"] == sound_store.recipe.digest
    said = lensmill("verify", there)
    assert said.code == 0, said
    assert f"{there} is sound: 60 rows, 9 shards" in said.out


def test_show_sample_and_audit_take_a_url(lensmill: Lensmill, there: ObjectPath, tmp_path: Path) -> None:
    assert lensmill("show", there, "--out", tmp_path / "a.png").code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    said = lensmill("sample", there, "--index", "7")
    assert said.code == 0, said
    assert "as stored, bit by bit: image" in said.out
    # too few samples to find anything; what counts is that it was read
    said = lensmill("audit", there, "--out", tmp_path / "audit", "--quiet", "--columns", "theta_E")
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["about"]["store"] == str(there)


def test_simulate_here_completes_there(there: ObjectPath, sound_store: Order, simulate_here: Any) -> None:
    order = replace(sound_store, root=there)
    (there / "val/label/c/0").unlink()
    summary = simulate_here(order)
    assert (summary.store, summary.made) == (str(there), 1)
    assert open_store(there).read("val", "label").tolist()


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "STORE", "--out", "s3://bucket/a.png"),
        ("audit", "STORE", "--out", "s3://bucket/audit"),
        ("sample", "STORE", "--index", "1", "--out", "s3://bucket/sample"),
        ("train", "classify_tiny", "--data", "STORE", "--out", "s3://bucket/run"),
        ("evaluate", "s3://bucket/run", "--data", "STORE"),
        ("predict", "s3://bucket/run", "STORE"),
        ("run", "tiny", "--out", "s3://bucket/demo"),
    ],
)
def test_what_must_be_local_is_refused(
    lensmill: Lensmill,
    there: ObjectPath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = lensmill(*(str(there) if one == "STORE" else one for one in arguments))
    assert said.code == 2
    assert "a URL is given where a path on a disk is needed" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "told", "code"),
    [
        ("s3://no-such-bucket/a.zarr", "there is no bucket 'no-such-bucket'", 1),
        (
            "s3://lensmill-tests/nothing.zarr",
            "there is no lensmill store at s3://lensmill-tests/nothing.zarr",
            2,
        ),
        ("s3://lensmill-tests", "the S3 address names no prefix", 2),
        ("ftp://host/a.zarr", "a store cannot be at a ftp address", 2),
    ],
)
@pytest.mark.parametrize("command", ["info", "verify", "show"])
def test_an_address_that_leads_nowhere_is_one_message(
    lensmill: Lensmill, s3: S3, command: str, address: str, told: str, code: int
) -> None:
    said = lensmill(command, address)
    assert said.code == code
    assert told in said.err
    assert "Traceback" not in said.err + said.out


def test_simulate_refuses_before_anything_starts(
    lensmill: Lensmill, s3: S3, small_overrides: list[str]
) -> None:
    changed = [word for one in small_overrides for word in ("--set", one)]
    said = lensmill("simulate", "tiny", "--out", "s3://no-such-bucket/a.zarr", *changed)
    assert said.code == 1
    assert "there is no bucket 'no-such-bucket'" in said.err
    with s3.closed_to_strangers():
        said = lensmill("simulate", "tiny", "--out", "s3://lensmill-tests/a.zarr", *changed)
    assert said.code == 1
    assert "denies access" in said.err
    assert not [word for word in (KEY, SECRET) if word in said.out + said.err]


def test_versions_of_a_lineage_are_found_there(s3: S3, there: ObjectPath) -> None:
    root = s3.new_root("lineage")
    assert next_version(root) == 1
    (root / "v0003.zarr" / commit.MARKER).put(b"{}")
    (root / "v12.zarr" / commit.MARKER).put(b"{}")
    assert next_version(root) == 4
    (root / "v0004.zarr" / commit.PLAN).put(b"{}")
    assert next_version(root) == 4


def test_a_model_is_trained_and_measured_on_a_store_there(
    lensmill: Lensmill, there: ObjectPath, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    run = tmp_path / "run"
    quick = ("--set", "training.epochs=1", "--set", "training.batch_size=16", "--quiet")
    said = lensmill("train", "classify_tiny", "--data", there, "--out", run, *quick)
    assert said.code == 0, said
    said = lensmill("evaluate", run, "--data", there)
    assert said.code == 0, said
    said = lensmill("predict", run, there, "--out", tmp_path / "table.csv")
    assert said.code == 0, said
    assert str(there) in (tmp_path / "table.csv").read_text()


def test_repair_makes_what_is_damaged_there(
    lensmill: Lensmill, s3: S3, sound_store: Order, bytes_of: BytesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _upload(sound_store, s3.new_root("damaged.zarr"), bytes_of)
    content = bytearray((root / "train/image/c/2/0/0/0").read_bytes())
    content[100] ^= 1
    (root / "train/image/c/2/0/0/0").put(bytes(content))
    (root / "val/label/c/0").unlink()

    def make_here(order: Order, spans: list[Span], *_: Any) -> dict[Span, Receipt]:
        return {span: make_shard(order.root, order.recipe, order.plan, span) for span in spans}

    monkeypatch.setattr(repairing, "_make", make_here)
    said = lensmill("repair", root)
    assert said.code == 0, said
    assert lensmill("verify", root).code == 0
    repaired, sound = bytes_of(root), bytes_of(sound_store.root)
    for path in ("train/image/c/2/0/0/0", "val/label/c/0", "zarr.json"):
        assert repaired[path] == sound[path]


def test_a_store_goes_there_quantised_and_comes_back_in_another_format(
    lensmill: Lensmill, s3: S3, sound_store: Order, tmp_path: Path
) -> None:
    there, back = s3.new_root("quantised.zarr"), tmp_path / "back.h5store"
    said = lensmill("convert", sound_store.root, "--out", there, "--profile", "archive", "--quiet")
    assert said.code == 0, said
    said = lensmill("convert", there, "--out", back, "--to", "hdf5", "--quiet")
    assert said.code == 0, said
    codes = [open_store(root).codes("train", "image", slice(0, 20)) for root in (there, back)]
    assert codes[0].tobytes() == codes[1].tobytes()
    said = lensmill("convert", sound_store.root, "--out", s3.new_root("no.h5store"), "--to", "hdf5")
    assert said.code == 2
    assert "cannot write a store of hdf5 at s3://" in said.err


def test_batches_of_a_store_there_are_those_of_one_on_a_disk(there: ObjectPath, sound_store: Order) -> None:
    far, near = open_store(there, check=True), open_store(sound_store.root)
    for how in ({"mode": "resident"}, {"mode": "streamed"}, {"mode": "streamed", "way": "read"}):
        assert _epoch(far, **how) == _epoch(near, **how), how


def _epoch(store: Store, **how: Any) -> list[tuple[list[int], bytes]]:
    rows = open_rows(store, **how)
    return [(one.rows.tolist(), one["image"].tobytes()) for one in rows.epoch(MIXING, 2)]


def test_the_page_of_a_store_there(lensmill: Lensmill, there: ObjectPath, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = lensmill("show", there, "--html", "--out", page)
    assert said.code == 0, said
    assert "small" in page.read_text()
    said = lensmill("show", there, "--html", "--out", "s3://lensmill-tests/page.html")
    assert "a URL is given where a path on a disk is needed" in said.err


def test_an_import_goes_there(lensmill: Lensmill, s3: S3, tmp_path: Path) -> None:
    source, rng = tmp_path / "data.h5", np.random.default_rng(3)
    with h5py.File(source, "w") as file:
        file["image"] = rng.random((20, 16, 16), np.float32)
        file["label"] = np.arange(20) % 2
        file["theta_E"] = rng.random(20)
    root = s3.new_root("imported.zarr")
    said = lensmill("import", source, "--images", "image", "--labels", "label", "--out", root, "--quiet")
    assert said.code == 0, said
    assert lensmill("verify", root).code == 0
