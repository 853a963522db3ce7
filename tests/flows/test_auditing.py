"""The audit as a command, and as a task that stops what comes after it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot

from flows.auditing import audit_task
from flows.generate import Order
from flows.telling import run_log
from schemas.audit import Audit
from schemas.errors import LeakError

Lensmill = Callable[..., Any]


@pytest.fixture
def even_store(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path
) -> Order:
    """A store whose substructure takes its mass from the smooth lens."""
    order = order_small(tmp_path / "even.zarr", "compensate_mass=true")
    make_store(order)
    return order


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the task would show in Prefect's page."""
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(run_log, "in_a_run", lambda: True)
    monkeypatch.setattr(run_log, "create_markdown_artifact", lambda **fields: shown.append(fields))
    return shown


def test_a_sound_store_passes(lensmill: Lensmill, even_store: Order, tmp_path: Path) -> None:
    said = lensmill("audit", even_store.root, "--out", tmp_path / "audit", "--split", "train")
    assert said.code == 0
    assert "tiny, train, 14 / 14 / 14 samples: passed" in said.out
    assert "only 14 samples" in said.err
    found = Audit.model_validate_json((tmp_path / "audit" / "audit.json").read_text())
    assert found.passed
    assert pyplot.imread(tmp_path / "audit" / "audit.png").std() > 0.05


def test_a_leaking_store_fails_and_is_told_why(
    lensmill: Lensmill, sound_store: Order, tmp_path: Path
) -> None:
    said = lensmill("audit", sound_store.root, "--out", tmp_path / "audit")
    assert said.code == 1
    assert "labels leak: total mass (cdm, vortex" in said.err
    assert "compensate_mass" in said.err
    assert re.search(r"theta_E +.+ 0\.\d{3}\*? ± 0\.\d{3} +0\.\d{3} +even", said.out)
    assert (tmp_path / "audit" / "audit.json").is_file()


def test_json_is_what_the_file_has(lensmill: Lensmill, even_store: Order, tmp_path: Path) -> None:
    said = lensmill(
        "audit",
        even_store.root,
        "--out",
        tmp_path,
        "--json",
        "--columns",
        "theta_E",
        "--strict",
        "--most",
        "5",
    )
    found = json.loads(said.out)
    assert found == json.loads((tmp_path / "audit.json").read_text())
    assert found["strict"] is True
    assert found["samples"] == {"no_sub": 5, "cdm": 5, "vortex": 5}
    assert {row["subject"] for row in found["rows"] if row["kind"] == "column"} == {"theta_E"}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--columns", "theta_Q"), 2, "theta_Q"),
        (("--split", "later"), 2, "later"),
        (("--most", "1"), 2, "most"),
    ],
)
def test_bad_options_are_refused(
    lensmill: Lensmill, sound_store: Order, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    said = lensmill("audit", sound_store.root, "--out", tmp_path / "audit", *options)
    assert said.code == code
    assert words in said.err


def test_nothing_is_written_into_the_store(lensmill: Lensmill, sound_store: Order, tmp_path: Path) -> None:
    said = lensmill("audit", sound_store.root, "--out", sound_store.root / "audit")
    assert said.code == 2
    assert "into the store" in said.err
    assert not (sound_store.root / "audit").exists()
    (tmp_path / "file").touch()
    assert "cannot make the folder" in lensmill("audit", sound_store.root, "--out", tmp_path / "file").err


def test_the_task_shows_a_table_and_hands_back_the_audit(
    even_store: Order, artifacts: list[dict[str, Any]], tmp_path: Path
) -> None:
    found = audit_task.fn(str(even_store.root), str(tmp_path / "audit"))
    assert found.passed
    (shown,) = artifacts
    assert shown["key"] == "audit-tiny"
    assert "| theta_E |" in shown["markdown"]
    assert "passed" in shown["description"]
    assert (tmp_path / "audit" / "audit.png").is_file()


def test_the_task_of_a_leaking_store_shows_the_table_and_fails(
    sound_store: Order, artifacts: list[dict[str, Any]]
) -> None:
    with pytest.raises(LeakError, match="total mass"):
        audit_task.fn(str(sound_store.root))
    (shown,) = artifacts
    assert "**Leaks**" in shown["markdown"]
    assert "FAILED" in shown["description"]
