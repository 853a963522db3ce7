"""A journal keeps every line, whoever writes and whatever was killed meanwhile."""

import multiprocessing
from pathlib import Path

import pytest

from schemas.errors import WriteError
from storage.files.journal import append_line, read_lines


def test_lines_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "lines.jsonl"
    assert read_lines(path) == []
    for line in ("a", "b ü", "c"):
        append_line(path, line)
    assert read_lines(path) == ["a", "b ü", "c"]
    assert path.read_bytes() == "a\nb ü\nc\n".encode()


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, "whole")
    with path.open("ab") as file:
        file.write(b"tor")
    assert read_lines(path) == ["whole"]
    append_line(path, "next")
    assert read_lines(path) == ["whole", "tor", "next"]


def _write(path: Path, name: str) -> None:
    for number in range(50):
        append_line(path, f"{name}{number}-" + name * 5000)


def test_processes_write_whole_lines_at_the_same_time(tmp_path: Path) -> None:
    # lines longer than what a system writes in one piece
    path = tmp_path / "lines.jsonl"
    context = multiprocessing.get_context("forkserver")
    writers = [context.Process(target=_write, args=(path, name)) for name in "ab"]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    lines = read_lines(path)
    for name in "ab":
        expected = [f"{name}{number}-" + name * 5000 for number in range(50)]
        assert [line for line in lines if line.startswith(name)] == expected
    assert len(lines) == 100


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        append_line(tmp_path / "file" / "lines.jsonl", "a")
