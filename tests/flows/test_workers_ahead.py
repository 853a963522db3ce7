"""Workers that are started before the flow that uses them, and processes that load little."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from distributed import Client, LocalCluster

from flows.catalogue import load_recipe
from flows.clusters import local
from flows.clusters.local import ahead, local_cluster
from flows.shards import modules_of

MODULES = modules_of(mapped=None)


def _processes(cluster: LocalCluster) -> list[psutil.Process]:
    return [psutil.Process(nanny.pid) for nanny in cluster.workers.values()]


def _are_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=30)[1]


def test_workers_started_ahead_are_those_that_are_used_and_end_with_their_use() -> None:
    with ahead(1, None, load_recipe("tiny"), MODULES):
        begun = local.AHEAD[0].cluster
        processes = _processes(begun)
        assert processes
        with local_cluster(1) as used:
            assert used is begun
            assert not local.AHEAD
        assert _are_gone(processes)


def test_workers_that_nobody_takes_are_ended() -> None:
    with ahead(1, None, load_recipe("tiny"), MODULES):
        processes = _processes(local.AHEAD[0].cluster)
    assert _are_gone(processes)
    assert not local.AHEAD


def test_ctrl_c_while_workers_start_is_not_lost_and_never_reaches_them() -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        with local._deaf_to_ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)
        assert pressed == [signal.SIGINT]
        with local_cluster(1) as cluster:
            (worker,) = _processes(cluster)
            os.kill(worker.pid, signal.SIGINT)
            with Client(cluster, set_as_default=False) as client:
                assert client.submit(os.getpid, pure=False).result(timeout=60) == worker.pid
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_workers_are_not_taken_for_those_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, str | None]] = []

    def new(workers: int, memory: str | None) -> LocalCluster:
        made.append((workers, memory))
        raise InterruptedError

    with ahead(1, None, load_recipe("tiny"), MODULES):
        monkeypatch.setattr(local, "_new", new)
        with pytest.raises(InterruptedError), local_cluster(1, "1 GiB"):
            raise AssertionError
        assert local.AHEAD, "still there for whoever asks for them"
    assert made == [(1, "1 GiB")]


def test_prefect_is_loaded_when_its_server_starts_and_not_before() -> None:
    late = "import sys, flows.simulating, flows.running; "
    late += "print(sorted({'prefect', 'prefect_dask', 'torch'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", late], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
