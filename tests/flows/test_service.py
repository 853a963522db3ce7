"""The service: up, deployments run by both commands, artifacts, down without leftovers."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.serving import deploying, service
from flows.serving.api import prefect_api
from flows.serving.deploying import deployment_names
from flows.serving.pools import WorkerRecord
from flows.serving.processes import identity, living
from flows.serving.server import free_port
from flows.serving.service import (
    ServiceRecord,
    client_environment,
    down,
    password,
    record_path,
    running,
)
from flows.serving.submission import run_deployment
from schemas.errors import FlowError
from tests.live_service import recorded

DEPLOYMENTS = ("simulate", "train", "evaluate", "simulate-and-train", "regenerate", "verify-all")


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
    recorded((ended.pid, started), (ended.pid, started))
    assert running() is None
    assert down()
    assert not record_path().exists()
    assert not down()


def test_a_number_that_was_used_again_is_not_running_and_not_ended(state: Path) -> None:
    me = psutil.Process()
    recorded((me.pid, me.create_time() - 100), (me.pid, me.create_time() + 100))
    assert running() is None
    assert down(), "the record is cleared away"
    assert me.is_running()


def test_the_recorded_process_is_running(state: Path) -> None:
    me = psutil.Process()
    record = recorded((me.pid, me.create_time()), (me.pid, me.create_time()))
    assert running() == record


@pytest.mark.parametrize("text", ["", "{", "[]", '{"address": 3}'])
def test_a_record_that_is_none(state: Path, text: str) -> None:
    record_path().write_text(text)
    assert running() is None
    assert not down()


def test_commands_use_the_service_that_is_up(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = psutil.Process()
    record = recorded((me.pid, me.create_time()), (me.pid, me.create_time()))
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
        assert service._is_ours(record)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            assert not service._is_ours(record.model_copy(update={"server": identity(child.pid)}))
        finally:
            child.communicate(timeout=30)


def test_a_port_that_is_taken_meanwhile_is_left_for_another(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def start(_: int, before: object) -> ServiceRecord:
        tried.append(before)
        me = psutil.Process()
        return ServiceRecord(address="http://127.0.0.1:9/api", server=(me.pid, me.create_time() - 9))

    monkeypatch.setattr(service, "_start_server", start)
    monkeypatch.setattr(service, "_mended", lambda record: record)
    monkeypatch.setattr(service, "_is_ours", lambda _: len(tried) == 2)
    service._start(0)
    assert len(tried) == 2
    monkeypatch.setattr(service, "_is_ours", lambda _: False)
    with pytest.raises(FlowError, match="every port was taken"):
        service._start(0)
    assert len(tried) == 5


def test_a_worker_that_lives_stands_still_until_missed_runs_are_dropped(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = psutil.Popen(["sleep", "600"])
    name = identity(worker.pid)
    before = recorded(name, name)
    (state / "prefect").mkdir(parents=True, exist_ok=True)
    seen: list[str] = []

    def dropped(_: object) -> None:
        # the signal is on its way for a moment
        while worker.status() != psutil.STATUS_STOPPED:
            pass
        seen.append("still")

    monkeypatch.setattr(service, "_start_server", lambda *_: before)
    monkeypatch.setattr(service, "_is_ours", lambda _: True)
    monkeypatch.setattr(service, "drop_missed", dropped)
    monkeypatch.setattr(service, "_mended", lambda record: record)
    try:
        assert service._start(0, before) == before
        assert seen == ["still"]
        while worker.status() == psutil.STATUS_STOPPED:
            pass
    finally:
        worker.kill()
        worker.wait(timeout=30)


def test_the_names_of_the_deployments_are_those_of_the_file() -> None:
    assert deployment_names() == set(DEPLOYMENTS)


def test_deployments_that_take_too_long_are_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploying, "DEPLOY_SECONDS", 0.01)
    with pytest.raises(FlowError, match="did not end within") as caught:
        deploying._deploy(os.environ, tmp_path / "server.log")
    assert "`lensmill up` again" in caught.value.advice


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
