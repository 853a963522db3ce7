"""Runs of deployments: their parameters are refused before a run is made."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import httpx
import psutil
import pytest
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Running

from flows.serving import submission
from flows.serving.submission import check_parameters, run_deployment
from schemas.errors import DataError, FlowError, LensmillError, RecipeError, UnknownNameError
from tests.live_service import recorded


def test_parameters_that_the_deployment_refuses(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        request = httpx.Request("POST", "http://127.0.0.1:9/api/deployments/1/create_flow_run")
        answer = httpx.Response(409, json={"detail": "'many' is not valid"}, request=request)
        cause = httpx.HTTPStatusError("409", request=request, response=answer)
        raise PrefectHTTPStatusError.from_httpx_error(cause)

    me = psutil.Process()
    recorded((me.pid, me.create_time()), (me.pid, me.create_time()))
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, "")  # so that what the function sets is taken back
    monkeypatch.setattr("prefect.deployments.run_deployment", refuse)
    monkeypatch.setattr("prefect.client.orchestration.get_client", _KnowsWorkers)
    with pytest.raises(LensmillError, match="refused its parameters"):
        run_deployment("simulate", {"workers": "many"}, watch=False)
    with pytest.raises(UnknownNameError, match="workers"):
        run_deployment("simulate", {"worker": 2}, watch=False)


class _KnowsWorkers:
    """A client of a server whose deployments have one parameter."""

    parameter_openapi_schema: ClassVar = {"properties": {"workers": {"type": "integer"}}}
    parameters: ClassVar = {"workers": 1}

    def __init__(self, **_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read_deployment_by_name(self, _: str) -> Self:
        return self


FORM = {
    "required": ["out"],
    "properties": {
        "out": {"type": "string", "minLength": 1},
        "workers": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        "recipe": {"anyOf": [{"enum": ["tiny"]}, {"type": "string", "title": "file", "pattern": "ya?ml$"}]},
    },
}


def test_all_faults_of_parameters_are_told_at_once() -> None:
    with pytest.raises(DataError, match="refused its parameters") as caught:
        check_parameters("a/a", FORM, {"workers": 0, "recipe": 3}, {})
    lines = str(caught.value).splitlines()
    assert "  - workers: 0; expected a whole number from 1 or nothing" in lines
    assert "  - recipe: 3; expected one of tiny or the path of a file" in lines
    assert "  - out: missing" in lines
    assert "  where:    a/a" in lines


def test_recipes_are_read_before_a_run_is_made(tmp_path: Path) -> None:
    check_parameters("a/a", FORM, {"out": "a", "recipe": "tiny", "overrides": ["seed=3"]}, {})
    with pytest.raises(UnknownNameError, match="tinny"):
        check_parameters("a/a", FORM, {"out": "a", "recipe": "tinny"}, {})
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        check_parameters("a/a", FORM, {"out": "a", "recipe": str(tmp_path / "none.yaml")}, {})
    with pytest.raises(RecipeError, match="unknown key"):
        check_parameters("a/a", FORM, {"out": "a", "recipe": "tiny", "overrides": ["sead=3"]}, {})


# -- a run that is watched while its server is away


class _Restarts(_KnowsWorkers):
    """A client of a server that answers with what is left of a list, errors included."""

    answers: ClassVar[list[Any]] = []

    def read_flow_run(self, _: object) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return _run(answer)


def _run(state: Any) -> Any:
    return SimpleNamespace(id=1, name="busy-bee", state=state)


def _status(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1:9/api/flow_runs/1")
    answer = httpx.Response(code, request=request)
    return PrefectHTTPStatusError.from_httpx_error(
        httpx.HTTPStatusError(str(code), request=request, response=answer)
    )


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the server says, one after the other; nothing is waited for."""
    monkeypatch.setattr(_Restarts, "answers", [])
    monkeypatch.setattr(submission, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr("prefect.client.orchestration.get_client", _Restarts)
    return _Restarts.answers


def test_watching_outlives_a_restart_of_the_server(answered: list[Any]) -> None:
    answered += [Running(), httpx.ReadTimeout(""), httpx.ConnectError("refused"), _status(503), Completed()]
    assert submission._ended(_run(Running())).state.is_completed()
    assert not answered


def test_a_server_that_stays_away_is_one_error(answered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "AWAY_MINUTES", -1.0)
    answered += [httpx.ReadTimeout("")]
    with pytest.raises(FlowError, match="does not answer: ReadTimeout; the run busy-bee may go on") as caught:
        submission._ended(_run(Running()))
    assert "lensmill up" in caught.value.advice


def test_a_server_that_refuses_us_is_not_waited_for(answered: list[Any]) -> None:
    answered += [_status(401)]
    with pytest.raises(FlowError, match="401"):
        submission._ended(_run(Running()))


def test_a_server_that_is_away_from_the_start(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(_KnowsWorkers):
        def read_deployment_by_name(self, _: str) -> Self:
            raise httpx.ConnectError("refused")

    me = psutil.Process()
    recorded((me.pid, me.create_time()), (me.pid, me.create_time()))
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("prefect.client.orchestration.get_client", Away)
    with pytest.raises(FlowError, match="does not answer: refused; no run was made"):
        run_deployment("simulate", {}, watch=True)
