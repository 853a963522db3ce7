"""Trainings on another work pool and on a Dask worker: a real server, two pools, two workers."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import RunError
from schemas.report import Report
from schemas.run import RunRecord
from tests.live_service import Service, live_service
from train.records.under_way import refuse_unfinished

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

QUICK = "name: {}\nobjective: {{kind: classification}}\ntraining: {{epochs: {}, batch_size: 16}}\n"


@contextlib.contextmanager
def _dask(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """A scheduler and a worker that offers a GPU, as processes; its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *words: str) -> Path:
        log = folder / f"{name}.log"
        command = [sys.executable, "-m", f"distributed.cli.{name}", *words, "--no-dashboard"]
        with log.open("wb") as output:
            # its log says the address
            quiet = {**environment, "DASK_LOGGING__DISTRIBUTED": "info"}
            started.append(subprocess.Popen(command, stdout=output, stderr=output, env=quiet, cwd=folder))
        return log

    def said(log: Path, pattern: str) -> str:
        while not (found := re.search(pattern, log.read_text())):
            assert all(one.poll() is None for one in started), log.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                started[-1].wait(0.2)
        return found[0]

    try:
        log = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        address = said(log, r"tcp://127\.0\.0\.1:\d+")
        log = start("dask_worker", address, "--resources", "GPU=1", "--no-nanny", "--nthreads", "1")
        said(log, "Registered to")
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait(30)


def _experiment(folder: Path, name: str, epochs: int = 1, more: str = "") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(QUICK.format(name, epochs) + more)
    return str(path)


def _placed(service: Service, parent: str) -> list[dict[str, Any]]:
    """What a run has running on the second pool."""
    return [one for one in service.children_of(parent) if one["work_pool_name"] == "gpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service, the data and the runs are."""
    return tmp_path_factory.mktemp("placed")


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Service]:
    """A service that is up."""
    with live_service(folder) as service:
        service.well("lensmill", "up")
        yield service


@pytest.fixture(scope="module")
def gpu(up: Service) -> Service:
    """The same with a second pool and its worker."""
    said = up.well("lensmill", "up", "--pool", "gpu")
    assert "polls pool gpu" in said
    return up


@pytest.fixture(scope="module")
def submit(up: Service, folder: Path, small_overrides: list[str]) -> Callable[..., str]:
    """Let the pipeline run an experiment on the one data set; the run's id."""

    def run(experiment: str, **more: Any) -> str:
        data = {"recipe": "tiny", "overrides": small_overrides, "workers": 1, "out": str(folder / "out")}
        return up.submit("simulate-and-train", {**data, "experiments": [experiment], **more})

    return run


def _begun(service: Service, parent: str) -> dict[str, Any]:
    """The training on the second pool, once it runs."""

    def running() -> list[dict[str, Any]]:
        return [one for one in _placed(service, parent) if one["state_type"] == "RUNNING"]

    (child,) = service.wait_until(running)
    return dict(child)


def test_a_pool_that_nobody_polls_is_not_waited_for_for_ever(
    up: Service, submit: Callable[..., str], folder: Path
) -> None:
    placed = "placement: {kind: pool, pool: nobody, wait_minutes: 0.05}\n"
    run = up.ended(submit(_experiment(folder, "alone", more=placed)))
    assert run["state_type"] == "FAILED"
    assert re.match(r"no worker polls pool nobody since \d+ s\n  expected: ", run["state"]["message"])
    assert "lensmill up --pool nobody" in run["state"]["message"]


def test_two_pools_and_two_workers(gpu: Service, submit: Callable[..., str], folder: Path) -> None:
    run = gpu.ended(submit(_experiment(folder, "on_pool", more="placement: {kind: pool, pool: gpu}\n")))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["work_pool_name"] == "lensmill"
    children = _placed(gpu, run["id"])
    assert len(children) == 2, "train and evaluate"
    assert all(one["state_type"] == "COMPLETED" and one["parent_task_run_id"] for one in children)
    logs = gpu.state / "prefect"
    for child in children:
        # what each worker says itself, without what it says of the parent's log
        started = f"submitting flow run '{child['id']}'"
        theirs, others = (
            [line for line in (logs / f"worker-{pool}.log").read_text().splitlines() if "gpu| " not in line]
            for pool in ("gpu", "lensmill")
        )
        assert any(started in line for line in theirs)
        assert not any(started in line for line in others)
    log = gpu.log_of(run["id"])
    assert any(line.endswith("on pool gpu: Running") for line in log)
    assert any(line.startswith("gpu| ") for line in log)
    out = folder / "out" / "runs" / "on_pool"
    record = RunRecord.model_validate_json((out / "run.json").read_bytes())
    assert record.data.train_samples == 42
    (page,) = (out / "reports").iterdir()
    assert Report.model_validate_json((page / "report.json").read_bytes()).run == str(out)


