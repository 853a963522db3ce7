"""Where shards are made: workers on this machine, a scheduler that is there, SLURM, Kubernetes.

A cluster is no part of a recipe: the same recipe gives the same bytes on all of them.
"""

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.frozen import Frozen

UNITS = {
    **{"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}
# A worker that has loaded the simulator takes 0.3 GB before it has made anything.
LEAST_MEMORY = 512 * 10**6


def bytes_of(size: str) -> int:
    """How many bytes a size with its unit is, such as `4 GiB`."""
    number, unit = re.split(r" ?(?=[KMGT])", size, maxsplit=1)
    return round(float(number) * UNITS[unit])


def seconds_of(walltime: str) -> int:
    """The seconds of `[DAYS-]HH:MM:SS`."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return ((24 * int(days or 0) + hours) * 60 + minutes) * 60 + seconds


def is_loopback(address: str) -> bool:
    """Whether a scheduler's address is on this machine alone."""
    host = address.partition("://")[2].rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _enough_memory(size: str) -> str:
    if bytes_of(size) < LEAST_MEMORY:
        raise ValueError(f"{size} is not enough for a worker, which takes 512 MB at least")
    return size


Size = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,6}(\.[0-9]{1,3})? ?([KMGT]i?B)$",
        examples=["4 GiB"],
        description="bytes, with unit",
    ),
    AfterValidator(_enough_memory),
]
Count = Annotated[int, Field(ge=1, le=10_000)]
Walltime = Annotated[str, Field(pattern=r"^([0-9]{1,3}-)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]$")]
# What goes into job scripts and manifests: no spaces, no quotes, no line ends.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:@%+=\[\]/-]+$", max_length=253)]
Line = Annotated[str, Field(pattern=r"^[^\r\n\x00]+$", max_length=4096)]
Lines = Annotated[tuple[Line, ...], Field(strict=False)]
FilePath = Annotated[str, Field(pattern=r"^[^\r\n\x00]+$", max_length=4096)]
# Paths that a job script names, where nothing is quoted.
PLAIN_PATH = re.compile(r"^[A-Za-z0-9_.+=@%/~-]+$")
PlainPath = Annotated[str, Field(pattern=PLAIN_PATH.pattern, max_length=4096)]
# Names of things in Kubernetes, as its API takes them.
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Patience = Annotated[float, Field(gt=0, le=10_080)]


class TLSFiles(Frozen):
    """Certificates for a scheduler that is not on loopback; PEM files."""

    ca: FilePath = Field(description="certificate of the authority that signed the others")
    cert: FilePath = Field(description="certificate of this client")
    key: FilePath = Field(description="its private key; readable by its owner alone")


class LocalWorkers(Frozen):
    """Worker processes on this machine, started and ended with the flow; loopback only."""

    kind: Literal["local"] = "local"
    workers: Count | None = Field(default=None, description="worker processes; one per core when left out")
    memory: Size | None = Field(
        default=None,
        description="of each worker; over it, the worker is started anew. No limit when left out",
    )


class ExistingScheduler(Frozen):
    """A Dask scheduler that somebody else runs; its workers must see the store's folder."""

    kind: Literal["scheduler"] = "scheduler"
    address: str = Field(
        pattern=r"^(tcp|tls)://[^\s/@]+:[0-9]{1,5}$", examples=["tcp://127.0.0.1:8786", "tls://head:8786"]
    )
    tls: TLSFiles | None = Field(default=None, description="needed for tls://")
    plaintext: bool = Field(
        default=False,
        description="allow tcp:// to another machine: whoever reaches that port can run code as its owner",
    )
    patience_minutes: Patience = Field(
        default=1.0,
        description="how long to wait for a first worker; where all are lost, ten minutes at least",
    )

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        encrypted = self.address.startswith("tls://")
        if encrypted and self.tls is None:
            raise ValueError("tls:// needs `tls` with the files ca, cert and key")
        if not encrypted and self.tls is not None:
            raise ValueError("`tls` is for an address that begins with tls://")
        if not encrypted and not self.plaintext and not is_loopback(self.address):
            raise ValueError(
                f"{self.address} is another machine, and tcp:// neither hides nor asks who calls;"
                " use tls:// with `tls`, or say `plaintext: true` where the network is yours alone"
            )
        return self


