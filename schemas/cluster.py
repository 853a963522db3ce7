"""Where shards are made: workers on this machine, a scheduler that is there, SLURM, Kubernetes.

A cluster is no part of a recipe: the same recipe gives the same bytes on all of them.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.frozen import Frozen

Size = Annotated[
    str,
    Field(pattern=r"^[0-9]+(\.[0-9]+)? ?([KMGT]i?B)$", examples=["4 GiB"], description="bytes, with unit"),
]
Count = Annotated[int, Field(ge=1, le=10_000)]


class TLSFiles(Frozen):
    """Certificates for a scheduler that is not on loopback; PEM files."""

    ca: str = Field(description="certificate of the authority that signed the others")
    cert: str = Field(description="certificate of this client")
    key: str = Field(description="its private key; readable by its owner alone")


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
        pattern=r"^(tcp|tls)://.+:[0-9]+$", examples=["tcp://127.0.0.1:8786", "tls://head:8786"]
    )
    tls: TLSFiles | None = Field(default=None, description="needed for tls://")


AnyCluster = Annotated[LocalWorkers | ExistingScheduler, Field(discriminator="kind")]


class ClusterRecipe(Frozen):
    """A file about one cluster, for `--cluster`."""

    cluster: AnyCluster
