"""What a run that makes a data set says at its end."""

from pydantic import Field

from schemas.frozen import Frozen


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
