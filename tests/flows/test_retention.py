"""What runs refer to, and removals that are killed; the command that shows what would go."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.generate import Order
from flows.lineages.references import references
from flows.lineages.retention import apply_policy, outlook
from schemas.errors import RunError, StoreUnfinishedError
from schemas.lineage import Keep
from storage import commit
from storage.reader import open_store
from storage.upkeep.versions import LATEST, catch_up, name_latest, note, numbers, read_book, version_name
from tests.s3 import S3

ONE = Keep(last=1, weeks=0, months=0, failed=0)
KILLED = textwrap.dedent(
    """
    import os, shutil, signal, sys
    from pathlib import Path
    from flows.lineages.retention import apply_policy
    from schemas.lineage import Keep
    def kill(root):
        (root / "train/image/c/0/0/0/0").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    shutil.rmtree = kill
    apply_policy(Path(sys.argv[1]), Keep(last=1, weeks=0, months=0, failed=0), ())
    """
)


@pytest.fixture
def folder(sound_store: Order, tmp_path: Path) -> Path:
    """Three versions with digests of their own in the book, the last of which is the latest."""
    root = tmp_path / "versions"
    for number in (1, 2, 3):
        shutil.copytree(sound_store.root, root / version_name(number))
    catch_up(root)
    for number in (1, 2, 3):
        note(root, number, digest=f"{number:064d}")
    name_latest(root, 3)
    return root


def _write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


# -- references


def test_finished_runs_reports_and_trainings_refer_to_their_data(tmp_path: Path) -> None:
    _write(tmp_path / "a/run.json", {"data": {"recipe_digest": "one"}, "new in a later version": 1})
    _write(tmp_path / "a/reports/x-test-1/report.json", {"store_digest": "two"})
    _write(tmp_path / "deep/er/.b.partial/identity.json", {"data_digest": "three"})
    found = references([tmp_path])
    assert found == {
        "one": str(tmp_path / "a"),
        "two": str(tmp_path / "a/reports/x-test-1"),
        "three": str(tmp_path / "deep/er/.b.partial"),
    }
    assert references([]) == {}


def test_runs_behind_links_count(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere/a/run.json", {"data": {"recipe_digest": "one"}})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "runs")
    assert list(references([tmp_path / "runs"])) == ["one"]


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"data": {}}', '{"data": 3}', ""])
def test_a_run_that_cannot_be_read_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match="does not tell which data"):
        references([tmp_path])


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="not there"):
        references([tmp_path / "unmounted"])
    (tmp_path / "closed").mkdir()

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RunError, match=r"cannot read .*closed: Permission denied"):
        references([tmp_path])


# -- removing


def test_what_nothing_keeps_goes(folder: Path) -> None:
    done = apply_policy(folder, ONE, ())
    assert (done.removed, done.complaints) == ((1, 2), ())
    assert numbers(folder) == [3]
    assert [one.state for one in read_book(folder).versions] == ["removed", "removed", "sealed"]
    assert read_book(folder).policy == ONE
    assert apply_policy(folder, ONE, ()).removed == ()


def test_what_latest_names_stays_though_it_is_old(folder: Path) -> None:
    name_latest(folder, 1)
    assert apply_policy(folder, ONE, ()).removed == (2,)
    open_store(folder / version_name(1))


def test_runs_below_the_folder_and_elsewhere_keep_theirs(folder: Path, tmp_path: Path) -> None:
    _write(folder / "runs/net/v0001/run.json", {"data": {"recipe_digest": f"{1:064d}"}})
    _write(tmp_path / "mine/run.json", {"data": {"recipe_digest": f"{2:064d}"}})
    assert apply_policy(folder, ONE, [str(tmp_path / "mine")]).removed == ()
    # the policy may let go of the data of what the regeneration itself trained, its runs stay
    lenient = ONE.model_copy(update={"own_runs": False})
    assert apply_policy(folder, lenient, [str(tmp_path / "mine")]).removed == (1,)
    assert (folder / "runs/net/v0001/run.json").is_file()


def test_nothing_goes_while_a_run_cannot_be_read(folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs/run.json").write_text("{")
    done = apply_policy(folder, ONE, ())
    assert done.removed == ()
    assert "does not tell which data" in done.complaints[0]
    assert numbers(folder) == [1, 2, 3]


def test_what_cannot_be_removed_keeps_the_others_from_nothing(folder: Path) -> None:
    (folder / version_name(1) / "notes.txt").write_text("mine")
    done = apply_policy(folder, ONE, ())
    assert done.removed == (2,)
    assert "version 1 stays" in done.complaints[0]
    assert "notes.txt" in done.complaints[0]
    open_store(folder / version_name(1))


def test_a_removal_that_is_killed_is_gone_on_with(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], env=environment, timeout=120, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert [one.state for one in read_book(folder).versions] == ["removing", "sealed", "sealed"]
    with pytest.raises(StoreUnfinishedError):
        open_store(folder / version_name(1))
    for number in (2, 3):
        open_store(folder / version_name(number))
    catch_up(folder)
    assert apply_policy(folder, ONE, ()).removed == (1, 2)
    assert numbers(folder) == [3]
    assert (folder / LATEST).read_text() == "v0003.zarr\n"


def test_a_removal_that_was_all_but_done_is_noted(folder: Path) -> None:
    note(folder, 1, state="removing", reason="no rule keeps it")
    shutil.rmtree(folder / version_name(1))
    gone = catch_up(folder).versions[0]
    assert (gone.state, gone.reason) == ("removed", "no rule keeps it")


def test_versions_on_s3_go_as_well(
    s3: S3, sound_store: Order, bytes_of: Callable[..., dict[str, bytes]]
) -> None:
    root = s3.new_root("versions")
    for number in (1, 2):
        for path, content in bytes_of(sound_store.root).items():
            (root / version_name(number) / path).put(content)
    catch_up(root)
    name_latest(root, 2)
    with commit.writing(root, Path("lineage.lock")):
        assert apply_policy(root, ONE, ()).removed == (1,)
    assert numbers(root) == [2]
    open_store(root / version_name(2))


# -- the command


def test_the_command_shows_what_would_go(lensmill: Callable[..., Any], folder: Path) -> None:
    said = lensmill("versions", folder, "--last", "1", "--weeks", "0", "--months", "0")
    assert said.code == 0, said
    assert said.out.count("goes: no rule keeps it") == 2
    assert "latest names it" in said.out
    assert numbers(folder) == [1, 2, 3], "it only shows"
    said = lensmill(
        "versions", folder, "--last", "1", "--weeks", "0", "--months", "0", "--pin", "2", "--json"
    )
    found = json.loads(said.out)
    assert found["keep"] == [2]
    assert {key: one["kept"] for key, one in found["verdicts"].items()} == {"1": False, "2": True, "3": True}
    assert apply_policy(folder, ONE, ()).removed == (1,)
    assert lensmill("versions", folder, "--unpin", "2").code == 0
    assert read_book(folder).keep == ()


def test_the_command_says_what_is_wrong(lensmill: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    said = lensmill("versions", folder, "--pin", "9")
    assert said.code == 2
    assert "there is no version 9" in said.err
    said = lensmill("versions", tmp_path / "none")
    assert said.code == 2
    assert "no versions of a data set" in said.err
    said = lensmill("versions", folder, "--last", "1", "--runs", tmp_path / "unmounted")
    assert said.code == 0
    assert "nothing would be removed" in said.err
    assert "goes" not in said.out


def test_reading_changes_nothing(folder: Path) -> None:
    before = (folder / "lineage.json").read_bytes()
    outlook(folder, read_book(folder), ONE, ())
    assert (folder / "lineage.json").read_bytes() == before
