"""`--log json`: one object a line on stderr, whatever there is to say."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import cli
from flows.generate import Order
from flows.telling import journal, progress
from flows.telling.progress import patience, progress_bar
from schemas.errors import FlowError

Lensmill = Callable[..., Any]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command puts into the environment is for this test alone."""
    for name in (journal.VARIABLE, *journal.PREFECT):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def _objects(text: str) -> list[dict[str, Any]]:
    assert "\x1b" not in text
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("how", ["option", "variable"])
def test_an_error_is_one_object_with_its_parts(
    lensmill: Lensmill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    words = ("--log", "json") if how == "option" else ()
    if how == "variable":
        monkeypatch.setenv(journal.VARIABLE, "json")
    said = lensmill(*words, "info", tmp_path / "none.zarr")
    (error,) = _objects(said.err)
    assert said.code == error["exit_code"] == 2
    assert error["level"] == "error"
    assert error["kind"] == "StoreMissingError"
    assert "there is no lensmill store" in error["message"]
    assert "lensmill simulate" in error["advice"]
    assert error["time"].endswith("+00:00")


def test_bad_input_keeps_its_exit_code(lensmill: Lensmill, tmp_path: Path) -> None:
    said = lensmill("--log", "json", "simulate", "tinny", "--out", tmp_path / "s.zarr")
    assert said.code == _objects(said.err)[-1]["exit_code"] == 2


def test_what_is_printed_for_people_becomes_objects(lensmill: Lensmill, store: Order, tmp_path: Path) -> None:
    (store.root / "train/image/c/3/0/0/0").write_bytes(b"")
    said = lensmill("--log", "json", "verify", store.root)
    assert said.code == 1
    first, *rest = _objects(said.err)
    assert (first["level"], first["message"]) == ("error", f"1 fault in {store.root}")
    assert rest[-1]["message"] == f"to do:    mend it: lensmill repair {store.root}"


def test_words_come_back_without_the_option(lensmill: Lensmill, tmp_path: Path) -> None:
    lensmill("--log", "json", "info", tmp_path / "none.zarr")
    said = lensmill("--log", "text", "info", tmp_path / "none.zarr")
    assert said.err.startswith("error: there is no lensmill store")
    assert lensmill("--log", "jason", "recipes").code == 2


def test_an_accident_is_an_object_too(lensmill: Lensmill, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setenv(journal.VARIABLE, "json")
    monkeypatch.setattr(cli, "app", broken)
    said = lensmill("work")
    (accident,) = _objects(said.err)
    assert said.code == accident["exit_code"] == 1
    assert accident["level"] == "critical"
    assert "ZeroDivisionError" in accident["traceback"]


def test_progress_is_told_in_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(journal.VARIABLE, "json")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress_bar("verifying", 8, "shards") as report:
        report(2)
        report(8)
    first, last = _objects(capsys.readouterr().err)
    assert (first["message"], first["done"], first["total"], first["unit"]) == ("verifying", 2, 8, "shards")
    assert first["per_s"] > 0
    assert first["remaining_s"] >= 0
    assert last["remaining_s"] == 0.0
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    with patience("compiling"):
        _wait_for_err(capsys, "compiling")


def _wait_for_err(capsys: pytest.CaptureFixture[str], message: str) -> None:
    text = ""
    for _ in range(3000):
        text += capsys.readouterr().err
        if text.endswith("\n"):
            break
        progress.time.sleep(0.01)
    assert [one["message"] for one in _objects(text)] == [message]


def test_records_of_runs_carry_their_flow_and_facts() -> None:
    record = logging.makeLogRecord(
        {
            "name": "prefect.flow_runs",
            "levelname": "INFO",
            "msg": "%d of %d",
            "args": (3, 9),
            "flow_name": "simulate",
            "flow_run_name": "brave-lens",
            "facts": {"store": "s.zarr", "done": 3, "left_out": None},
        }
    )
    found = json.loads(journal.Objects("default", None, "%").format(record))
    assert {key: found[key] for key in ("flow", "run", "store", "message", "done", "level")} == {
        "flow": "simulate",
        "run": "brave-lens",
        "store": "s.zarr",
        "message": "3 of 9",
        "done": 3,
        "level": "info",
    }
    assert "left_out" not in found
    try:
        raise FlowError("broken")
    except FlowError:
        record.exc_info = sys.exc_info()
    assert "FlowError: broken" in json.loads(journal.Objects().format(record))["traceback"]


def test_prefects_own_log_is_written_as_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH, load_logging_config

    def formatter() -> Any:
        config = load_logging_config(DEFAULT_LOGGING_SETTINGS_PATH)
        return config["formatters"][config["handlers"]["console"]["formatter"]]

    assert "()" in formatter()
    for name, value in journal.PREFECT.items():
        monkeypatch.setenv(name, value)
    module, _, name = formatter()["class"].rpartition(".")
    assert getattr(sys.modules[module], name) is journal.Objects
