"""How things stand: what `lensmill status` shows."""

from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.frozen import Frozen


class PoolStanding(Frozen):
    """A work pool and who takes work from it."""

    name: str
    status: str
    workers: int = Field(ge=0, description="that gave a sign of life of late")


class FlowRunStanding(Frozen):
    """A flow run that is planned, under way or over."""

    name: str
    flow: str
    state: str
    begins: AwareDatetime | None = Field(description="or began")
    seconds: float | None = Field(default=None, description="that it took, or has taken so far")
    progress: float | None = Field(default=None, description="of its newest progress artifact, %")
    message: str = Field(default="", description="first line of what ended it, where it failed")


class ServiceStanding(Frozen):
    """The Prefect API that commands use."""

    address: str | None = Field(description="None: no service is up")
    fault: str = Field(default="", description="why it cannot be asked")
    pools: tuple[PoolStanding, ...] = ()
    runs: tuple[FlowRunStanding, ...] = ()


class StoreStanding(Frozen):
    """A store, or all versions of a data set in a folder."""

    path: str
    recipe: str
    state: str
    rows: int = Field(ge=0, description="of finished stores; of an unfinished one those that are made")
    planned: int = Field(ge=0, description="rows when all is made")
    bytes: int = Field(ge=0)
    exact: bool = Field(default=True, description="whether the bytes were counted, not estimated")
    versions: int | None = Field(default=None, description="how many there are; None: a store of its own")
    latest: int | None = None


class RunStanding(Frozen):
    """A training run."""

    path: str
    experiment: str
    model: str
    data: str = Field(description="name of the recipe of its data")
    state: Literal["finished", "unfinished", "unreadable"]
    score: str = Field(default="", description="the first of its newest report")
    headline: str = Field(default="", description="of its newest report")


class Standing(Frozen):
    """Everything below a folder, and the service."""

    folder: str
    free_bytes: int | None = Field(description="on the disk of the folder; None on S3")
    service: ServiceStanding
    stores: tuple[StoreStanding, ...]
    runs: tuple[RunStanding, ...]
