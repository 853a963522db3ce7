"""The command, in this process for speed and as a real one where that matters."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import cli
from flows import repair as repairing
from flows.generate import Order
from flows.repair import RepairReport
from flows.shards import make_shard
from schemas.errors import LensmillError
from schemas.store import Receipt
from storage import commit
from storage.layout import Span
from storage.reader import open_store

MOST_SECONDS = 240


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def lensmill(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command's own `main` in this process."""

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["lensmill", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        code = caught.value.code
        return Said(code if isinstance(code, int) else int(code is not None), said.out, said.err)

    return run


@dataclass
class Command:
    """A running `lensmill` with all its descendants, which carry a mark in their environment."""

    process: subprocess.Popen[str]
    mark: str

    def descendants(self) -> list[psutil.Process]:
        """All living processes with the mark, but for the driver itself."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.pid != self.process.pid and process.environ().get("MARK") == self.mark:
                    found.append(process)
        return found

    def wait(self) -> Said:
        """The end of the driver."""
        out, err = self.process.communicate(timeout=MOST_SECONDS)
        return Said(self.process.returncode, out, err)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until something is so; fails when the command ends before or time is up."""
        deadline = time.monotonic() + MOST_SECONDS
        while not condition():
            if self.process.poll() is not None:
                pytest.fail(f"the command ended too early: {self.process.communicate()}")
            if time.monotonic() > deadline:
                pytest.fail("waited in vain")
            time.sleep(0.02)

    def wait_until_alone(self) -> None:
        """Until nothing that the command started is alive."""
        deadline = time.monotonic() + 60
        while left := self.descendants():
            if time.monotonic() > deadline:
                pytest.fail(f"left running: {[process.cmdline() for process in left]}")
            time.sleep(0.1)

    def end(self) -> None:
        """Whatever happened, nothing stays."""
        for process in self.descendants():
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        self.process.wait(timeout=30)


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    """Start a real command, in a process group of its own as a terminal does."""
    started: list[Command] = []

    def run(*arguments: str | Path) -> Command:
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("lensmill")), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MARK": mark},
            start_new_session=True,
        )
        started.append(Command(process, mark))
        return started[-1]

    yield run
    for command in started:
        command.end()


@pytest.fixture
def repair_here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RepairReport]:
    """Repair with shards made in this process, one by one; `made` of the order tells them."""

    def make(order: Order, spans: Sequence[Span], *_: Any) -> dict[Span, Receipt]:
        with pytest.raises(LensmillError):
            open_store(order.root)
        return {
            span: make_shard(order.root, order.recipe, order.plan, span, order.expected(span))
            for span in spans
        }

    monkeypatch.setattr(repairing, "_make", make)
    return repairing.repair


@pytest.fixture
def run_folder() -> Callable[[Path], Path]:
    """A run folder with a whole record and weights that are none."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(b"weights")
        record = json.loads((Path(__file__).parent / "run_record.json").read_text())
        record["weights_sha256"] = hashlib.sha256(b"weights").hexdigest()
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return make


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, with Prefect's folder in it."""
    folder = tmp_path / "state"
    monkeypatch.setenv("LENSMILL_HOME", str(folder))
    monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (folder / "prefect").mkdir(parents=True)
    return folder


@pytest.fixture
def order(sound_store: Order, tmp_path: Path) -> Order:
    """A store that was begun."""
    order = replace(sound_store, root=tmp_path / "begun.zarr")
    commit.begin(order.root, order.recipe, order.plan)
    return order
