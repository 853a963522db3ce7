"""A real service for tests: server, worker and deployments in a state folder of their own."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.serving.answers import BUSY_PAUSES
from flows.serving.service import ServiceRecord, record_path

MOST_SECONDS = 600
# what a server answers whose database is locked
BUSY = 503


@dataclass(frozen=True)
class Service:
    """Commands in an environment where nothing but the state folder is known."""

    state: Path
    environment: dict[str, str]

    def run(self, command: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """`lensmill` or `prefect`; the latter finds the service by PREFECT_HOME."""
        extra = {"PREFECT_HOME": str(self.state / "prefect")} if command == "prefect" else {}
        return subprocess.run(
            [str(Path(sys.executable).with_name(command)), *map(str, arguments)],
            env=self.environment | extra,
            cwd=self.state.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def well(self, command: str, *arguments: str | Path) -> str:
        """What a command says that ends well."""
        ended = self.run(command, *arguments)
        assert ended.returncode == 0, (ended.stdout, ended.stderr)
        assert "Traceback" not in ended.stderr
        return ended.stdout

    def processes(self) -> list[psutil.Process]:
        """All living processes that know the state folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("LENSMILL_HOME") == str(self.state)
                if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    @property
    def secret(self) -> str:
        """User and password of the API."""
        return (self.state / "prefect" / "auth").read_text()

    def run_of(self, flow_run: str) -> dict[str, Any]:
        """What the server says of a run."""
        (found,) = self.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}}, self.secret)
        return dict(found)

    def children_of(self, flow_run: str) -> list[dict[str, Any]]:
        """Runs that a run has started."""
        of_run = {"flow_runs": {"parent_flow_run_id": {"any_": [flow_run]}}, "limit": 200}
        return list(self.ask("/flow_runs/filter", of_run, self.secret))

    def submit(self, deployment: str, parameters: dict[str, Any]) -> str:
        """The id of a new run of a deployment."""
        named = {"deployments": {"name": {"any_": [deployment]}}}
        (found,) = self.ask("/deployments/filter", named, self.secret)
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        made = self.ask(f"/deployments/{found['id']}/create_flow_run", body, self.secret)
        return str(made["id"])

    def wait_until(self, condition: Callable[[], Any]) -> Any:
        """What a condition gives, once it is something."""
        deadline = time.monotonic() + MOST_SECONDS
        while not (found := condition()):
            if time.monotonic() > deadline:
                pytest.fail("waited in vain")
            time.sleep(0.5)
        return found

    def ended(self, flow_run: str) -> dict[str, Any]:
        """A run when it has ended."""
        final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        self.wait_until(lambda: self.run_of(flow_run)["state_type"] in final)
        return self.run_of(flow_run)

    def log_of(self, flow_run: str) -> list[str]:
        """The lines of a run's log."""
        of_run = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return [line["message"] for line in self.ask("/logs/filter", of_run, self.secret)]

    def record(self) -> ServiceRecord:
        return ServiceRecord.model_validate_json((self.state / "service.json").read_bytes())

    def ask(self, path: str, body: Any, user: str | None = None) -> Any:
        """The API's answer to a POST; a server whose database is busy for the moment is asked again."""
        headers = {"Content-Type": "application/json"}
        if user is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        request = urllib.request.Request(  # noqa: S310 - of our own server
            self.record().address + path, json.dumps(body).encode(), headers, method="POST"
        )
        for pause in (*BUSY_PAUSES, None):
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != BUSY or pause is None:
                    raise
                time.sleep(pause)
        return None


@contextlib.contextmanager
def live_service(folder: Path) -> Iterator[Service]:
    """Commands with a state folder of their own; whatever happens, nothing stays."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    found = Service(folder / "state", environment | {"LENSMILL_HOME": str(folder / "state")})
    try:
        yield found
    finally:
        with contextlib.suppress(subprocess.SubprocessError, psutil.Error):
            found.run("lensmill", "down")
        for process in found.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def parameters_of(values: dict[str, Any]) -> list[str]:
    """As `lensmill deployment run` takes them."""
    return [word for name, value in values.items() for word in ("--param", f"{name}={json.dumps(value)}")]


def recorded(server: tuple[int, float], worker: tuple[int, float]) -> ServiceRecord:
    """A service that these processes seem to be, written down."""
    record = ServiceRecord(address="http://127.0.0.1:9/api", server=server, worker=worker)
    record_path().write_text(record.to_json())
    return record
