"""Where workers are: what a command names, which form they can take, extras, limits of memory."""

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed.scheduler import KilledWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.catalogue import load_cluster, shipped
from flows.clusters import preconditions
from flows.clusters.local import chosen
from flows.clusters.opening import cluster_of, form_for, result_of, threads_to_come
from flows.clusters.worker_settings import SPAWN, WORKER_CONFIG, worker_environment
from schemas.cluster import ExistingScheduler, Kubernetes, LocalWorkers, Slurm
from schemas.errors import FlowError, RecipeError, UnknownNameError

LOOPBACK = ExistingScheduler(address="tcp://127.0.0.1:8786")
FAR = ExistingScheduler(address="tcp://head:8786", plaintext=True)
JOBS = Slurm(kind="slurm", cores=2, memory="4 GiB", most_jobs=2)
PODS = Kubernetes(kind="kubernetes", image="lensmill", most_workers=2, plaintext=True)


# -- naming one


def test_nothing_named_is_this_machine() -> None:
    assert load_cluster(None, None) is None
    assert chosen(None, 3) == LocalWorkers(workers=3)
    assert chosen(JOBS, 3) is JOBS


@pytest.mark.parametrize("name", ["kubernetes", "slurm", "workstation"])
def test_a_shipped_cluster_goes_by_its_name(name: str) -> None:
    assert name in shipped("cluster")
    assert load_cluster(Path(name), None) is not None
    text = shipped("cluster")[name].read_text()
    assert "lensmill schema cluster" in text
    assert "--cluster" in text


def test_clusters_are_no_recipes() -> None:
    assert not set(shipped("cluster")) & set(shipped())


def test_unknown_names_list_the_known(lensmill: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="slrum"):
        load_cluster(Path("slrum"), None)
    said = lensmill("simulate", "tiny", "--out", tmp_path / "x.zarr", "--cluster", "slrum")
    assert said.code == 2
    assert "slurm" in said.err
    assert not (tmp_path / "x.zarr").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--dask-address", "tcp://10.0.0.7:8786"), "plaintext: true"),
        (("--dask-address", "nonsense"), "address"),
        (("--dask-address", "tls://head:8786"), "needs `tls`"),
        (("--dask-address", "tcp://127.0.0.1:1", "--cluster", "slurm"), "two clusters"),
        (("--cluster", "slurm", "--workers", "3"), "--workers 3 is for this machine"),
        (("--cluster", "/nowhere/cluster.yaml"), "cannot read"),
    ],
)
def test_what_names_no_cluster(
    lensmill: Callable[..., Any], tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    said = lensmill("simulate", "tiny", "--out", tmp_path / "x.zarr", *options)
    assert said.code == 2
    assert told in said.err
    assert said.err.count("error:") == 1
    assert not (tmp_path / "x.zarr").exists()


def test_certificates_count_from_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "c.yaml").write_text(
        "cluster: {kind: scheduler, address: 'tls://a:1', tls: {ca: ca.pem, cert: /etc/c.pem, key: ~/k.pem}}"
    )
    found = load_cluster(tmp_path / "c.yaml", None)
    assert isinstance(found, ExistingScheduler)
    assert found.tls is not None
    assert found.tls.ca == str(tmp_path / "ca.pem")
    assert found.tls.cert == "/etc/c.pem"
    assert found.tls.key == str(tmp_path / "home" / "k.pem")


def test_recipes_lists_the_clusters(lensmill: Callable[..., Any]) -> None:
    said = lensmill("recipes")
    assert said.code == 0
    assert all(name in said.out for name in shipped("cluster"))


# -- the form of the work


@pytest.mark.parametrize(
    ("where", "asked", "expected"),
    [
        (LocalWorkers(), None, None),
        (LocalWorkers(), False, False),
        (LOOPBACK, None, None),
        (LOOPBACK, False, False),
        (FAR, None, True),
        (JOBS, None, True),
        (JOBS, True, True),
        (PODS, None, True),
    ],
)
def test_workers_elsewhere_get_shards_and_no_tasks(where: Any, asked: Any, expected: Any) -> None:
    assert form_for(where, asked) is expected


