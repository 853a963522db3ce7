"""The sequence of docs/service.md without a command of lensmill: server, pool, deployments, worker, a run."""

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.serving.pools import ROOT
from flows.serving.server import free_port, wait_until_healthy
from storage.verify import verify
from tests.live_service import parameters_of

PREFECT = str(Path(sys.executable).with_name("prefect"))


@contextlib.contextmanager
def _started(log: Path, environment: dict[str, str], *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A command of Prefect's that stays, until it is ended with all that it started."""
    with log.open("wb") as output:
        process = subprocess.Popen([PREFECT, *words], env=environment, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield process
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True), process]
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_works_without_our_commands(tmp_path: Path, small_overrides: list[str]) -> None:
    secret = f"me:{secrets.token_hex(16)}"
    address = f"http://127.0.0.1:{free_port()}/api"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "PREFECT_API_URL": address,
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "LENSMILL_HOME": str(tmp_path / "state"),
    }

    def prefect(*words: str) -> str:
        ended = subprocess.run(
            [PREFECT, *words],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
        return ended.stdout

    (tmp_path / "quick.yaml").write_text(
        "name: quick\nobjective: {kind: classification}\ntraining: {epochs: 1, batch_size: 16}\n"
    )
    port = address.removesuffix("/api").rpartition(":")[2]
    server = ("server", "start", "--host", "127.0.0.1", "--port", port)
    worker = ("worker", "start", "--pool", "lensmill")
    with _started(tmp_path / "server.log", environment, *server) as running:
        wait_until_healthy(running, address, tmp_path / "server.log")
        prefect("work-pool", "create", "lensmill", "--type", "process")
        prefect("--no-prompt", "deploy", "--all")
        with _started(tmp_path / "worker.log", environment, *worker):
            everything = {
                "recipe": "tiny",
                "overrides": small_overrides,
                "workers": 1,
                "experiments": [str(tmp_path / "quick.yaml")],
                "out": str(tmp_path / "all"),
            }
            name = "simulate-and-train/simulate-and-train"
            assert "Completed" in prefect("deployment", "run", name, "--watch", *parameters_of(everything))
    assert verify(tmp_path / "all" / "tiny.zarr").sound
    assert list((tmp_path / "all" / "runs" / "quick" / "reports").rglob("report.html"))
