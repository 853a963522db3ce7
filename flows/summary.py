"""What runs that make data sets, and models of them, say at their end."""

from pydantic import Field

from schemas.frozen import Frozen
from schemas.report import Report


class DatasetSummary(Frozen):
    """What a run of the flow did."""

    store: str
    recipe: str
    digest: str
    rows: int = Field(ge=0, description="images in the store")
    shards: int = Field(ge=0, description="shards in the store")
    made: int = Field(ge=0, description="shards made by this run; the others were there and whole")
    seconds: float = Field(ge=0, description="time spent on making shards, from when the workers were ready")
    images_per_s: float = Field(ge=0, description="images made per second, all workers together")


class PipelineSummary(Frozen):
    """What came out."""

    data: DatasetSummary
    reports: tuple[Report, ...]
    pages: tuple[str, ...]
