"""A real S3 server for tests, as a child process on loopback."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flows.serving.server import free_port, stop
from storage.files.object_path import ObjectPath

SCRIPT = Path(__file__).with_name("s3_server.py")
BUCKET = "lensmill-tests"
SECRET = "s3cr3t/of+the/tests"  # noqa: S105 - opens nothing
KEY = "AKIALENSMILLTESTS"
START_SECONDS = 60


@dataclass(frozen=True)
class S3:
    """The server, and the settings that lead there."""

    port: int
    environment: dict[str, str] = field(default_factory=dict)

    def new_root(self, name: str) -> ObjectPath:
        """A place where nothing is."""
        return ObjectPath(BUCKET, f"{uuid.uuid4().hex[:8]}/{name}")

    def ask(self, method: str, path: str, body: str | None = None) -> str:
        """A request of our own, without a signature."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            assert answer.status < 400, answer.status
            return answer.read().decode()
        finally:
            connection.close()

    def requests(self) -> Counter[str]:
        """How often each method was asked for since the last time."""
        return Counter(line.split()[0] for line in self.ask("GET", "/__requests__").splitlines())

    @contextlib.contextmanager
    def closed_to_strangers(self) -> Iterator[None]:
        """Keys are checked; ours is none that the server knows."""
        self.ask("POST", "/moto-api/reset-auth", "0")
        try:
            yield
        finally:
            self.ask("POST", "/moto-api/reset-auth", "inf")


@contextlib.contextmanager
def s3_server(logs: Path) -> Iterator[S3]:
    """A server with an empty bucket. It ends with this process, whatever ends that."""
    port = free_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }
    command = [
        sys.executable,
        "-m",
        "flows.serving.guarded",
        str(os.getpid()),
        sys.executable,
        str(SCRIPT),
        str(port),
    ]
    with (logs / f"s3-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        server = S3(port, environment)
        _wait(server, process)
        server.ask("PUT", f"/{BUCKET}")
        server.requests()
        yield server
    finally:
        stop(process)


def _wait(server: S3, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            server.ask("GET", "/__requests__")
            return
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start: {process.args}")
