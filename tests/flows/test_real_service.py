"""The real service: up, deployments run by both commands, artifacts, down without leftovers."""

import json
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schemas.report import Report
from storage.verify import verify
from tests.live_service import Service, live_service, parameters_of

DEPLOYMENTS = ("simulate", "train", "evaluate", "simulate-and-train", "regenerate", "verify-all")


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
    scheduled = {
        one["name"]: one["schedules"][0]["schedule"]["cron"] for one in deployments if one["schedules"]
    }
    assert scheduled == {"regenerate": "0 3 * * *", "verify-all": "0 6 * * 0"}

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
    assert {"metric", "value", "interval", "baseline", "constant"} == set(rows[0])
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
