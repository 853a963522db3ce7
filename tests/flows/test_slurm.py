"""SLURM: the job script line by line, how many jobs, what is refused, and runs on jobs of this machine."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flows.clusters import preconditions
from flows.clusters import slurm as jobs
from flows.clusters.opening import cluster_of
from flows.clusters.slurm import Jobs, bounds, job_of, options, security_in
from flows.clusters.worker_settings import worker_environment
from schemas.cluster import Slurm
from schemas.errors import FlowError
from storage.verify import verify
from tests.flows.messages import one_message
from tests.slurm import SlurmHere

BytesOf = Callable[[Path], dict[str, bytes]]
SMALL = Slurm(kind="slurm", cores=1, memory="2 GiB", most_jobs=2, walltime="00:10:00")
FULL = Slurm(
    kind="slurm",
    queue="standard",
    account="lensing",
    walltime="12:00:00",
    cores=16,
    processes=8,
    memory="64 GiB",
    least_jobs=1,
    most_jobs=20,
    job_extra_directives=("--qos=normal", "--constraint=haswell"),
    job_script_prologue=("module load python/3.11", "export AWS_PROFILE=lenses"),
    python="/opt/lensmill/.venv/bin/python",
    log_folder="/scratch/me/logs",
    scratch_folder="/local",
)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmHere]:
    """SLURM's commands on PATH; jobs are processes that nobody leaves behind."""
    here = SlurmHere(tmp_path / "slurm")
    here.install()
    monkeypatch.setenv("PATH", f"{here.commands}:{os.environ['PATH']}")
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(jobs, "QUEUE_SECONDS", 0.2)
    yield here
    here.end()


# -- what is asked for


def test_the_job_script_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.makedirs

    def only_ours(path: str, *more: Any, **options: Any) -> None:
        # Dask's own folder is made by whoever comes first
        if path != FULL.log_folder:
            real(path, *more, **options)

    monkeypatch.setattr("os.makedirs", only_ours)
    with Jobs(**options(FULL, tmp_path)) as cluster:
        script, address = cluster.job_script().splitlines(), cluster.scheduler_address
    assert address.startswith("tls://")
    assert script[:11] == [
        "#!/usr/bin/env bash",
        "",
        "#SBATCH -J lensmill",
        "#SBATCH -e /scratch/me/logs/lensmill-%J.err",
        "#SBATCH -o /scratch/me/logs/lensmill-%J.out",
        "#SBATCH -p standard",
        "#SBATCH -A lensing",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=16",
        "#SBATCH --mem=64G",
        "#SBATCH -t 12:00:00",
    ]
    assert script[11:13] == ["#SBATCH --qos=normal", "#SBATCH --constraint=haswell"]
    exports = [f"export {name}={value}" for name, value in worker_environment().items()]
    assert script[13 : 13 + len(exports)] == exports
    prologue = script[13 + len(exports) : -1]
    assert prologue == ["module load python/3.11", "export AWS_PROFILE=lenses"]
    words = script[-1].split()
    assert words[:4] == ["/opt/lensmill/.venv/bin/python", "-m", "distributed.cli.dask_worker", address]
    said = dict(pairwise(words))
    assert said["--nthreads"] == "2", "one thread renders, the other writes"
    assert said["--nworkers"] == "8"
    assert said["--memory-limit"] == "8.00GiB"
    assert said["--local-directory"] == "/local"
    assert said["--lifetime"] == f"{12 * 3600 - 240}s", "workers leave before SLURM ends them"
    assert said["--dashboard-address"] == "127.0.0.1:0"
    assert said["--protocol"] == "tls://"
    assert {said["--tls-ca-file"], said["--tls-cert"], said["--tls-key"]} == {
        str(tmp_path / name) for name in ("ca_file.pem", "cert.pem", "key.pem")
    }


def test_what_is_left_out_is_left_to_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path / "state"))
    with Jobs(**options(SMALL, tmp_path)) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p" not in script
    assert "#SBATCH -A" not in script
    assert "--local-directory" not in script
    assert f"#SBATCH -e {tmp_path / 'state' / 'slurm'}/" in script
    assert f"{sys.executable} -m distributed.cli.dask_worker" in script


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        security = security_in(tmp_path)
    finally:
        os.umask(old)
    assert security.require_encryption
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    with pytest.raises(FileExistsError):
        security_in(tmp_path)


def test_certificates_of_killed_runs_are_swept_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path))
    with jobs._certificates() as mine:
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        assert stat.S_IMODE(mine.parent.stat().st_mode) == 0o700
        name = mine.name
        dead, elsewhere = (mine.with_name(f"{host}+4194305+x") for host in (name.partition("+")[0], "other"))
        dead.mkdir()
        elsewhere.mkdir()
        with jobs._certificates():
            assert mine.exists()
        assert not dead.exists()
        assert elsewhere.exists(), "of another machine's processes nothing is known"
    assert not mine.exists()


def test_a_state_folder_that_no_job_script_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSMILL_HOME", str(tmp_path / "my home"))
    with pytest.raises(FlowError, match="LENSMILL_HOME"), jobs._certificates():
        pass


