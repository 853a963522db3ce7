"""Workers as jobs of SLURM, through dask-jobqueue.

The scheduler runs in the flow's own process. What it, the workers and the client say is encrypted, and each
must show a certificate that was made for this run, since everybody on the cluster reaches their ports.
"""

import asyncio
import contextlib
import logging
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from distributed import Client
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.security import Security
from prefect_dask.task_runners import DaskTaskRunner

from flows.clusters.schedulers import await_workers
from flows.clusters.worker_settings import THREADS_PER_WORKER, worker_environment
from flows.scratch import scratch_folder
from schemas.cluster import PLAIN_PATH, Slurm, seconds_of
from schemas.errors import FlowError, first_line
from storage.files.state import private_folder, state_folder


@contextlib.contextmanager
def _signals_untouched() -> Iterator[None]:
    """When dask_jobqueue is loaded it takes Ctrl-C over: the command would end as if all were well."""
    real = signal.signal
    signal.signal = lambda *_: None
    try:
        yield
    finally:
        signal.signal = real


with _signals_untouched():
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob

NAME = "lensmill"
# What Dask calls the work; see flows.making.
WORK = "make_shards"
# A job whose workers are gone for so long is over.
LOST_SECONDS = 15.0
# A worker that cannot reach the flow for so long ends, and its job with it.
ALONE_SECONDS = 120
# Workers leave before SLURM ends them, so that what they are at is given to others in time.
LEAVING_SECONDS = 240
QUEUE_SECONDS = 15.0
TOLD_LINES = 8
LOGS_KEPT_SECONDS = 30 * 86400.0


class Job(SLURMJob):
    """A job; why SLURM refused one is kept, for Dask would only log it."""

    refusals: ClassVar[list[str]] = []

    async def _submit_job(self, script_filename: str) -> Any:
        try:
            return await super()._submit_job(script_filename)  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError) as error:
            self.refusals.append(_said_by_sbatch(str(error)))
            # else the cluster could not be closed
            self.status = Status.failed
            raise


class Jobs(SLURMCluster):
    """Jobs of several workers each. One whose workers are all gone is forgotten, so that it is sent again."""

    job_cls = Job

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove":
            job = job_of(self.scheduler_info["workers"][msg]["name"])
            asyncio.get_running_loop().call_later(LOST_SECONDS, self._forget, job)
        super()._update_worker_status(op, msg)  # type: ignore[no-untyped-call]

    def _forget(self, job: str) -> None:
        present = {job_of(worker["name"]) for worker in self.scheduler_info["workers"].values()}
        if job in self.workers and job not in present:
            self._futures.add(asyncio.ensure_future(self.workers.pop(job).close()))


class Eager(Adaptive):
    """All jobs at once, for they wait in a queue; from the first shard on as many as there is work for."""

    async def target(self) -> int:
        """How many workers there should be."""
        scheduler: Any = self.cluster.scheduler  # type: ignore[attr-defined] # it is in this process
        if WORK not in scheduler.task_prefixes:
            return int(self.maximum)
        return int(await super().target())  # type: ignore[no-untyped-call]


def job_of(worker: Any) -> str:
    """The job of a worker, by its name or as the scheduler knows it.

    Where a job has several workers they go by CLUSTER-JOB-NUMBER, else by CLUSTER-JOB.
    """
    name = str(getattr(worker, "name", worker))
    return name.rpartition("-")[0] if name.count("-") > 1 else name


@contextlib.contextmanager
def jobs(where: Slurm, shards: int) -> Iterator[DaskTaskRunner]:
    """A task runner on jobs for so many shards, once a worker is there."""
    Job.refusals.clear()
    if where.log_folder is None:
        forget_old_logs()
    with _certificates() as folder:
        runner = DaskTaskRunner(
            cluster_class=Jobs, cluster_kwargs=options(where, folder), adapt_kwargs=bounds(where, shards)
        )
        with runner:
            client = _started(runner)
            watch = Watch(where, client.cluster)
            await_workers(client, where.patience_minutes, watch.nobody(), watch.look)
            yield runner


def _started(runner: DaskTaskRunner) -> Client:
    """The client of a scheduler in this process, which starts with it."""
    try:
        return runner.client
    except (RuntimeError, OSError, ValueError) as error:
        raise FlowError(
            f"Dask's scheduler did not start here: {first_line(error)}",
            expected="a port for the workers on this machine",
            where="cluster.interface",
            advice="see `ip -br addr`, and name the network that nodes and this machine share",
        ) from error


