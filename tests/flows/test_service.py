"""The service: up, deployments run by both commands, artifacts, down without leftovers."""

import json
import os
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx
import psutil
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from flows import service
from flows.api import prefect_api
from flows.pools import WorkerRecord
from flows.processes import identity, living
from flows.server import free_port
from flows.service import (
    ServiceRecord,
    client_environment,
    down,
    password,
    record_path,
    running,
)
from flows.submission import check_parameters, run_deployment
from schemas.errors import DataError, FlowError, LensmillError, RecipeError, UnknownNameError
from schemas.report import Report
from storage.verify import verify
from tests.live_service import Service, live_service, parameters_of

DEPLOYMENTS = ("simulate", "train", "evaluate", "simulate-and-train", "regenerate")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, with Prefect's folder in it."""
    folder = tmp_path / "state"
    monkeypatch.setenv("LENSMILL_HOME", str(folder))
    monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (folder / "prefect").mkdir(parents=True)
    return folder


def _record(server: tuple[int, float], worker: tuple[int, float]) -> ServiceRecord:
    record = ServiceRecord(address="http://127.0.0.1:9/api", server=server, worker=worker)
    record_path().write_text(record.to_json())
    return record


# -- when nothing is up


@pytest.mark.parametrize("name", ["simulate", "simulate-and-train/simulate-and-train", "nonsense"])
def test_a_deployment_cannot_run_when_nothing_is_up(
    lensmill: Callable[..., Any], state: Path, name: str
) -> None:
    with pytest.raises(FlowError, match="the service is not up"):
        run_deployment(name, {}, watch=True)
    said = lensmill("deployment", "run", name, "--watch")
    assert said.code == 1
    assert said.err.count("error:") == 1
    assert "lensmill up" in said.err
    assert "Traceback" not in said.err + said.out


@pytest.mark.parametrize("parameter", ["out", "=3", "out=[1"])
def test_parameters_that_are_none(lensmill: Callable[..., Any], state: Path, parameter: str) -> None:
    said = lensmill("deployment", "run", "simulate", "--param", parameter)
    assert said.err.count("error:") == 1
    assert "Traceback" not in said.err + said.out
    assert said.code == (1 if parameter == "=3" else 2), said


def test_down_when_nothing_is_up(lensmill: Callable[..., Any], state: Path) -> None:
    assert not down()
    said = lensmill("down")
    assert (said.code, said.out) == (0, "nothing was up\n")


def test_the_password_is_for_the_user_alone_and_stays(state: Path) -> None:
    old = os.umask(0)
    try:
        first = password()
    finally:
        os.umask(old)
    path = state / "prefect" / "auth"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    user, _, secret = first.partition(":")
    assert user == "lensmill"
    assert len(secret) >= 32
    assert password() == first == path.read_text()
    assert client_environment("http://127.0.0.1:9/api")["PREFECT_API_AUTH_STRING"] == first


def test_passwords_differ(state: Path) -> None:
    first = password()
    (state / "prefect" / "auth").unlink()
    assert password() != first


