"""The Prefect server that a command starts for itself."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

from flows.serving import api


def test_logs_and_events_are_sent_while_the_server_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    happened: list[str] = []

    @contextlib.contextmanager
    def home() -> Iterator[Path]:
        yield tmp_path

    @contextlib.contextmanager
    def server(home: Path, password: str, meanwhile: Callable[[], None]) -> Iterator[str]:
        happened.append("started")
        meanwhile()
        yield "http://127.0.0.1:9/api"
        happened.append("stopped")

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(api, "running", lambda: None)
    monkeypatch.setattr(api, "_private_home", home)
    monkeypatch.setattr(api, "_server", server)
    monkeypatch.setattr(api, "_send_what_is_left", lambda: happened.append("sent"))
    with api.prefect_api(lambda: happened.append("meanwhile")):
        happened.append("used")
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None, "each flow would wait a second for it"
    assert happened == ["started", "meanwhile", "used", "sent", "stopped"]


def test_what_needs_no_server_is_done_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    happened: list[str] = []
    with api.prefect_api(lambda: happened.append("meanwhile")):
        happened.append("used")
    assert happened == ["meanwhile", "used"]
