"""Several processes that share every batch: one to a GPU, or so many on a CPU.

The first process is the one that was started; it alone writes the run. The others run
`train.other_process`, and are told what to do in a line of JSON. A batch is that of the recipe whatever the
number of processes: each has its part of it, and gradients are averaged before each step.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only

from schemas.errors import LensmillError, ResourceError, RunError
from schemas.experiment import ExperimentRecipe
from train.records.unfinished import CHECKPOINTS

LOOPBACK = "127.0.0.1"
SECONDS_TO_END = 10
READY = b"ready\n"
# Characters of a failed process's log that are told.
LAST_WORDS = 600


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is, and where they meet."""

    rank: int = 0
    world: int = 1
    port: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0


class Environment(LightningEnvironment):
    """Tells Lightning that the processes are there already."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self.ranks = ranks

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return LOOPBACK

    @property
    def main_port(self) -> int:
        return self.ranks.port

    def local_rank(self) -> int:
        return self.ranks.rank

    def node_rank(self) -> int:
        return 0


def strategy_of(ranks: Ranks, in_parts: bool) -> Any:
    """How Lightning brings gradients together; `in_parts`: a step goes back through a network at a time."""
    if ranks.world == 1:
        return "auto"
    return DDPStrategy(cluster_environment=Environment(ranks), find_unused_parameters=in_parts)


def check_devices(count: int) -> None:
    """Refuse more GPUs than there are."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else count
    if count > there:
        raise ResourceError(
            f"{count} devices are asked for, and there {'is' if there == 1 else 'are'} {there}",
            expected="a GPU for each process",
            where="training.devices",
            advice=f"set training.devices to {there}",
        )


@contextlib.contextmanager
def other_processes(experiment: ExperimentRecipe, data: str, folder: Path) -> Iterator[Ranks]:
    """The other processes, started and ended; yields the place of this one."""
    world = experiment.training.devices
    if world == 1:
        yield Ranks()
        return
    port, threads = _free_port(), max(1, torch.get_num_threads() // world)
    torch.set_num_threads(threads)
    others: list[subprocess.Popen[bytes]] = []
    try:
        others.extend(
            _started(experiment, data, folder, Ranks(rank, world, port), threads) for rank in range(1, world)
        )
        # one that failed would never come to where the others meet
        if not all(_is_ready(one) for one in others):
            raise RuntimeError("a process ended before it was ready")
        yield Ranks(0, world, port)
        for one in others:
            # the work is done: one that lingers on a busy machine is ended below, and is no failure
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(SECONDS_TO_END)
    except LensmillError:
        raise
    except Exception as error:
        _tell(error, others, folder)
        raise
    finally:
        leave()
        _end(others)


def leave() -> None:
    """End what Lightning leaves open, so that another training may follow."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    rank_zero_only.rank = 0  # type: ignore[attr-defined]


def _is_ready(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    with process.stdout as pipe:
        return pipe.readline() == READY


def _started(
    experiment: ExperimentRecipe, data: str, folder: Path, ranks: Ranks, threads: int
) -> subprocess.Popen[bytes]:
    work = {
        "experiment": experiment.model_dump(mode="json"),
        "data": data,
        "folder": str(folder),
        "ranks": [ranks.rank, ranks.world, ranks.port],
    }
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(one for one in sys.path if one),
    }
    log = (folder / CHECKPOINTS / f"process-{ranks.rank}.log").open("wb")
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", "train.other_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(json.dumps(work).encode())
    return process


def _tell(error: Exception, others: list[subprocess.Popen[bytes]], folder: Path) -> None:
    """Where another process failed, its last words are the cause; this one hears no more than silence."""
    for rank, one in enumerate(others, start=1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.wait(SECONDS_TO_END)
        if one.returncode:
            said = (folder / CHECKPOINTS / f"process-{rank}.log").read_text(errors="replace").strip()
            raise RunError(
                f"process {rank} of {len(others) + 1} ended with {one.returncode}: {said[-LAST_WORDS:]}",
                advice="mend what it says, and run the same command to go on from the last checkpoint",
            ) from error


def _end(others: list[subprocess.Popen[bytes]]) -> None:
    for one in others:
        if one.poll() is None:
            one.terminate()
    for one in others:
        try:
            one.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def _free_port() -> int:
    with socket.socket() as door:
        door.bind((LOOPBACK, 0))
        return int(door.getsockname()[1])