def test_a_dead_process_is_not_running(state: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(ended.pid).create_time()
    ended.wait(timeout=30)
    _record((ended.pid, started), (ended.pid, started))
    assert running() is None
    assert down()
    assert not record_path().exists()
    assert not down()


def test_a_number_that_was_used_again_is_not_running_and_not_ended(state: Path) -> None:
    me = psutil.Process()
    _record((me.pid, me.create_time() - 100), (me.pid, me.create_time() + 100))
    assert running() is None
    assert down(), "the record is cleared away"
    assert me.is_running()


def test_the_recorded_process_is_running(state: Path) -> None:
    me = psutil.Process()
    record = _record((me.pid, me.create_time()), (me.pid, me.create_time()))
    assert running() == record


@pytest.mark.parametrize("text", ["", "{", "[]", '{"address": 3}'])
def test_a_record_that_is_none(state: Path, text: str) -> None:
    record_path().write_text(text)
    assert running() is None
    assert not down()


def test_commands_use_the_service_that_is_up(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = psutil.Process()
    record = _record((me.pid, me.create_time()), (me.pid, me.create_time()))
    with prefect_api() as address:
        assert address == record.address
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:10/api")
    with prefect_api() as address:
        assert address == "http://127.0.0.1:10/api"


def test_up_refuses_a_folder_that_is_in_use(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_start", lambda _: pytest.fail("a server was started"))
    with (state / "prefect" / "lensmill.lock").open("w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FlowError, match="another lensmill command"):
            service.up()


def test_a_taken_port_is_avoided() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port() > 1023


def test_the_deployments_are_written_without_absolute_paths() -> None:
    text = (service.ROOT / "prefect.yaml").read_text()
    assert str(service.ROOT) not in text
    assert not [line for line in text.splitlines() if ": /" in line or "~/" in line]
    for name in DEPLOYMENTS:
        assert f"- name: {name}\n" in text
    assert text.count("- name: ") == len(DEPLOYMENTS)


def test_parameters_that_the_deployment_refuses(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        request = httpx.Request("POST", "http://127.0.0.1:9/api/deployments/1/create_flow_run")
        answer = httpx.Response(409, json={"detail": "'many' is not valid"}, request=request)
        cause = httpx.HTTPStatusError("409", request=request, response=answer)
        raise PrefectHTTPStatusError.from_httpx_error(cause)

    me = psutil.Process()
    _record((me.pid, me.create_time()), (me.pid, me.create_time()))
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


def test_a_password_that_others_could_read_is_refused_and_renewed(state: Path) -> None:
    first = password()
    path = state / "prefect" / "auth"
    path.chmod(0o640)
    with pytest.raises(FlowError, match="can be read by others"):
        password()
    service._renew_password()
    assert password() != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = password()
    service._renew_password()
    assert password() == second, "a sound one stays"


def test_another_process_on_the_port_is_not_told_the_password(state: Path) -> None:
    me = psutil.Process()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        record = ServiceRecord(address=f"http://127.0.0.1:{port}/api", server=(me.pid, me.create_time()))
        service._check_that_it_is_ours(record)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        theirs = record.model_copy(update={"server": identity(child.pid)})
        with pytest.raises(FlowError, match=f"port {port} was taken"):
            service._check_that_it_is_ours(theirs)
    finally:
        child.communicate(timeout=30)


def test_the_names_of_the_deployments_are_those_of_the_file() -> None:
    assert service.deployment_names() == set(DEPLOYMENTS)


def test_a_worker_alone_needs_a_server(lensmill: Callable[..., Any], state: Path) -> None:
    said = lensmill("up", "--pool", "gpu")
    assert said.code == 1
    assert "there is no server for the worker to poll" in said.err
    assert "PREFECT_API_URL" in said.err


def test_a_server_that_does_not_answer_is_one_error(
    lensmill: Callable[..., Any], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{probe.getsockname()[1]}/api")
        said = lensmill("up", "--pool", "gpu")
    assert said.code == 1
    assert said.err.count("error:") == 1
    assert "does not answer" in said.err
    said = lensmill("up", "--pool", "../gpu")
    assert said.code == 2


def test_the_worker_of_a_pool_is_ended_and_forgotten(lensmill: Callable[..., Any], state: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        record = WorkerRecord(
            pool="gpu", address="http://127.0.0.1:9/api", name="a", process=identity(child.pid)
        )
        (state / "workers").mkdir()
        (state / "workers" / "gpu.json").write_text(record.to_json())
        said = lensmill("down")
        assert (said.code, said.out) == (0, "ended: the worker of pool gpu\ndown\n")
        assert living(record.process) is None
    finally:
        child.kill()
        child.communicate(timeout=30)
    assert not list((state / "workers").iterdir())


# -- parameters before a run is made

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


# -- the real thing


@pytest.fixture
def real_service(tmp_path: Path) -> Iterator[Service]:
    """A service of its own."""
    with live_service(tmp_path) as service:
        yield service


def _refuses_strangers(running_service: Service) -> str:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        running_service.ask("/deployments/filter", {})
    with pytest.raises(urllib.error.HTTPError, match="401"):
        running_service.ask("/deployments/filter", {}, "lensmill:guess")
    auth = running_service.state / "prefect" / "auth"
    assert stat.S_IMODE(auth.stat().st_mode) == 0o600
    assert stat.S_IMODE((running_service.state / "prefect" / "profiles.toml").stat().st_mode) == 0o600
    server = psutil.Process(running_service.record().server[0])
    listening = [one for one in server.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
    secret = auth.read_text()
    # no password where everyone on the machine can read it
    assert not any(secret in " ".join(one.cmdline()) for one in running_service.processes())
    return secret


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_up_run_and_down(real_service: Service, tmp_path: Path, small_overrides: list[str]) -> None:
    said = real_service.well("lensmill", "up")
    record = real_service.record()
    assert record.address.removesuffix("/api") in said
    assert f"export PREFECT_HOME={real_service.state / 'prefect'}" in said
    user = _refuses_strangers(real_service)

    # twice is harmless
    before = {process.pid for process in real_service.processes()}
    assert real_service.well("lensmill", "up") == said
    assert real_service.record() == record
    assert {process.pid for process in real_service.processes()} == before
    _mends_what_died(real_service)
    record = real_service.record()

    listed = real_service.well("prefect", "deployment", "ls")
    deployments = real_service.ask("/deployments/filter", {}, user)
    assert {one["name"] for one in deployments} == set(DEPLOYMENTS)
    assert all(name in listed for name in DEPLOYMENTS)
    (scheduled,) = [one for one in deployments if one["schedules"]]
    assert (scheduled["name"], scheduled["schedules"][0]["schedule"]["cron"]) == ("regenerate", "0 3 * * *")

    (tmp_path / "quick.yaml").write_text(
        "name: quick\nobjective: {kind: classification}\ntraining: {epochs: 1, batch_size: 16}\n"
    )
    out = tmp_path / "all"
    small = {"recipe": "tiny", "overrides": small_overrides, "workers": 1}
    everything = {**small, "experiments": [str(tmp_path / "quick.yaml")], "out": str(out)}
    name = "simulate-and-train/simulate-and-train"
    said = real_service.well("prefect", "deployment", "run", name, "--watch", *parameters_of(everything))
    assert "Completed" in said
    assert verify(out / "tiny.zarr").sound
    (folder,) = (out / "runs" / "quick" / "reports").iterdir()
    report = Report.model_validate_json((folder / "report.json").read_bytes())

    artifacts = {one["key"]: one for one in real_service.ask("/artifacts/latest/filter", {}, user)}
    assert {"shards-tiny", "training-quick", "metrics-quick", "report-quick"} <= set(artifacts)
    assert report.headline in artifacts["report-quick"]["data"]
    rows = json.loads(artifacts["metrics-quick"]["data"])
    assert {"metric", "value", "constant"} == set(rows[0])
    assert "AUC macro" in {row["metric"] for row in rows}

    # our own command takes the short name; the same again makes nothing anew
    said = real_service.well(
        "lensmill", "deployment", "run", "simulate-and-train", "--watch", *parameters_of(everything)
    )
    assert said.strip().endswith("Completed")
    store = tmp_path / "alone.zarr"
    said = real_service.well(
        "lensmill", "deployment", "run", "simulate", "--watch", *parameters_of({**small, "out": str(store)})
    )
    assert said.strip().endswith("Completed")
    assert verify(store).sound
    _says_what_is_wrong(real_service)

    port = int(record.address.removesuffix("/api").rpartition(":")[2])
    assert real_service.well("lensmill", "down") == "down\n"
    assert [process.cmdline() for process in real_service.processes()] == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not (real_service.state / "service.json").exists()
    assert real_service.well("lensmill", "down") == "nothing was up\n"
    ended = real_service.run("lensmill", "deployment", "run", "simulate")
    assert ended.returncode == 1
    assert "the service is not up" in ended.stderr


def _mends_what_died(running_service: Service) -> None:
    before = running_service.record()
    assert before.worker is not None
    worker = psutil.Process(before.worker[0])
    worker.kill()
    worker.wait(30)
    running_service.well("lensmill", "up")
    after = running_service.record()
    assert (after.address, after.server) == (before.address, before.server)
    assert after.worker != before.worker
    assert after.deployed == before.deployed


def _says_what_is_wrong(running_service: Service) -> None:
    # every run gets a path, so that nothing is made where the deployments point to by default
    out = f"out={running_service.state.parent / 'wrong.zarr'}"
    ended = running_service.run("lensmill", "deployment", "run", "simulat", "--param", out)
    assert ended.returncode == 1
    assert "there is no deployment 'simulat/simulat'" in ended.stderr
    assert "Traceback" not in ended.stderr
    run = ("lensmill", "deployment", "run", "simulate", "--watch", "--param", out, "--param")
    # no run is made for what the form or the recipe's reader refuses
    before = len(running_service.ask("/flow_runs/filter", {}, running_service.secret))
    for parameter, says in (("recipe=none", "unknown recipe 'none'"), ("workers=many", "workers: 'many'")):
        ended = running_service.run(*run, parameter)
        assert ended.returncode == 2
        assert says in ended.stderr
        assert "Traceback" not in ended.stderr
    assert len(running_service.ask("/flow_runs/filter", {}, running_service.secret)) == before
    ended = running_service.run(*run, "shard_size=3")
    assert ended.returncode == 1
    assert ended.stdout.strip().endswith("Failed")
    # the state's message is ours, word for word
    assert ended.stderr.splitlines()[0] == "a shard of 3 images"
    assert "Traceback" not in ended.stderr
    assert not (running_service.state.parent / "wrong.zarr").exists()