@pytest.mark.parametrize("url", ["http://127.0.0.1:4200/api", "http://localhost:4200/api"])
def test_batches_elsewhere_need_a_server_that_is_reached(url: str) -> None:
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(FlowError, match="cannot reach Prefect"):
        form_for(JOBS, False)
    with temporary_settings({PREFECT_API_URL: "https://prefect.example.org/api"}):
        assert form_for(JOBS, False) is False


# -- extras and settings


@pytest.mark.parametrize(("where", "extra"), [(JOBS, "slurm"), (PODS, "kubernetes")])
def test_a_missing_extra_is_told(where: Any, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "find_spec", lambda _: None)
    with pytest.raises(FlowError, match=extra) as caught, cluster_of(where, 3):
        pass
    assert f"pip install -e '.[{extra}]'" in caught.value.advice


def test_the_extras_are_there_to_be_tested() -> None:
    assert importlib.util.find_spec("dask_jobqueue")
    assert importlib.util.find_spec("dask_kubernetes")


def test_settings_are_the_same_for_workers_that_are_started_elsewhere() -> None:
    told = worker_environment()
    read = dask.config.collect_env({name: text for name, text in told.items() if name.startswith("DASK_")})
    with dask.config.set(WORKER_CONFIG):
        spawned = dask.config.get("distributed.nanny.pre-spawn-environ")
        for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
            assert told[name] == str(spawned[name])
    known = dask.config.merge(*dask.config.defaults)
    for key in WORKER_CONFIG:
        if not key.startswith(SPAWN):
            assert dask.config.get(key, config=known, default=None) is not None, key
            assert dask.config.get(key, config=read) == WORKER_CONFIG[key]
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    for name, value in told.items():
        assert f"{name}={value}" in page or name == "DASK_LOGGING__DISTRIBUTED", (
            "for schedulers of other people"
        )
    for key in ("worker.profile.enabled", "worker.memory.pause", "worker.memory.spill"):
        assert dask.config.get(f"distributed.{key}", config=read) is False


# -- memory


class GivenUp:
    """Work that Dask gave up because each of its workers died."""

    def result(self) -> float:
        """As Dask raises it."""
        last: Any = type("State", (), {"memory_limit": 2**30})()
        raise KilledWorker("make shards", last, 3)


def test_the_limit_of_memory_is_named() -> None:
    with pytest.raises(FlowError) as caught:
        result_of(GivenUp(), "shard 3 of train")
    assert "1.00 GiB" in caught.value.advice


def _hold(pieces: int) -> int:
    """A MiB at a time, since the nanny looks ten times a second."""
    held = []
    for _ in range(pieces):
        held.append(bytearray(os.urandom(1 << 20)))
        time.sleep(0.002)
    return len(held)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_worker_over_its_limit_is_ended_and_the_end_says_so() -> None:
    where = LocalWorkers(workers=1, memory="600 MB")
    with cluster_of(where, 4) as runner:
        assert result_of(runner.client.submit(len, "abc"), "a word") == 3
        with pytest.raises(FlowError, match="given up") as caught:
            result_of(runner.client.submit(_hold, 2000), "a glutton")
        assert "572.20 MiB" in caught.value.advice
        assert result_of(runner.client.submit(len, "abcd"), "a word") == 4, "the next worker works"


def test_threads_that_may_come_count() -> None:
    class Runner:
        client: Any = type("Client", (), {"nthreads": staticmethod(lambda: {"a": 2})})()
        adapt_kwargs: dict[str, int] = {}  # noqa: RUF012

    runner: Any = Runner()
    assert threads_to_come(runner) == 2
    runner.adapt_kwargs = {"maximum": 8}
    assert threads_to_come(runner) == 16


def test_the_address_of_a_command_is_checked_before_anything_starts() -> None:
    with pytest.raises(RecipeError) as caught:
        load_cluster(None, "tcp://10.0.0.7:8786")
    assert "--dask-address" in str(caught.value)
    assert "--cluster" in caught.value.advice