def test_a_child_that_fails_fails_its_parent_in_its_own_words(
    gpu: Service, submit: Callable[..., str], folder: Path
) -> None:
    bad = _experiment(folder, "bad", more="data: {classes: [moon, sun]}\n")
    run = gpu.ended(submit(bad, placement={"kind": "pool", "pool": "gpu"}))
    assert run["state_type"] == "FAILED"
    assert "moon" in run["state"]["message"].splitlines()[0]
    (child,) = _placed(gpu, run["id"])
    assert child["state"]["message"] == run["state"]["message"]


def test_a_parent_that_is_cancelled_takes_its_child_with_it(
    gpu: Service, submit: Callable[..., str], folder: Path
) -> None:
    parent = submit(_experiment(folder, "long", 100_000, "placement: {kind: pool, pool: gpu}\n"))
    child = _begun(gpu, parent)
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    gpu.ask(f"/flow_runs/{parent}/set_state", cancelling, gpu.secret)
    assert gpu.ended(parent)["state_type"] == "CANCELLED"
    assert gpu.ended(child["id"])["state_type"] == "CANCELLED"


def test_a_dask_worker_with_the_resource(up: Service, submit: Callable[..., str], folder: Path) -> None:
    with _dask(folder, {**os.environ, **up.environment}) as address:
        where = {"kind": "dask", "scheduler": {"kind": "scheduler", "address": address}}
        run = up.ended(submit(_experiment(folder, "on_dask"), placement=where))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert (folder / "out" / "runs" / "on_dask" / "run.json").is_file()
    assert (folder / "out" / "runs" / "on_dask" / "reports").is_dir()
    assert any("training on_dask: submitted to" in line for line in up.log_of(run["id"]))


def test_a_training_on_a_dask_worker_ends_when_its_flow_is_cancelled(
    up: Service, submit: Callable[..., str], folder: Path
) -> None:
    with _dask(folder, {**os.environ, **up.environment}) as address:
        where = {"kind": "dask", "scheduler": {"kind": "scheduler", "address": address}}
        run = submit(_experiment(folder, "endless", 100_000), placement=where)
        partial = folder / "out" / "runs" / ".endless.partial"
        up.wait_until(lambda: list(partial.rglob("*.pt")))
        with pytest.raises(RunError, match="is being trained now"):
            refuse_unfinished(partial.with_name("endless"))
        cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        up.ask(f"/flow_runs/{run}/set_state", cancelling, up.secret)
        assert up.ended(run)["state_type"] == "CANCELLED"

        def interrupted() -> bool:
            with pytest.raises(RunError) as caught:
                refuse_unfinished(partial.with_name("endless"))
            return "was interrupted" in caught.value.found

        up.wait_until(interrupted)


def test_a_night_has_its_model_trained_on_the_second_pool(
    gpu: Service, folder: Path, small_overrides: list[str]
) -> None:
    lineage = folder / "lineage"
    night = {"recipe": "tiny", "folder": str(lineage), "workers": 1, "overrides": small_overrides}
    night |= {"audit": False, "experiments": [_experiment(folder, "nightly")]}
    run = gpu.ended(gpu.submit("regenerate", night | {"placement": {"kind": "pool", "pool": "gpu"}}))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert (lineage / "latest").read_text() == "v0001.zarr\n"
    assert [one["state_type"] for one in _placed(gpu, run["id"])] == ["COMPLETED"] * 2, "train and evaluate"
    out = lineage / "runs" / "nightly" / "v0001"
    (page,) = out.glob("reports/*/report.json")
    assert Report.model_validate_json(page.read_bytes()).run == str(out)
    latest = gpu.ask("/artifacts/latest/filter", {}, gpu.secret)
    assert "first" in next(one["data"] for one in latest if one["key"] == "trend-nightly")


# the last one: it ends the service
def test_runs_at_work_when_all_is_ended_are_cancelled(
    gpu: Service, submit: Callable[..., str], folder: Path
) -> None:
    parent = submit(_experiment(folder, "long", 100_000, "placement: {kind: pool, pool: gpu}\n"))
    _begun(gpu, parent)
    said = gpu.well("lensmill", "down")
    assert "cancelled: simulate-and-train/" in said
    assert "cancelled: train/" in said
    assert "ended: the worker of pool gpu" in said
    assert [process.cmdline() for process in gpu.processes()] == []
    gpu.well("lensmill", "up")
    assert gpu.run_of(parent)["state_type"] in ("CANCELLED", "CRASHED")
    assert next(one["state_type"] for one in _placed(gpu, parent)) in ("CANCELLED", "CRASHED")