@pytest.mark.parametrize(
    ("shards", "least", "most"), [(1000, 8, 160), (160, 8, 160), (20, 8, 24), (8, 8, 8), (1, 8, 8)]
)
def test_no_more_workers_than_shards(shards: int, least: int, most: int) -> None:
    found = bounds(FULL, shards)
    assert (found["minimum"], found["maximum"]) == (least, most)


def test_workers_go_by_their_job() -> None:
    assert job_of("lensmill-3-0") == job_of("lensmill-3-1") == job_of("lensmill-3") == "lensmill-3"


def test_ctrl_c_stays_ours() -> None:
    program = "import signal; before = signal.getsignal(signal.SIGINT); import flows.clusters.slurm; "
    program += "assert signal.getsignal(signal.SIGINT) is before; assert signal.signal.__name__ == 'signal'"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FlowError, match="no sbatch, squeue, scancel here"), cluster_of(SMALL, 3):
        pass


def test_an_interface_that_is_not_there_is_bad_input(
    slurm: SlurmHere, lensmill: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    sizes = "cores: 1, memory: 2 GiB, most_jobs: 2, walltime: '00:10:00'"
    file.write_text(f"cluster: {{kind: slurm, {sizes}, interface: ib7}}\n")
    said = one_message(lensmill("simulate", "tiny", "--out", tmp_path / "new.zarr", "--cluster", file), 2)
    assert "no network interface 'ib7'" in said
    assert "one of" in said
    assert "lo" in said.partition("one of")[2]
    assert "cluster.interface" in said
    assert not (tmp_path / "new.zarr").exists()
    assert slurm.scripts() == []


def test_a_scheduler_that_does_not_start_is_told(slurm: SlurmHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "_need_interface", lambda _: None)
    where = SMALL.model_copy(update={"interface": "ib7"})
    with pytest.raises(FlowError, match=r"did not start here: .*'ib7' is not a valid"), cluster_of(where, 3):
        pass


# -- jobs of this machine


def test_a_job_that_is_refused(slurm: SlurmHere) -> None:
    slurm.refuse("sbatch: error: Invalid account or account/partition combination specified")
    with (
        pytest.raises(FlowError, match="refused a job: sbatch: error: Invalid account") as caught,
        cluster_of(SMALL, 3),
    ):
        pass
    assert "#SBATCH --mem=2G" in caught.value.advice


def test_jobs_that_end_before_a_worker_is_there(slurm: SlurmHere) -> None:
    where = SMALL.model_copy(update={"job_script_prologue": ("echo no such module >&2; exit 1",)})
    with pytest.raises(FlowError, match="ended before a worker was there") as caught, cluster_of(where, 3):
        pass
    assert "no such module" in str(caught.value)


def test_jobs_that_end_without_a_word(slurm: SlurmHere) -> None:
    where = SMALL.model_copy(update={"job_script_prologue": ("exit 1",)})
    with pytest.raises(FlowError, match=r"lensmill-\d+\.err is empty"), cluster_of(where, 3):
        pass


def test_jobs_that_wait_for_too_long(slurm: SlurmHere) -> None:
    where = SMALL.model_copy(
        update={"job_script_prologue": ("exec sleep 100",), "patience_minutes": 0.02, "most_jobs": 1}
    )
    with pytest.raises(FlowError, match="no job began to work") as caught, cluster_of(where, 3):
        pass
    assert "squeue" in caught.value.advice


def _receipts(folder: Path) -> int:
    return len(list((folder / "far.zarr").glob("lensmill/receipts/*/*")))


def _simulate(start: Callable[..., Any], out: Path, *more: str | Path) -> Any:
    words = ["--set", "samples_per_class=3000", "--shard-size", "64"]
    return start("simulate", "tiny", "--out", out, *words, *more)


@pytest.mark.slow
def test_the_command_on_jobs_is_interrupted_and_loses_one(
    slurm: SlurmHere, start: Callable[..., Any], tmp_path: Path, bytes_of: BytesOf
) -> None:
    (tmp_path / "cluster.yaml").write_text(
        "cluster: {kind: slurm, cores: 1, memory: 2 GiB, least_jobs: 0, most_jobs: 2, walltime: '00:10:00'}\n"
    )
    far = _simulate(start, tmp_path / "far.zarr", "--cluster", tmp_path / "cluster.yaml")
    far.wait_until(lambda: _receipts(tmp_path) > 3)
    far.process.send_signal(signal.SIGINT)
    assert far.wait().code == 130
    far.wait_until_alone()
    before, sent = _receipts(tmp_path), len(slurm.scripts())
    far = _simulate(start, tmp_path / "far.zarr", "--cluster", tmp_path / "cluster.yaml")
    far.wait_until(lambda: _receipts(tmp_path) > before + 3)
    slurm.kill(sent + 1)
    said = far.wait()
    assert said.code == 0, said.err
    assert f"{143 - before} of 143 shards made" in said.out
    far.wait_until_alone()
    assert not list((tmp_path / "state" / "certificates").iterdir())
    assert all("--tls-key" in script for script in slurm.scripts())
    here = _simulate(start, tmp_path / "here.zarr", "--workers", "1").wait()
    assert here.code == 0, here.err
    assert bytes_of(tmp_path / "far.zarr") == bytes_of(tmp_path / "here.zarr")
    assert verify(tmp_path / "far.zarr").sound
