"""Folders of the state folder that nobody else can look into."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.files.state import private_folder


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder that is not there yet, of a user who hides nothing by himself."""
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path / "state"))
    old = os.umask(0)
    yield tmp_path / "state"
    os.umask(old)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_whatever_the_umask_folders_are_for_their_owner(state: Path) -> None:
    assert private_folder("prefect") == state / "prefect"
    assert (_mode(state), _mode(state / "prefect")) == (0o700, 0o700)


def test_one_that_is_open_is_closed_and_the_folder_above_stays_as_somebody_made_it(state: Path) -> None:
    (state / "prefect").mkdir(mode=0o755, parents=True)
    before = _mode(state)
    private_folder("prefect")
    assert (_mode(state), _mode(state / "prefect")) == (before, 0o700)


def test_one_of_somebody_else_is_left_to_him(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "prefect").mkdir(mode=0o755, parents=True)
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    private_folder("prefect")
    assert _mode(state / "prefect") == 0o755


def test_what_cannot_be_made_is_told(state: Path) -> None:
    state.write_text("no folder")
    with pytest.raises(OSError, match=str(state)):
        private_folder("prefect")
