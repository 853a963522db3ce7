"""Temporary folders that killed processes leave behind."""

import os
from pathlib import Path

from flows.scratch import scratch_folder


def test_what_the_dead_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    stay = (
        "lensmill-prefect-old",
        f"lensmill-prefect-{os.getppid()}-x",
        "lensmill-dask-4194305-x",
        "4194305-x",
    )
    for name in ("lensmill-prefect-4194305-x", *stay):
        (tmp_path / name / "prefect").mkdir(parents=True)
    with scratch_folder("lensmill-prefect-", tmp_path) as mine:
        assert {path.name for path in tmp_path.iterdir()} == {*stay, mine.name}
        with scratch_folder("lensmill-prefect-", tmp_path) as other:
            assert mine.is_dir()
            assert other != mine
    assert {path.name for path in tmp_path.iterdir()} == set(stay)


def test_a_prefix_is_no_pattern(tmp_path: Path) -> None:
    for name in ("host1+4194305+x", "host[1]+4194305+x"):
        (tmp_path / name).mkdir()
    with scratch_folder("host[1]+", tmp_path) as mine:
        assert {path.name for path in tmp_path.iterdir()} == {"host1+4194305+x", mine.name}
