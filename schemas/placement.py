"""Where a training runs: here, on a work pool, on a Dask worker.

It is no part of an experiment's digest. All places must see the store and the run folder by the same path.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.cluster import ExistingScheduler
from schemas.frozen import Frozen

Minutes = Annotated[float, Field(gt=0, le=60 * 24 * 30)]


class Here(Frozen):
    """In the process of the flow itself."""

    kind: Literal["here"] = "here"


class OnWorkPool(Frozen):
    """As runs of their own, which a Prefect worker of another pool picks up; `lensmill up --pool NAME`."""

    kind: Literal["pool"] = "pool"
    pool: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", examples=["gpu"], description="name of the work pool"
    )
    wait_minutes: Minutes = Field(default=10.0, description="how long to wait while no worker polls it")


class OnDask(Frozen):
    """On a Dask worker that offers a resource; `dask worker ADDRESS --resources GPU=1`."""

    kind: Literal["dask"] = "dask"
    scheduler: ExistingScheduler = Field(description="the scheduler of that worker")
    resource: str = Field(default="GPU", pattern=r"^\w+$", description="name of the resource")
    amount: float = Field(default=1.0, gt=0, description="how much of it a training takes")
    wait_minutes: Minutes = Field(default=10.0, description="how long to wait while no worker offers it")


Placement = Annotated[Here | OnWorkPool | OnDask, Field(discriminator="kind")]