class Slurm(Frozen):
    """Jobs of a SLURM cluster, sent and cancelled by the flow; TLS with certificates of their own."""

    kind: Literal["slurm"]
    queue: Word | None = Field(default=None, description="partition; the cluster's default when left out")
    account: Word | None = Field(default=None, description="whom the hours are booked on")
    walltime: Walltime = Field(
        default="04:00:00", description="of a job, [DAYS-]HH:MM:SS; a job that ends is sent again"
    )
    cores: int = Field(ge=1, le=1024, description="cores of a job")
    processes: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="workers of a job; one per core when left out"
    )
    memory: Size = Field(description="of a job, all its workers together")
    least_jobs: int = Field(default=1, ge=0, le=10_000, description="kept while the flow runs")
    most_jobs: Count = Field(description="at most so many, and never more than there are shards for")
    interface: Word | None = Field(default=None, description="network of nodes and scheduler, such as ib0")
    job_extra_directives: Lines = Field(
        default=(), description="more lines for the script's head, such as --qos=long"
    )
    job_script_prologue: Lines = Field(
        default=(), description="shell commands before the workers start, such as module load"
    )
    python: PlainPath | None = Field(
        default=None,
        description="interpreter on the nodes that has lensmill; the same path as here if left out",
    )
    log_folder: PlainPath | None = Field(
        default=None, description="the jobs' logs; slurm/ in lensmill's state folder when left out"
    )
    scratch_folder: PlainPath | None = Field(
        default=None, description="a fast folder of the node's own; its temporary folder when left out"
    )
    patience_minutes: Patience = Field(default=1440.0, description="how long jobs may wait in the queue")

    @property
    def workers_of_a_job(self) -> int:
        """Worker processes of each job."""
        return self.processes or self.cores

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.workers_of_a_job > self.cores:
            raise ValueError(
                f"{self.processes} processes on {self.cores} cores: a worker needs one of its own"
            )
        each = bytes_of(self.memory) / self.workers_of_a_job
        if each < LEAST_MEMORY:
            raise ValueError(
                f"{self.memory} for {self.workers_of_a_job} workers are {each / 1e6:,.0f} MB each,"
                " and a worker takes 512 MB at least"
            )
        if self.least_jobs > self.most_jobs:
            raise ValueError(f"least_jobs is {self.least_jobs}, more than most_jobs, {self.most_jobs}")
        if seconds_of(self.walltime) < 60:
            raise ValueError(f"a walltime of {self.walltime} is over before a worker is there")
        return self


class Volume(Frozen):
    """A persistent volume claim that all pods see at one path, where the store is."""

    claim: ObjectName = Field(description="name of the claim; it must allow ReadWriteMany")
    path: Annotated[str, Field(pattern=r"^/[^\r\n\x00:]+$")] = Field(description="where pods have it")


class Kubernetes(Frozen):
    """Pods of a Kubernetes cluster, through Dask's operator, which must be installed there."""

    kind: Literal["kubernetes"]
    image: Word = Field(description="container image with lensmill, the same version as here")
    namespace: ObjectName = Field(default="default", description="where pods are made")
    least_workers: int = Field(default=1, ge=0, le=10_000, description="kept while the flow runs")
    most_workers: Count = Field(description="at most so many, and never more than there are shards")
    cores: float = Field(default=1.0, ge=0.1, le=128, description="cores of a worker, asked for and at most")
    memory: Size = Field(default="4 GiB", description="of a worker, asked for and at most")
    env: dict[Word, Line] = Field(default={}, description="environment of all pods; no secrets")
    secrets: Annotated[tuple[ObjectName, ...], Field(strict=False)] = Field(
        default=(), description="Secrets whose keys become environment, such as those of S3"
    )
    volumes: Annotated[tuple[Volume, ...], Field(strict=False)] = Field(
        default=(), description="what pods see; none when the store is on S3"
    )
    service_account: ObjectName | None = Field(default=None, description="of the pods")
    image_pull_secret: ObjectName | None = Field(default=None, description="for a registry that asks")
    node_selector: dict[Word, Word] = Field(default={}, description="labels of the nodes that may be used")
    plaintext: Literal[True] = Field(
        description="must be said: Dask's operator knows no TLS, so keep others out by a NetworkPolicy"
    )
    patience_minutes: Patience = Field(
        default=30.0,
        description="how long to wait for a first worker; where all are lost, ten minutes at least",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.least_workers > self.most_workers:
            raise ValueError(
                f"least_workers is {self.least_workers}, more than most_workers, {self.most_workers}"
            )
        return self


AnyCluster = Annotated[LocalWorkers | ExistingScheduler | Slurm | Kubernetes, Field(discriminator="kind")]


class ClusterRecipe(Frozen):
    """A file about one cluster, for `--cluster`."""

    cluster: AnyCluster