def options(where: Slurm, folder: Path) -> dict[str, Any]:
    """What `Jobs` is made of; certificates go to a folder that all nodes see."""
    lifetime = seconds_of(where.walltime) - LEAVING_SECONDS
    leaving = ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{LEAVING_SECONDS // 4}s"]
    exported = [f"export {name}={shlex.quote(value)}" for name, value in worker_environment().items()]
    return {
        "name": NAME,
        "job_name": NAME,
        "queue": where.queue,
        "account": where.account,
        "walltime": where.walltime,
        # Dask's cores are threads, SLURM's are what is paid for
        "cores": THREADS_PER_WORKER * where.workers_of_a_job,
        "job_cpu": where.cores,
        "processes": where.workers_of_a_job,
        "memory": where.memory,
        "interface": where.interface,
        "job_extra_directives": list(where.job_extra_directives),
        "job_script_prologue": [*exported, *where.job_script_prologue],
        "python": shlex.quote(where.python or sys.executable),
        "log_directory": str(log_folder(where)),
        "local_directory": where.scratch_folder,
        "death_timeout": ALONE_SECONDS,
        "worker_extra_args": [
            "--no-dashboard",
            "--dashboard-address",
            "127.0.0.1:0",
            *(leaving if lifetime > LEAVING_SECONDS else []),
        ],
        "protocol": "tls://",
        "security": security_in(folder),
        "scheduler_options": {"dashboard_address": "127.0.0.1:0", "interface": where.interface},
        "silence_logs": logging.CRITICAL,
    }


def bounds(where: Slurm, shards: int) -> dict[str, Any]:
    """How many workers there may be, never more than shards."""
    each = where.workers_of_a_job
    most = min(where.most_jobs, math.ceil(shards / each))
    return {
        "Adaptive": Eager,
        "minimum": min(where.least_jobs, most) * each,
        "maximum": most * each,
        "worker_key": job_of,
        # shards that are given out are worth a second each
        "target_duration": "1s",
        "interval": "5s",
    }


def log_folder(where: Slurm) -> Path:
    """Where SLURM writes what the jobs say."""
    folder = Path(where.log_folder).expanduser() if where.log_folder else state_folder() / "slurm"
    return folder.absolute()


def forget_old_logs() -> None:
    """Remove from the state folder what jobs of long ago said; folders that somebody chose are his."""
    with contextlib.suppress(OSError):
        for log in private_folder("slurm").glob(f"{NAME}-*"):
            if log.suffix in (".out", ".err") and time.time() - log.stat().st_mtime > LOGS_KEPT_SECONDS:
                log.unlink()


def security_in(folder: Path) -> Security:
    """A new key and certificate in files that the owner alone can read; who has them is let in."""
    made = Security.temporary().get_tls_config_for_role("scheduler")
    files = {}
    for name in ("ca_file", "cert", "key"):
        file = folder / f"{name}.pem"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(made[name])
        files[name] = str(file)
    roles = {
        f"tls_{role}_{name}": files[name]
        for role in ("scheduler", "worker", "client")
        for name in ("cert", "key")
    }
    return Security(tls_ca_file=files["ca_file"], require_encryption=True, **roles)


@contextlib.contextmanager
def _certificates() -> Iterator[Path]:
    """A folder that its owner alone can read, for as long as the run; those of killed runs are removed."""
    above = (state_folder() / "certificates").absolute()
    if not PLAIN_PATH.fullmatch(str(above)):
        raise FlowError(
            f"the state folder {state_folder()} has signs in its path that a job script cannot take",
            advice="name another one in LENSMILL_HOME",
        )
    private_folder("certificates")
    with scratch_folder(f"{socket.gethostname()}+", above) as folder:
        yield folder


class Watch:
    """Looks after jobs that wait: SLURM may refuse them, or they may end before a worker is there."""

    def __init__(self, where: Slurm, cluster: Any) -> None:
        self.where = where
        self.cluster = cluster
        self.looked = time.monotonic()
        self.gone = 0

    def look(self) -> None:
        """Raise when no worker will come."""
        if Job.refusals:
            raise FlowError(
                f"SLURM refused a job: {Job.refusals[0]}",
                expected="queue, account, walltime, cores and memory that your cluster has",
                where="sbatch",
                advice="mend the cluster's file; the job's script:\n" + self.cluster.job_script(),
            )
        if time.monotonic() - self.looked < QUEUE_SECONDS:
            return
        self.looked = time.monotonic()
        # a job that was just sent may not be listed yet
        self.gone = self.gone + 1 if self._all_ended() else 0
        if self.gone > 1:
            raise FlowError(
                "the jobs ended before a worker was there" + _last_words(log_folder(self.where)),
                expected="jobs that find lensmill and reach this machine",
                where=str(log_folder(self.where)),
                advice="read the logs there; python, modules and the network interface are set in the"
                " cluster's file",
            )

    def _all_ended(self) -> bool:
        sent = {str(job.job_id) for job in self.cluster.workers.values() if job.job_id}
        command = ["squeue", "--noheader", "--format=%i", "--me"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return False
        # a queue that cannot be asked tells nothing
        return bool(sent) and done.returncode == 0 and not sent & set(done.stdout.split())

    def nobody(self) -> FlowError:
        """When patience is over."""
        return FlowError(
            f"no job began to work within {self.where.patience_minutes:g} minutes",
            expected="one worker at least",
            where=str(log_folder(self.where)),
            advice="see `squeue --me`; ask for less (cores, memory, walltime), another queue, or give more"
            " patience_minutes",
        )


def _said_by_sbatch(text: str) -> str:
    """What sbatch wrote on its standard error, out of Dask's account of the call."""
    said = text.partition("stderr:\n")[2].strip() or text.strip()
    return " ".join(said.split())


def _last_words(folder: Path) -> str:
    logs = sorted(folder.glob(f"{NAME}-*.err"), key=lambda path: path.stat().st_mtime)
    if not logs:
        return ""
    lines = logs[-1].read_text(errors="replace").strip().splitlines()[-TOLD_LINES:]
    if not lines:
        return f"; {logs[-1].name} is empty"
    return f"; the end of {logs[-1].name}:\n  " + "\n  ".join(lines)
