"""Places by text, objects as paths, and what is told when a server cannot be asked."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from flows.generate import Order
from schemas.errors import (
    StoreDamagedError,
    StoreMissingError,
    StoreUnreachableError,
    WriteError,
    WriteUnreachableError,
)
from storage import commit, target
from storage.files.durable import write_whole
from storage.files.object_client import _client
from storage.files.object_path import ObjectPath
from storage.files.place import local, place
from storage.reader import open_store
from tests.s3 import KEY, S3, SECRET


def test_a_url_is_an_object_path_and_all_else_a_path() -> None:
    assert place("s3://bucket/a/b.zarr") == ObjectPath("bucket", "a/b.zarr")
    assert place("S3://bucket/a/b.zarr/") == ObjectPath("bucket", "a/b.zarr")
    assert place(ObjectPath("bucket", "a")) == ObjectPath("bucket", "a")
    assert place("a/b.zarr") == place(Path("a/b.zarr")) == Path("a/b.zarr")
    assert str(place("s3://bucket/a/b.zarr")) == "s3://bucket/a/b.zarr"


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3:/bucket/a",
        "s3://Bucket/a",
        "s3://b/a",
        "s3:///a",
        "s3://bucket/a//b",
        "s3://bucket/../a",
        "s3://bucket/a/./b",
        "s3://bucket/a?versionId=1",
        "s3://bucket/a#b",
        "s3://bucket/a\nb",
        "gs://bucket/a",
        "https://bucket.s3.amazonaws.com/a",
        "file:///tmp/a",
        Path("s3://bucket/a"),
    ],
)
def test_other_addresses_are_refused(text: str | Path) -> None:
    with pytest.raises(StoreMissingError) as caught:
        place(text)
    assert "s3://BUCKET/PREFIX" in caught.value.expected


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(StoreMissingError) as caught:
        place("s3://key:hunter22@bucket/a")
    assert "hunter22" not in str(caught.value)
    assert "environment" in str(caught.value)


@pytest.mark.parametrize("text", ["s3://bucket/a.png", "https://host/a.png", Path("s3://bucket/a.png")])
def test_what_must_be_local_says_so(text: str | Path) -> None:
    with pytest.raises(WriteError, match="a URL is given where a path on a disk is needed"):
        local(text)
    assert local("a.png") == Path("a.png")


def test_parts_of_an_address() -> None:
    root = ObjectPath("bucket", "a/b.zarr")
    path = root / "train/image" / Path("c") / "0"
    assert str(path) == "s3://bucket/a/b.zarr/train/image/c/0"
    assert path == root.joinpath("train", "image", "c", "0")
    assert (path.name, path.parent.name, root.suffix) == ("0", "c", ".zarr")
    assert path.relative_to(root) == PurePosixPath("train/image/c/0")
    assert root.parent.parent == ObjectPath("bucket", "")
    assert root.parent.parent / "x" == ObjectPath("bucket", "x")
    assert {pickle.loads(pickle.dumps(path)): 1} == {path: 1}  # noqa: S301


@pytest.mark.parametrize("other", ["../x", "/x", "a/../../x"])
def test_no_path_leads_out_of_a_store(other: str) -> None:
    with pytest.raises(StoreDamagedError, match="leads out of s3://bucket/a"):
        ObjectPath("bucket", "a") / other


def test_objects_behave_as_files(s3: S3) -> None:
    root = s3.new_root("files")
    assert not root.exists()
    content = {"a/one": b"1", "a/b/two": b"22", "a b/é=x": b"333", "empty": b""}
    for path, text in content.items():
        write_whole(root / path, text)
    assert root.is_dir()
    assert not root.is_file()
    assert (root / "a/one").is_file()
    assert not (root / "a/one").is_dir()
    assert (root / "a/b").exists()
    # a name that begins like another is not below it
    assert not (root / "a/o").exists()
    assert {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*")} == content
    assert [path.name for path in root.rglob("t*o")] == ["two"]
    assert [path.name for path in root.iterdir()] == ["a", "a b", "empty"]
    assert root.sizes() == {path: len(text) for path, text in content.items()}
    assert (root / "a/b/two").stat().st_size == 2


def test_what_is_not_there_is_told_as_on_a_disk(s3: S3) -> None:
    path = s3.new_root("nothing") / "file"
    for ask in (
        path.read_bytes,
        path.stat,
        path.unlink,
        lambda: path.read_end(4),
        lambda: list(path.parts(1)),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            ask()
        assert caught.value.strerror == "there is no such object"
        assert caught.value.filename == str(path)
    path.unlink(missing_ok=True)
    assert list(path.rglob("*")) == []


def test_ranges_and_parts(s3: S3) -> None:
    path = s3.new_root("ranges") / "file"
    content = os.urandom(3_000_000)
    write_whole(path, iter([content[:1_000_000], content[1_000_000:]]))
    assert path.read_range(10, 20) == content[10:20]
    end, size = path.read_end(7)
    assert (end, size) == (content[-7:], len(content))
    parts = [bytes(part) for part in path.parts(500_000)]
    assert len(parts) > 1
    assert b"".join(parts) == content


def test_conditional_puts_are_honoured_by_the_server(s3: S3) -> None:
    path = s3.new_root("conditions") / "file"
    assert path.replace(b"0", '"0123"') is None
    tag = path.create(b"1")
    assert tag is not None
    assert path.create(b"2") is None
    assert path.read_tagged().content == b"1"
    assert path.read_tagged().tag == tag
    newer = path.replace(b"3", tag)
    assert newer not in (None, tag)
    assert path.replace(b"4", tag) is None
    assert path.read_bytes() == b"3"


def test_a_failed_write_leaves_what_was_there(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    path = s3.new_root("failing") / "file"
    write_whole(path, b"old")

    def parts() -> object:
        yield b"new"
        raise MemoryError

    with pytest.raises(MemoryError):
        write_whole(path, parts())  # type: ignore[arg-type]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(
        WriteUnreachableError, match=r"cannot write .*file: no connection to http://127\.0\.0\.1:1"
    ):
        write_whole(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


Ask = Callable[[Order, ObjectPath], object]
OPENS: list[Ask] = [
    lambda _, root: open_store(root),
    lambda order, root: target.check_target(root, order.recipe, order.plan),
    lambda order, root: commit.valid_receipt(root, order.plan, commit.Span("train", 0, 0, 8)),
]


@pytest.mark.parametrize("ask", OPENS)
def test_an_address_without_a_server_is_told_and_is_no_damage(
    s3: S3, sound_store: Order, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    # the password of an endpoint is shown to nobody
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://somebody:hunter22@127.0.0.1:1")
    with pytest.raises(StoreUnreachableError, match=r"no connection to http://127\.0\.0\.1:1") as caught:
        ask(sound_store, s3.new_root("nowhere"))
    assert "AWS_ENDPOINT_URL" in caught.value.advice
    _assert_nothing_told(caught.value)


@pytest.mark.parametrize("ask", OPENS[:2])
def test_a_bucket_that_is_not_there_is_told(s3: S3, sound_store: Order, ask: Ask) -> None:
    with pytest.raises(StoreUnreachableError, match=r"there is no bucket 'no-such-bucket' at http://127"):
        ask(sound_store, ObjectPath("no-such-bucket", "a"))
    with pytest.raises(WriteError, match="there is no bucket"):
        write_whole(ObjectPath("no-such-bucket", "a"), b"")


@pytest.mark.parametrize("ask", OPENS)
def test_refused_credentials_are_told_and_not_repeated(s3: S3, sound_store: Order, ask: Ask) -> None:
    with s3.closed_to_strangers():
        with pytest.raises(StoreUnreachableError, match="denies access") as caught:
            ask(sound_store, s3.new_root("closed"))
        with pytest.raises(WriteError, match="denies access") as refused:
            commit.writing(s3.new_root("closed")).__enter__()
    for error in (caught.value, refused.value):
        assert "AWS_ACCESS_KEY_ID" in error.advice
        _assert_nothing_told(error)


def _assert_nothing_told(error: BaseException) -> None:
    """Neither in the message nor in what a traceback shows of the client's own words."""
    told = str(error)
    while error.__cause__ or (error.__context__ and not error.__suppress_context__):
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
        told += str(error)
    assert not [word for word in ("hunter22", SECRET, KEY) if word in told]


