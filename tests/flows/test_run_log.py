"""Pages beside a flow run: Prefect's server may be away, and what they tell of is done all the same."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectHTTPStatusError

from flows import verifying
from flows.serving.api import prefect_api
from flows.telling import run_log
from flows.telling.run_log import Gauge, show, show_table
from flows.verifying import verify_all_flow

REQUEST = httpx.Request("POST", "http://127.0.0.1:9/api/artifacts/")
AWAY = httpx.ConnectError("All connection attempts failed", request=REQUEST)
ILL = PrefectHTTPStatusError("503", request=REQUEST, response=httpx.Response(503, request=REQUEST))
MADE_BY = ("create_markdown_artifact", "create_table_artifact", "create_progress_artifact")
# what makes artifacts itself: the first is tested here, the others bear a loss by tests of their own
ALLOWED = {"telling/run_log.py", "telling/exhibits.py", "tally.py"}


@pytest.fixture(params=[AWAY, ILL], ids=["away", "ill"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a server that takes nothing, as in a flow run."""
    made: list[str] = []

    def refuse(name: str) -> Callable[..., None]:
        def ask(*_: Any, **__: Any) -> None:
            made.append(name)
            raise request.param

        return ask

    monkeypatch.setattr(run_log, "in_a_run", lambda: True)
    for name in (*MADE_BY, "update_progress_artifact"):
        monkeypatch.setattr(run_log, name, refuse(name))
    return made


def test_a_page_that_is_lost_is_a_warning(calls: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        show("report-mine", "# it", "about it")
        show_table("metrics-mine", [{"a": 1}], "about it")
    assert calls == ["create_markdown_artifact", "create_table_artifact"]
    first, second = caplog.messages
    assert first.startswith("report-mine is not shown on Prefect's page: ")
    assert re.search(r"connection attempts failed|503", second)


def test_a_gauge_asks_a_lost_server_once(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Gauge("verify-all", "3 to check").tell(33)
    assert calls == ["create_progress_artifact"]
    monkeypatch.setattr(run_log, "create_progress_artifact", lambda **_: "id")
    gauge = Gauge("verify-all", "3 to check")
    with caplog.at_level(logging.WARNING):
        gauge.tell(33)
        gauge.tell(66)
    assert calls == ["create_progress_artifact", "update_progress_artifact"]
    assert [one.startswith("verify-all is not shown") for one in caplog.messages] == [True, True]
    told: list[float] = []
    monkeypatch.setattr(run_log, "update_progress_artifact", lambda _, progress: told.append(progress))
    gauge = Gauge("verify-all", "3 to check")
    gauge.tell(33)
    gauge.tell(66)
    assert told == [33, 66]


def test_all_pages_are_made_where_a_loss_is_borne() -> None:
    flows = Path(verifying.__file__).parent
    makers = {
        str(path.relative_to(flows))
        for path in flows.rglob("*.py")
        if any(f"{name}(" in path.read_text() for name in MADE_BY)
    }
    assert makers == ALLOWED


@pytest.mark.slow
@pytest.mark.timeout(300)  # a server of its own
@pytest.mark.parametrize("error", [AWAY, ILL], ids=["away", "ill"])
def test_the_flow_completes_without_its_pages(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(_: SyncPrefectClient, artifact: Any) -> None:
        asked.append(artifact.key)
        raise error

    monkeypatch.setattr(SyncPrefectClient, "create_artifact", refuse)
    with prefect_api():
        state = verify_all_flow(str(tmp_path), return_state=True)
    assert state.is_completed(), state
    assert asked == ["verify-all", "verification"]
