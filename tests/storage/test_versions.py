"""The folder of versions: names, the book, what is written anew when it is lost."""

import json
import shutil
from pathlib import Path

import pytest

from flows.generate import Order
from schemas.errors import StoreConflictError, StoreDamagedError, StoreUnreachableError
from schemas.lineage import VersionBook, lineage_digest
from storage import commit
from storage.files.durable import write_whole
from storage.upkeep import verification, versions
from storage.upkeep.versions import (
    BOOK,
    LATEST,
    audit_path,
    catch_up,
    has_book,
    latest_of,
    look,
    name_latest,
    note,
    numbers,
    read_book,
    size_and_rows,
    version_name,
    write_book,
)
from storage.verify import verify
from tests.s3 import S3


@pytest.fixture
def folder(sound_store: Order, tmp_path: Path) -> Path:
    """Two finished versions and an unfinished one, from before there were books."""
    for number in (1, 2, 3):
        ignored = shutil.ignore_patterns(commit.VERIFICATION.name)
        shutil.copytree(sound_store.root, tmp_path / f"v{number:04d}.zarr", ignore=ignored)
    commit.unseal(tmp_path / "v0003.zarr")
    (tmp_path / LATEST).write_text("v0002.zarr\n")
    return tmp_path


def test_stores_from_before_there_were_books_are_understood(folder: Path, sound_store: Order) -> None:
    assert not has_book(folder)
    book = read_book(folder)
    assert [(one.number, one.state) for one in book.versions] == [
        (1, "sealed"),
        (2, "sealed"),
        (3, "unfinished"),
    ]
    one = book.versions[0]
    assert (one.recipe, one.seed, one.digest) == ("tiny", 1001, sound_store.recipe.digest)
    assert one.lineage == lineage_digest(sound_store.recipe)
    assert (one.rows, one.made is not None, one.verified, one.audit) == (60, True, None, None)
    assert one.bytes > 60 * 16 * 16 * 4
    assert one.packages == dict(sound_store.plan.provenance.versions)
    assert latest_of(folder) == 2


def test_a_lost_book_is_written_anew(folder: Path) -> None:
    verification.record(folder / "v0001.zarr", verify(folder / "v0001.zarr"))
    before = catch_up(folder)
    (folder / BOOK).unlink()
    assert catch_up(folder) == before
    assert before.versions[0].verified is not None
    assert before.versions[1].verified is None


def test_a_lost_book_remembers_audits(folder: Path, sound_store: Order) -> None:
    from flows.auditing import audit

    found = audit(folder / "v0001.zarr", quiet=True)
    assert not found.passed
    write_whole(audit_path(folder, 1), found.to_json().encode())
    write_whole(audit_path(folder, 2), found.model_copy(update={"leaks": ()}).to_json().encode())
    verification.record(folder / "v0002.zarr", verify(folder / "v0002.zarr"))
    versions = read_book(folder).versions
    assert [(one.state, one.audit) for one in versions[:2]] == [("leaks", "leaks"), ("good", "passed")]
    # a replica leaks as what it repeats did
    about = found.about.model_copy(update={"family": "replica"})
    write_whole(audit_path(folder, 2), found.model_copy(update={"about": about}).to_json().encode())
    assert [(one.state, one.audit) for one in read_book(folder).versions[1:2]] == [("good", "leaks")]


def test_a_book_that_cannot_be_read_is_not_thrown_away(folder: Path) -> None:
    for text, told in (("{", "is not what lensmill wrote"), ('{"keep": ["x"]}', "keep")):
        (folder / BOOK).write_text(text)
        with pytest.raises(StoreDamagedError, match=told) as caught:
            catch_up(folder)
        assert "move it away" in caught.value.advice
        assert (folder / BOOK).read_text() == text
    (folder / BOOK).write_text('{"format_version": 2, "more": 1}')
    with pytest.raises(StoreConflictError, match="format version 2"):
        read_book(folder)


def test_what_is_noted_is_on_the_disk(folder: Path) -> None:
    catch_up(folder)
    note(folder, 2, state="leaks", reason="labels leak")
    told = json.loads((folder / BOOK).read_text())
    assert [one["state"] for one in told["versions"]] == ["sealed", "leaks", "unfinished"]
    assert read_book(folder).find(2).reason == "labels leak"  # type: ignore[union-attr]
    assert read_book(folder).find(9) is None
    # the list that people edit is kept
    write_book(folder, read_book(folder).model_copy(update={"keep": (1,)}))
    note(folder, 2, reason="")
    assert read_book(folder).keep == (1,)


def test_versions_that_people_removed_finished_or_mended_are_noticed(folder: Path) -> None:
    catch_up(folder)
    note(folder, 2, state="damaged", reason="a bit")
    note(folder, 3, state="left", reason="other packages")
    shutil.rmtree(folder / "v0001.zarr")
    shutil.copytree(folder / "v0002.zarr", folder / "v0003.zarr", dirs_exist_ok=True)
    book = catch_up(folder)
    assert [one.state for one in book.versions] == ["removed", "damaged", "sealed"]
    assert book.versions[0].reason == "not there any more"
    verification.record(folder / "v0002.zarr", verify(folder / "v0002.zarr"))
    assert [one.state for one in catch_up(folder).versions] == ["removed", "sealed", "sealed"]
    assert catch_up(folder).newest == 3


def test_a_version_without_books_may_not_be_used(folder: Path) -> None:
    (folder / "v0002.zarr" / commit.RECIPE).write_text("{")
    assert look(folder, 2).state == "damaged"
    (folder / "v0003.zarr" / commit.PLAN).unlink()
    assert look(folder, 3).state == "left"


def test_a_server_that_does_not_answer_is_no_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StoreUnreachableError("no answer")

    monkeypatch.setattr(versions, "read_json", away)
    with pytest.raises(StoreUnreachableError):
        look(folder, 1)
    with pytest.raises(StoreUnreachableError):
        size_and_rows(folder / version_name(1))


@pytest.mark.parametrize("text", ["", "v1.zarr\n", "../v0001.zarr", "mine", "v0001.zarr/..", "\x00\xff"])
def test_a_latest_that_names_no_version_is_none(tmp_path: Path, text: str) -> None:
    assert latest_of(tmp_path) is None
    (tmp_path / LATEST).write_bytes(text.encode("latin-1"))
    assert latest_of(tmp_path) is None


def test_numbers_beyond_four_digits(tmp_path: Path) -> None:
    for name in ("v0001.zarr", "v9999.zarr", "v10000.zarr", "v00010.zarr", "v1.zarr", "v0001.zarr.old"):
        (tmp_path / name).mkdir()
    assert numbers(tmp_path) == [1, 9999, 10000]
    name_latest(tmp_path, 10000)
    assert latest_of(tmp_path) == 10000


def test_the_book_is_kept_on_s3(s3: S3) -> None:
    root = s3.new_root("lineage")
    assert read_book(root) == VersionBook()
    assert latest_of(root) is None
    (root / "v0002.zarr" / commit.PLAN).put(b"{}")
    assert [(one.number, one.state) for one in catch_up(root).versions] == [(2, "left")]
    name_latest(root, 2)
    assert (has_book(root), latest_of(root), numbers(root)) == (True, 2, [2])
    with commit.writing(root, Path("lineage.lock")):
        assert note(root, 2, reason="x") == read_book(root).find(2)