def test_plain_http_only_where_the_endpoint_says_so(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{s3.port}")
    with pytest.raises(StoreUnreachableError, match="no connection to https://127"):
        (s3.new_root("tls") / "file").read_bytes()


@pytest.mark.parametrize(
    "endpoint",
    ["", "localhost:9000", "127.0.0.1:9000", "nonsense", "http://", "http://x:port", "http://x/y", "ftp://x"],
)
def test_an_endpoint_that_is_no_address_is_told(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StoreUnreachableError) as caught:
        (ObjectPath("bucket", "store") / "file").read_bytes()
    assert caught.value.found == f"AWS_ENDPOINT_URL is {endpoint!r}"
    assert "http://HOST:PORT" in caught.value.expected
    assert "unset AWS_ENDPOINT_URL" in caught.value.advice


def test_an_endpoint_with_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "somebody:hunter22@127.0.0.1")
    with pytest.raises(StoreUnreachableError, match="AWS_ENDPOINT_URL is no address") as caught:
        (ObjectPath("bucket", "store") / "file").read_bytes()
    _assert_nothing_told(caught.value)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _client.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StoreUnreachableError) as caught:
        ObjectPath("bucket", "a").is_file()
    assert "lensmill[s3]" in caught.value.advice


FORK = """
import os, sys
from schemas.errors import StoreUnreachableError
from storage.files.place import place
path = place(sys.argv[1])
assert path.read_bytes() == b"content"
child = os.fork()
if not child:
    try:
        path.read_bytes()
    except StoreUnreachableError as error:
        os._exit(7 if "forked process cannot use" in error.found else 1)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_says_that_it_cannot_use_its_parents_connections(s3: S3) -> None:
    path = s3.new_root("fork") / "file"
    write_whole(path, b"content")
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "7\n"


def test_a_format_for_disks_is_refused(s3: S3, sound_store: Order) -> None:
    plan = sound_store.plan.model_copy(update={"backend": "hdf5"})
    with pytest.raises(WriteError, match="cannot write a store of hdf5 at s3://"):
        target.check_target(s3.new_root("disk"), sound_store.recipe, plan)
