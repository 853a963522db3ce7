"""Plain questions to a Prefect server: one that is busy is asked again."""

import io
import urllib.error
from email.message import Message
from typing import Any

import pytest

from flows.serving import answers
from flows.serving.answers import BUSY_PAUSES, Server
from schemas.errors import FlowError

SLOW = 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What a server answers, one after the other; nobody waits."""
    codes: list[int] = []

    def answer(request: Any, timeout: float) -> io.BytesIO:
        code = codes.pop(0)
        if code == SLOW:
            raise TimeoutError("timed out")
        if code != 200:
            raise urllib.error.HTTPError(request.full_url, code, "busy", Message(), None)
        return io.BytesIO(b'{"name": "lensmill"}')

    monkeypatch.setattr(answers.urllib.request, "urlopen", answer)
    monkeypatch.setattr(answers.time, "sleep", lambda _: None)
    return codes


def test_a_busy_server_is_asked_again(asked: list[int]) -> None:
    asked += [503, 503, 200]
    assert Server("http://127.0.0.1:9/api").ask("/work_pools/lensmill") == {"name": "lensmill"}
    assert asked == []


@pytest.mark.parametrize("codes", [[503] * (len(BUSY_PAUSES) + 1), [500], [404]])
def test_what_does_not_pass_is_one_error(asked: list[int], codes: list[int]) -> None:
    asked += [*codes, 200]
    with pytest.raises(FlowError, match=f"answered {codes[0]}"):
        Server("http://127.0.0.1:9/api").ask("/work_pools/lensmill")
    assert asked == [200]


def test_a_slow_server_is_asked_again_where_that_changes_nothing(asked: list[int]) -> None:
    asked += [SLOW, SLOW, 200]
    assert Server("http://127.0.0.1:9/api").ask("/flow_runs/filter") == {"name": "lensmill"}
    asked += [SLOW, SLOW, SLOW, 200]
    with pytest.raises(FlowError, match="does not answer: timed out"):
        Server("http://127.0.0.1:9/api").ask("/flow_runs/filter")
    assert asked == [200]


def test_what_a_slow_server_may_have_done_is_not_asked_for_twice(asked: list[int]) -> None:
    asked += [SLOW, 200]
    with pytest.raises(FlowError, match="does not answer: timed out"):
        Server("http://127.0.0.1:9/api").ask("/deployments/1/create_flow_run")
    assert asked == [200]
